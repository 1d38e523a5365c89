import type { SlabSnapshot } from "../memory/slab.ts";
import { CountLists } from "./count-lists.ts";
import type { PaneSketch } from "./pane-sketch.ts";

/** Answers lie within this share of the value. */
const ACCURACY = 0.01;
const GAMMA = (1 + ACCURACY) / (1 - ACCURACY);
const LOG_GAMMA = Math.log(GAMMA);
/** Values nearer to 0 count as 0, and larger ones as the largest. */
const LEAST = 1e-9;
const MOST = 1e18;
const FIRST_BUCKET = Math.ceil(Math.log(LEAST) / LOG_GAMMA);
/** Buckets of one sign. */
const BUCKETS: number = Math.ceil(Math.log(MOST) / LOG_GAMMA) - FIRST_BUCKET + 1;

/**
 * Quantiles within 1 % of the value, for values of 1e-9 to 1e18 of either sign, and 0 (DDSketch: Masson, Rim and Lee,
 * 2019). A sketch is a list of buckets and their counts; buckets are numbered from the most negative value, by
 * logarithm, over 0 in the middle, to the largest.
 */
export class QuantileSketch implements PaneSketch {
  readonly #lists: CountLists;
  /** Float64Array [2 * BUCKETS + 1]: the combined counts, and which buckets are in use. */
  readonly #counts: Float64Array = new Float64Array(2 * BUCKETS + 1);
  #lowest = this.#counts.length;
  #highest = -1;
  #count = 0;

  constructor(snapshot: SlabSnapshot | null) {
    this.#lists = new CountLists(2 * BUCKETS + 1, snapshot);
  }

  get byteLength(): number {
    return this.#lists.byteLength;
  }

  update(sketch: number, values: Float64Array, v: number): number {
    return this.#lists.count(sketch, bucketOf(values[v] as number));
  }

  free(sketch: number): void {
    this.#lists.free(sketch);
  }

  begin(): void {
    if (this.#highest >= 0) this.#counts.fill(0, this.#lowest, this.#highest + 1);
    this.#lowest = this.#counts.length;
    this.#highest = -1;
    this.#count = 0;
  }

  combine(sketch: number): void {
    const length = this.#lists.lengthOf(sketch);
    if (length === 0) return;
    const ints = this.#lists.intsOf(sketch);
    const start = this.#lists.startOf(sketch);
    for (let i = start; i < start + 2 * length; i += 2) this.#add(ints[i] as number, ints[i + 1] as number);
  }

  include(values: Float64Array, v: number): void {
    this.#add(bucketOf(values[v] as number), 1);
  }

  /** `parameter` is the quantile q: the answer is near the value of rank floor(q * (count - 1)) from 0. */
  answer(parameter: number, totals: Float64Array, at: number): void {
    const rank = Math.floor(parameter * (this.#count - 1));
    let before = 0;
    for (let bucket = this.#lowest; bucket <= this.#highest; bucket++) {
      before += this.#counts[bucket] as number;
      if (before > rank) {
        totals[at] = valueOf(bucket);
        return;
      }
    }
    totals[at] = Number.NaN;
  }

  snapshot(): SlabSnapshot {
    return this.#lists.snapshot();
  }

  #add(bucket: number, count: number): void {
    this.#counts[bucket] = (this.#counts[bucket] as number) + count;
    this.#count += count;
    if (bucket < this.#lowest) this.#lowest = bucket;
    if (bucket > this.#highest) this.#highest = bucket;
  }
}

function bucketOf(value: number): number {
  const size = Math.abs(value);
  if (size < LEAST) return BUCKETS;
  const step = Math.ceil(Math.log(Math.min(size, MOST)) / LOG_GAMMA) - FIRST_BUCKET;
  return value < 0 ? BUCKETS - 1 - step : BUCKETS + 1 + step;
}

function valueOf(bucket: number): number {
  if (bucket === BUCKETS) return 0;
  const step = bucket < BUCKETS ? BUCKETS - 1 - bucket : bucket - BUCKETS - 1;
  const size = (2 * GAMMA ** (step + FIRST_BUCKET)) / (GAMMA + 1);
  return bucket < BUCKETS ? -size : size;
}
