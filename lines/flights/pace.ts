/** Longest step of the clock that counts. After a longer one the stream goes on at its speed: nothing is caught up. */
const STEP_MS_MAX = 200;

/**
 * How far the stream may go: event time follows the clock at `speed`, and no more than `rate` events per second
 * pass. When the receiver is slow, steps become longer, and beyond 200 ms event time waits for it.
 */
export class Pace {
  readonly #speed: number;
  readonly #rate: number | null;
  #nowMs: number;
  #eventTimeMs: number;
  #allowance = 0;

  constructor(speed: number, rate: number | null, nowMs: number, eventTimeMs: number) {
    this.#speed = speed;
    this.#rate = rate;
    this.#nowMs = nowMs;
    this.#eventTimeMs = eventTimeMs;
  }

  /** Moves the clock. Answers up to which event time, and how many events, may be sent now. */
  step(nowMs: number): { readonly eventTimeMs: number; readonly eventsMax: number } {
    const stepMs = Math.min(Math.max(0, nowMs - this.#nowMs), STEP_MS_MAX);
    this.#nowMs = nowMs;
    this.#eventTimeMs += stepMs * this.#speed;
    if (this.#rate === null) return { eventTimeMs: this.#eventTimeMs, eventsMax: Number.POSITIVE_INFINITY };
    this.#allowance += (stepMs * this.#rate) / 1000;
    return { eventTimeMs: this.#eventTimeMs, eventsMax: Math.floor(this.#allowance) };
  }

  /** Says what was sent: so many events, and (when there were more than may be sent at once) up to which time. */
  sent(events: number, cutAtMs: number | null): void {
    this.#eventTimeMs = cutAtMs ?? this.#eventTimeMs;
    this.#allowance = Math.min(this.#allowance - events, (this.#rate ?? 0) / 5);
  }

  /** The clock's time at which an event of this event time is due. */
  clockOf(eventTimeMs: number): number {
    return Math.round(this.#nowMs - Math.max(0, this.#eventTimeMs - eventTimeMs) / this.#speed);
  }
}
