/**
 * Tests of a mean that may be looked at after every value, as often as one likes: the chance that one of them ever errs
 * is bounded, not the chance at one look.
 *
 * The test is a bet (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 2024).
 * Against "the mean is at least m", somebody with capital 1 stakes a constant share on each value being below m; their
 * capital is a product of 1 + y, y = stake * (m - value) / (range - m) >= -stake. Were the claim true, it would ever
 * reach 1 / alpha with probability alpha at most (Ville, 1939). The stake that wins most is not known, so the capital is
 * spread over several (their "diversified Kelly betting").
 *
 * As each stake is constant, the claim may be about a mean that wanders: given the past, 1 + y has a mean of at most
 * exp(stake * (m - mu) / (range - m)), mu being what is to be expected of the value; so the capital stays below a
 * supermartingale wherever the average of all mu so far is at least m.
 *
 * The product itself needs all values for each m. Four sums of powers suffice for a lower bound of it, and a bound keeps
 * the guarantee: log(1 + y) = y - y^2/2 + y^3/3 - y^4 * (integral over s from 0 to 1 of s^3 / (1 + y s)), and the
 * integral falls with y, so it is largest at y = -stake. (This is the argument of Fan, Grama and Liu, "Exponential
 * inequalities for martingales with applications", 2015, carried two powers further: small values then cost nothing.)
 */

/** Per stake, what the sums of the first to fourth powers of y / stake weigh in log(1 + y). */
type Weights = readonly [number, number, number, number];

/** Stakes of 0.95, half of it, and so on: a factor of two from the best costs less than a fifth of its growth. */
const WEIGHTS: readonly Weights[] = Array.from({ length: 10 }, (_, k) => {
  const c = 0.95 / 2 ** k;
  return [c, -(c ** 2) / 2, c ** 3 / 3, Math.log1p(-c) + c + c ** 2 / 2 + c ** 3 / 3];
});

/** Count, and sums of the first to fourth powers, of block means in units of the range. */
type PowerSums = readonly [number, number, number, number, number];

/** What is known of the mean of values within [-range, range]: plain JSON, of constant size. */
export interface BoundedMean {
  readonly range: number;
  /** As many consecutive values are averaged into one before they count; 1: each counts. */
  readonly blockRows: number;
  /** Values taken in, those of the open block included. */
  readonly rows: number;
  readonly open: { readonly rows: number; readonly sum: number };
  readonly sums: PowerSums;
}

/** No values yet. Throws a RangeError for a range that is not above 0 or a block of less than one row. */
export function startMean(range: number, blockRows: number): BoundedMean {
  if (!(range > 0 && range < Infinity)) throw new RangeError(`range is ${range}: give a number above 0`);
  if (!Number.isInteger(blockRows) || blockRows < 1) {
    throw new RangeError(`blockRows is ${blockRows}: give a whole number of at least 1`);
  }
  return { range, blockRows, rows: 0, open: { rows: 0, sum: 0 }, sums: [0, 0, 0, 0, 0] };
}

/** Takes in one value; what lies outside the range counts as its end. */
export function withValue(mean: BoundedMean, value: number): BoundedMean {
  const { range, blockRows, rows, open } = mean;
  const clipped = Math.min(range, Math.max(-range, value));
  return { range, blockRows, rows: rows + 1, ...closed(mean, open.rows + 1, open.sum + clipped) };
}

/**
 * What both have seen together. It is the state of one who saw all values in the order of arrival, because sums have no
 * order, and so keeps every guarantee, where nobody chose which to merge by what they say. Open blocks become one.
 * Throws a RangeError for other ranges or blocks.
 */
export function mergedMeans(left: BoundedMean, right: BoundedMean): BoundedMean {
  for (const field of ["range", "blockRows"] as const) {
    if (left[field] !== right[field]) {
      throw new RangeError(`${field} is ${left[field]} and ${right[field]}: merge tests of one kind`);
    }
  }
  const sums = left.sums.map((sum, k) => sum + (right.sums[k] as number)) as unknown as PowerSums;
  const { range, blockRows } = left;
  const rows = left.rows + right.rows;
  const both = { range, blockRows, rows, open: left.open, sums };
  return { ...both, ...closed(both, left.open.rows + right.open.rows, left.open.sum + right.open.sum) };
}

/** The open block, counted if it is full. */
function closed(mean: BoundedMean, rows: number, sum: number): Pick<BoundedMean, "open" | "sums"> {
  if (rows < mean.blockRows) return { open: { rows, sum }, sums: mean.sums };
  const [count, s1, s2, s3, s4] = mean.sums;
  const x = sum / rows / mean.range;
  const xx = x * x;
  return { open: { rows: 0, sum: 0 }, sums: [count + 1, s1 + x, s2 + xx, s3 + xx * x, s4 + xx * xx] };
}

/** The average of the full blocks; 0 before the first. */
export function averageOf({ range, sums: [count, s1] }: BoundedMean): number {
  return count === 0 ? 0 : (range * s1) / count;
}

/**
 * The e-value against "the mean is at least `claim`", as a natural logarithm: over log(1 / alpha), the mean is below,
 * with error alpha over all looks. `claim` lies within (-range, range); outside nothing is proven.
 */
export function logEvidenceBelow({ range, sums }: BoundedMean, claim: number): number {
  const m = claim / range;
  if (!(m > -1 && m < 1)) return Number.NEGATIVE_INFINITY;
  const [n, s1, s2, s3, s4] = sums;
  const unit = 1 - m;
  // Sums of the powers of (m - x) / (1 - m), by the binomial theorem.
  const t1 = (n * m - s1) / unit;
  const t2 = (m * (n * m - 2 * s1) + s2) / (unit * unit);
  const t3 = (m * (m * (n * m - 3 * s1) + 3 * s2) - s3) / (unit * unit * unit);
  const t4 = (m * (m * (m * (n * m - 4 * s1) + 6 * s2) - 4 * s3) + s4) / (unit * unit * unit * unit);
  return logOfMean(WEIGHTS.map(([w1, w2, w3, w4]) => w1 * t1 + w2 * t2 + w3 * t3 + w4 * t4));
}

/** The e-value against "the mean is at most `claim`", as a natural logarithm. */
export function logEvidenceAbove(mean: BoundedMean, claim: number): number {
  const [n, s1, s2, s3, s4] = mean.sums;
  return logEvidenceBelow({ ...mean, sums: [n, -s1, s2, -s3, s4] }, -claim);
}

/** log of the mean of exp(logs), without overflow. */
export function logOfMean(logs: readonly number[]): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const log of logs) if (log > most) most = log;
  let sum = 0;
  for (const log of logs) sum += Math.exp(log - most);
  return most + Math.log(sum / logs.length);
}

/**
 * Confidence sequence of the mean: `lower` and `upper` each hold with confidence 1 - alpha over all looks at once; the
 * ends of the range where nothing is proven yet. About 20 us: for people, not for each row.
 */
export function boundsOf(
  mean: BoundedMean,
  alpha: number,
): { readonly lower: number; readonly upper: number } {
  const [n, s1, s2, s3, s4] = mean.sums;
  return {
    lower: -upperBound({ ...mean, sums: [n, -s1, s2, -s3, s4] }, alpha),
    upper: upperBound(mean, alpha),
  };
}

/**
 * A claim that is refused, as small as can be found. Refusing one refuses all above it, because the capital grows with
 * the claim; the lower bound of it need not, so the first refused one is looked for from the average upwards.
 */
function upperBound(mean: BoundedMean, alpha: number): number {
  const steps = 64;
  const average = averageOf(mean);
  const refused = (claim: number): boolean => logEvidenceBelow(mean, claim) >= -Math.log(alpha);
  const at = (step: number): number => average + ((mean.range - average) * step) / steps;
  let step = 1;
  while (step < steps && !refused(at(step))) step++;
  if (step === steps) return mean.range;
  let [kept, found] = [at(step - 1), at(step)];
  for (let i = 0; i < 20; i++) {
    const middle = (kept + found) / 2;
    if (refused(middle)) found = middle;
    else kept = middle;
  }
  return found;
}
