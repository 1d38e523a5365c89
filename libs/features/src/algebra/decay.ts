import type { PaneRange } from "./pane-algebra.ts";

/** What is older than so many half-lives weighs nothing: 2^-64 of an event is below the precision of one. */
export const HALF_LIVES = 64;

/** An exponentially decayed sum, and the pane that it is as of: two doubles. */
const SUM = 0;
const PANE = 1;
export const DECAYED_FLOATS = 2;

/**
 * Exponentially decayed sums of what panes hold: each pane weighs 2^(-age / halfLife), its age counted in panes. A
 * sum is two doubles, itself and the pane that it is as of; zeros are the empty one.
 */
export class Decay {
  /** 2^(-k * pane / halfLife) for k panes. */
  readonly #weights: Float64Array;
  /** One event per second, steadily, adds up to 1 / perSecond. */
  readonly perSecond: number;

  constructor(paneMs: number, halfLifeMs: number) {
    const share = paneMs / halfLifeMs;
    this.#weights = Float64Array.from(
      { length: Math.ceil(HALF_LIVES / share) + 1 },
      (_, k) => 2 ** (-k * share),
    );
    this.perSecond = (1 - 2 ** -share) / (paneMs / 1_000);
  }

  /** After so many panes nothing is left. */
  get panes(): number {
    return this.#weights.length;
  }

  /** Adds `values[v]`, which came in a pane; what comes late decays to the pane that the sum is as of. */
  add(sums: Float64Array, at: number, pane: number, values: Float64Array, v: number): void {
    const value = values[v] as number;
    const ahead = pane - (sums[at + PANE] as number);
    if (ahead >= 0 || sums[at + SUM] === 0) {
      sums[at + SUM] = (sums[at + SUM] as number) * this.#weight(ahead) + value;
      sums[at + PANE] = pane;
    } else sums[at + SUM] = (sums[at + SUM] as number) + value * this.#weight(-ahead);
  }

  /** The sum as of a pane that is not before its own. */
  asOf(sums: Float64Array, at: number, pane: number): number {
    return (sums[at + SUM] as number) * this.#weight(pane - (sums[at + PANE] as number));
  }

  /** The same with the panes of a range, which are later than the sum's own, in their slot `slot`. */
  withPanes(sums: Float64Array, at: number, panes: PaneRange, slot: number, pane: number): number {
    let sum = sums[at + SUM] as number;
    let asOf = sums[at + PANE] as number;
    for (let p = panes.oldest; p <= panes.newest; p += panes.stride) {
      const next = panes.ints[p * 2] as number;
      sum = sum * this.#weight(next - asOf) + (panes.floats[p + slot] as number);
      asOf = next;
    }
    return sum * this.#weight(pane - asOf);
  }

  /** Whether something came to the sum that can still weigh in a pane; what came may add up to nothing. */
  isLeft(sums: Float64Array, at: number, pane: number): boolean {
    const asOf = sums[at + PANE] as number;
    return (sums[at + SUM] !== 0 || asOf !== 0) && pane - asOf < this.panes;
  }

  #weight(panes: number): number {
    return panes <= 0 ? 1 : panes < this.#weights.length ? (this.#weights[panes] as number) : 0;
  }
}
