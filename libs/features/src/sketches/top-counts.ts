import type { SlabSnapshot } from "../memory/slab.ts";
import { CountLists } from "./count-lists.ts";
import type { PaneSketch } from "./pane-sketch.ts";

/** In one pane of one key so many categories are told apart; further ones are not counted in that pane. */
export const TOP_CATEGORIES_MAX = 1_024;

/** Counts of categories (by their code): exact, within `TOP_CATEGORIES_MAX` per pane. */
export class TopCounts implements PaneSketch {
  readonly #lists: CountLists;
  /** The combined counts: codes and counts in ascending order of codes, and room for the next merge. */
  #codes = new Int32Array(128);
  #counts = new Float64Array(128);
  #otherCodes = new Int32Array(128);
  #otherCounts = new Float64Array(128);
  #length = 0;
  readonly #one = Int32Array.of(0, 1);

  constructor(snapshot: SlabSnapshot | null) {
    this.#lists = new CountLists(TOP_CATEGORIES_MAX, snapshot);
  }

  get byteLength(): number {
    return this.#lists.byteLength;
  }

  update(sketch: number, values: Float64Array, v: number): number {
    return this.#lists.count(sketch, values[v] as number);
  }

  free(sketch: number): void {
    this.#lists.free(sketch);
  }

  begin(): void {
    this.#length = 0;
  }

  combine(sketch: number): void {
    const length = this.#lists.lengthOf(sketch);
    if (length > 0) this.#merge(this.#lists.intsOf(sketch), this.#lists.startOf(sketch), length);
  }

  include(values: Float64Array, v: number): void {
    this.#one[0] = values[v] as number;
    this.#merge(this.#one, 0, 1);
  }

  /** `parameter` is k: writes the codes of the k most frequent categories, of equal counts the smaller code first. */
  answer(parameter: number, totals: Float64Array, at: number): void {
    totals.fill(Number.NaN, at, at + parameter);
    // Insertion into the best so far; the counts of those stand in `#otherCounts`.
    const best = this.#otherCounts.length >= parameter ? this.#otherCounts : new Float64Array(parameter);
    let filled = 0;
    for (let i = 0; i < this.#length; i++) {
      const count = this.#counts[i] as number;
      if (filled === parameter && count <= (best[filled - 1] as number)) continue;
      let rank = filled < parameter ? filled++ : filled - 1;
      for (; rank > 0 && count > (best[rank - 1] as number); rank--) {
        best[rank] = best[rank - 1] as number;
        totals[at + rank] = totals[at + rank - 1] as number;
      }
      best[rank] = count;
      totals[at + rank] = this.#codes[i] as number;
    }
  }

  snapshot(): SlabSnapshot {
    return this.#lists.snapshot();
  }

  /** Merges a list, in ascending order of its keys, into the combined counts. */
  #merge(ints: Int32Array, start: number, length: number): void {
    const most = this.#length + length;
    if (most > this.#otherCodes.length) {
      this.#otherCodes = new Int32Array(2 * most);
      this.#otherCounts = new Float64Array(2 * most);
    }
    const codes = this.#otherCodes;
    const counts = this.#otherCounts;
    let to = 0;
    let mine = 0;
    let theirs = 0;
    while (mine < this.#length || theirs < length) {
      const myCode = mine < this.#length ? (this.#codes[mine] as number) : Number.POSITIVE_INFINITY;
      const code = theirs < length ? (ints[start + 2 * theirs] as number) : Number.POSITIVE_INFINITY;
      codes[to] = Math.min(myCode, code);
      counts[to++] =
        (myCode <= code ? (this.#counts[mine++] as number) : 0) +
        (code <= myCode ? (ints[start + 2 * theirs++ + 1] as number) : 0);
    }
    this.#otherCodes = this.#codes;
    this.#otherCounts = this.#counts;
    this.#codes = codes;
    this.#counts = counts;
    this.#length = to;
  }
}
