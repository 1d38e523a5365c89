/** Quantiles lie within this share of the difference. */
const ACCURACY = 0.02;
const LOG_GAMMA = Math.log((1 + ACCURACY) / (1 - ACCURACY));
/** Smaller differences count as 0 in quantiles, larger ones as the largest. */
const LEAST = 1e-12;
const MOST = 1e12;
const FIRST_BUCKET = Math.ceil(Math.log(LEAST) / LOG_GAMMA);
/** Bucket 0 is "no difference"; bucket b > 0 ends at gamma^(b - 1 + FIRST_BUCKET). */
const BUCKETS = Math.ceil(Math.log(MOST) / LOG_GAMMA) - FIRST_BUCKET + 2;

/** Plain JSON. `buckets` has a [bucket, count] for each bucket in use, in ascending order. */
export interface ComparisonSnapshot {
  readonly tolerance: number;
  readonly pairs: number;
  readonly beyond: number;
  readonly notFinite: number;
  readonly sum: number;
  readonly max: number;
  readonly buckets: readonly (readonly [number, number])[];
}

/** How far answers differ; means, maximum and quantiles are of the absolute difference of pairs that have one. */
export interface ComparisonReport {
  readonly pairs: number;
  /** Pairs of which one is NaN or infinite and the other is something else: they have no difference. */
  readonly notFinite: number;
  readonly mean: number;
  readonly max: number;
  /** Share of all pairs that differ by more than the tolerance, or have no difference. */
  readonly shareBeyond: number;
  readonly p50: number;
  readonly p99: number;
}

export interface Comparison {
  /** Takes in one pair of answers. */
  add(champion: number, challenger: number): void;
  /** Takes in two tensors element by element. Throws a RangeError for lengths that differ, before it takes any. */
  addTensors(champion: ArrayLike<number>, challenger: ArrayLike<number>): void;
  /** Takes in what another one has seen. Throws a RangeError for another tolerance. */
  merge(other: ComparisonSnapshot): void;
  report(): ComparisonReport;
  snapshot(): ComparisonSnapshot;
}

/**
 * Sums up how the answers of two versions to the same requests differ, in constant memory (11 kB). Quantiles are
 * within 2 % (DDSketch: Masson, Rim and Lee, 2019) for differences of 1e-12 to 1e12. It may go on from a snapshot;
 * its tolerance is then that of the snapshot.
 * Throws a RangeError for a tolerance that is not a number of at least 0.
 */
export function createComparison(start: { readonly tolerance: number } | ComparisonSnapshot): Comparison {
  const { tolerance } = start;
  if (!(tolerance >= 0 && tolerance < Infinity)) {
    throw new RangeError(
      `tolerance is ${tolerance}: give the largest difference that does not matter, 0 or more`,
    );
  }
  const counts = new Float64Array(BUCKETS);
  let pairs = 0;
  let beyond = 0;
  let notFinite = 0;
  let sum = 0;
  let max = 0;

  const add = (champion: number, challenger: number): void => {
    pairs++;
    const difference = Object.is(champion, challenger) ? 0 : Math.abs(champion - challenger);
    if (!Number.isFinite(difference)) {
      notFinite++;
      beyond++;
      return;
    }
    if (difference > tolerance) beyond++;
    sum += difference;
    if (difference > max) max = difference;
    const bucket = bucketOf(difference);
    counts[bucket] = (counts[bucket] as number) + 1;
  };

  const merge = (other: ComparisonSnapshot): void => {
    if (other.tolerance !== tolerance) {
      throw new RangeError(
        `tolerance is ${other.tolerance}, here ${tolerance}: merge comparisons of one tolerance`,
      );
    }
    pairs += other.pairs;
    beyond += other.beyond;
    notFinite += other.notFinite;
    sum += other.sum;
    max = Math.max(max, other.max);
    for (const [bucket, count] of other.buckets) counts[bucket] = (counts[bucket] as number) + count;
  };

  /** Near the difference of rank floor(q * (count - 1)) from 0; 0 for no pairs. */
  const quantile = (q: number): number => {
    const rank = Math.floor(q * (pairs - notFinite - 1));
    let before = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      before += counts[bucket] as number;
      if (before > rank) return Math.min(max, valueOf(bucket));
    }
    return 0;
  };

  if ("buckets" in start) merge(start);
  return {
    add,
    addTensors: (champion, challenger) => {
      if (champion.length !== challenger.length) {
        throw new RangeError(
          `the challenger's tensor has ${challenger.length} elements, the champion's ${champion.length}: compare outputs of one name and shape`,
        );
      }
      for (let i = 0; i < champion.length; i++) add(champion[i] as number, challenger[i] as number);
    },
    merge,
    report: () => ({
      pairs,
      notFinite,
      mean: pairs === notFinite ? 0 : sum / (pairs - notFinite),
      max,
      shareBeyond: pairs === 0 ? 0 : beyond / pairs,
      p50: quantile(0.5),
      p99: quantile(0.99),
    }),
    snapshot: () => ({
      tolerance,
      pairs,
      beyond,
      notFinite,
      sum,
      max,
      buckets: [...counts.entries()].filter(([, count]) => count > 0),
    }),
  };
}

function bucketOf(difference: number): number {
  if (difference < LEAST) return 0;
  return Math.ceil(Math.log(Math.min(difference, MOST)) / LOG_GAMMA) - FIRST_BUCKET + 1;
}

/** The middle of a bucket, in the sense of relative error. */
function valueOf(bucket: number): number {
  if (bucket === 0) return 0;
  return Math.exp((bucket - 1 + FIRST_BUCKET) * LOG_GAMMA) * (1 - ACCURACY);
}
