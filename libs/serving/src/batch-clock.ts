/** Rows are counted in powers of two: 1, 2, 4, ... */
const CLASSES = 20;
/** How much a new measurement counts. */
const SMOOTHING = 0.2;
/** What a size that is not tried any more is forgotten by, with each batch of the size below. */
const FORGETTING = 0.995;

/**
 * How long batches of a model take, learnt from those that ran: what the latency objective needs to know in order to
 * say how large a batch may be.
 */
export class BatchClock {
  /** ms of a batch of 2^i rows; 0: not known. */
  readonly #ms = new Float64Array(CLASSES);
  #largest = -1;

  /** A batch of `rows` took `ms`. */
  observe(rows: number, ms: number): void {
    const at = classOf(rows);
    const known = this.#ms[at] as number;
    this.#ms[at] = known === 0 ? ms : known + (ms - known) * SMOOTHING;
    if (at > this.#largest) this.#largest = at;
    else if (at < CLASSES - 1) this.#ms[at + 1] = (this.#ms[at + 1] as number) * FORGETTING;
  }

  /** ms that so many rows are expected to take, in batches as large as any seen so far; 0 while nothing is known. */
  estimate(rows: number): number {
    if (this.#largest < 0) return 0;
    const at = Math.min(classOf(rows), this.#largest);
    for (let known = at; known >= 0; known--) {
      const ms = this.#ms[known] as number;
      if (ms > 0) return ms * Math.max(1, rows / 2 ** known);
    }
    for (let known = at + 1; known <= this.#largest; known++) {
      const ms = this.#ms[known] as number;
      if (ms > 0) return ms;
    }
    return 0;
  }

  /**
   * Rows of the largest batch that is expected to take no more than `budgetMs`; at least 1. What was never tried is
   * tried one doubling at a time, and what took too long again after a while.
   */
  rowsWithin(budgetMs: number): number {
    for (let at = 0; at <= this.#largest; at++) {
      if ((this.#ms[at] as number) > budgetMs) return Math.max(1, 2 ** (at - 1));
    }
    return 2 ** (this.#largest + 1);
  }
}

/** The power of two at or above `rows`. */
function classOf(rows: number): number {
  return Math.min(CLASSES - 1, rows <= 1 ? 0 : 32 - Math.clz32(rows - 1));
}
