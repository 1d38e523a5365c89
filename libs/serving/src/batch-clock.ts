/** ms that one run took, by its number of rows. */
export type RunTimes = ReadonlyMap<number, number>;

/** Rows are counted in powers of two: 1, 2, 4, ... */
const CLASSES = 20;
/** How much a new measurement counts: one that is longer less, because a machine that pauses makes it so. */
const LONGER = 0.1;
const SHORTER = 0.5;
/** What a size that is not tried any more is forgotten by, with each batch of the size below. */
const FORGETTING = 0.98;
/** Of the objective, the part that one run may take: who comes while a run is under way waits for it, and has his own. */
const RUN_SHARE = 0.25;
/** Twice the rows in less than so many times the time are worth a longer run: that model lives by its batches. */
const WORTH_IT = 1.5;

/**
 * How long batches of a model take, learnt from those that ran: what the latency objective needs to know in order to
 * say how large a batch may be.
 */
export class BatchClock {
  /** ms of a batch of 2^i rows; NaN: not known. */
  readonly #ms = new Float64Array(CLASSES).fill(Number.NaN);
  #largest = -1;

  /** `known`: what is known already. */
  constructor(known: RunTimes) {
    for (const [rows, ms] of known) this.observe(rows, ms);
  }

  /** A batch of `rows` took `ms`. */
  observe(rows: number, ms: number): void {
    const at = classOf(rows);
    const known = this.#ms[at] as number;
    this.#ms[at] = Number.isNaN(known) ? ms : known + (ms - known) * (ms > known ? LONGER : SHORTER);
    if (at > this.#largest) this.#largest = at;
    else if (at < CLASSES - 1) this.#ms[at + 1] = (this.#ms[at + 1] as number) * FORGETTING;
  }

  /** ms that so many rows are expected to take, in batches as large as any seen so far; 0 while nothing is known. */
  estimate(rows: number): number {
    if (this.#largest < 0) return 0;
    const at = Math.min(classOf(rows), this.#largest);
    return this.#expected(at) * Math.max(1, rows / 2 ** at);
  }

  /**
   * Rows of the largest batch that suits the objective; at least 1. A run may take a quarter of it, and all of it where
   * each doubling costs much less per row. What was never tried is tried one doubling at a time, and what took too long
   * again after a while.
   */
  rowsWithin(objectiveMs: number): number {
    if (this.#largest < 0) return 1;
    let at = 0;
    for (; at < CLASSES - 1; at++) {
      const worthIt = this.#expected(at) * WORTH_IT;
      // What was not tried is hoped to be worth it.
      const ms = at < this.#largest ? this.#expected(at + 1) : worthIt;
      if (ms > objectiveMs * RUN_SHARE && (ms > worthIt || ms > objectiveMs)) break;
      if (at === this.#largest) return 2 ** (at + 1);
    }
    return 2 ** at;
  }

  /** ms of 2^at rows, at most the largest seen. A size that never ran is on the line between those around it that did. */
  #expected(at: number): number {
    let above = at;
    while (Number.isNaN(this.#ms[above])) above++;
    let below = at;
    while (below >= 0 && Number.isNaN(this.#ms[below])) below--;
    const ms = this.#ms[above] as number;
    if (below < 0 || below === above) return ms;
    const from = this.#ms[below] as number;
    return from + ((ms - from) * (2 ** at - 2 ** below)) / (2 ** above - 2 ** below);
  }
}

/** The power of two at or above `rows`. */
function classOf(rows: number): number {
  return Math.min(CLASSES - 1, rows <= 1 ? 0 : 32 - Math.clz32(rows - 1));
}
