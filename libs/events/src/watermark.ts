/** How many event times a watermark keeps: it follows the oldest of them. */
export const NEWEST_TIMES = 8;

/** A watermark as plain data: the newest event times, newest last, at most `NEWEST_TIMES`. */
export type WatermarkSnapshot = readonly number[];

/**
 * How far a stream has come in one partition, in event time: the 8th newest event time accepted so far, less
 * `lateMaxMs`. An event before it is too late. Seven events with a clock that is ahead cannot push it; that an event
 * is refused depends on the events accepted before it alone. Before the eighth event nothing is too late.
 */
export class Watermark {
  readonly #lateMaxMs: number;
  /** Ascending. */
  readonly #newest: Float64Array = new Float64Array(NEWEST_TIMES).fill(Number.NEGATIVE_INFINITY);

  constructor(lateMaxMs: number, snapshot: WatermarkSnapshot = []) {
    this.#lateMaxMs = lateMaxMs;
    for (const timeMs of snapshot) this.observe(timeMs);
  }

  /** -Infinity before the eighth event. */
  get ms(): number {
    return (this.#newest[0] as number) - this.#lateMaxMs;
  }

  /** The newest event time accepted; -Infinity before the first. */
  get newestMs(): number {
    return this.#newest[NEWEST_TIMES - 1] as number;
  }

  /** Whether an event of this time is too late. */
  isLate(timeMs: number): boolean {
    return timeMs < (this.#newest[0] as number) - this.#lateMaxMs;
  }

  /** Takes the time of an accepted event into account. */
  observe(timeMs: number): void {
    const newest = this.#newest;
    if (!(timeMs > (newest[0] as number))) return;
    let at = 0;
    for (; at + 1 < NEWEST_TIMES && (newest[at + 1] as number) < timeMs; at++) {
      newest[at] = newest[at + 1] as number;
    }
    newest[at] = timeMs;
  }

  snapshot(): WatermarkSnapshot {
    return [...this.#newest].filter(Number.isFinite);
  }
}
