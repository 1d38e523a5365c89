/** The longest time that a timer can wait. */
const WAIT_MS_MAX = 0x7fff_ffff;

/**
 * Wakes at the earliest of many deadlines. One timer serves all: most calls end long before their deadlines, so it
 * wakes about once in the length of a deadline, however many calls there are.
 */
export class DeadlineTimer {
  readonly #now: () => number;
  readonly #expire: (now: number) => number;
  #timer: NodeJS.Timeout | undefined;
  #wakeAt = Number.POSITIVE_INFINITY;

  /** `expire` ends what is due at `now` and answers the earliest deadline that is left, Infinity when there is none. */
  constructor(now: () => number, expire: (now: number) => number) {
    this.#now = now;
    this.#expire = expire;
  }

  /** Sees to a deadline, monotonic ms. */
  add(deadlineAt: number): void {
    if (deadlineAt >= this.#wakeAt) return;
    this.#wakeAt = deadlineAt;
    clearTimeout(this.#timer);
    const waitMs = Math.min(Math.max(0, deadlineAt - this.#now()), WAIT_MS_MAX);
    this.#timer = setTimeout(() => {
      this.#wakeAt = Number.POSITIVE_INFINITY;
      this.add(this.#expire(this.#now()));
    }, waitMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
