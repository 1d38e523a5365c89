/**
 * Whole numbers beyond 2^53, in two doubles: `low` and `high`, for `high * SQUARES_BASE + low`, 0 <= low <
 * SQUARES_BASE. Sums are exact as long as `high` stays below 2^53, so up to 2^105. Numbers are passed as places in
 * arrays: a double that is passed to a function, or answered, by itself is made an object first.
 */
export const SQUARES_BASE: number = 2 ** 52;

/** Squares of smaller numbers are below the base. */
const ROOT = 2 ** 26;
/** Veltkamp's constant: splits a double into two halves of 26 bits, so that their products are exact (Dekker, 1971). */
const SPLIT = 2 ** 27 + 1;

/** Adds the square of the whole number `values[v]` to the sum at `slots[at]` (low) and `slots[at + 1]` (high). */
export function addSquare(slots: Float64Array, at: number, values: Float64Array, v: number): void {
  const value = values[v] as number;
  const square = value * value;
  let low = square;
  let high = 0;
  if (value >= ROOT || value <= -ROOT) {
    const scaled = SPLIT * value;
    const above = scaled - (scaled - value);
    const below = value - above;
    const error = below * below - (square - above * above - 2 * above * below);
    high = Math.floor(square / SQUARES_BASE);
    low = square - high * SQUARES_BASE + error;
    if (low < 0) {
      low += SQUARES_BASE;
      high--;
    }
  }
  const sum = (slots[at] as number) + low;
  const carry = sum >= SQUARES_BASE ? 1 : 0;
  slots[at] = sum - carry * SQUARES_BASE;
  slots[at + 1] = (slots[at + 1] as number) + high + carry;
}

/** Adds the sum at `from[other]` to that at `slots[at]` (`sign` 1), or takes it away (-1). */
export function addParts(
  slots: Float64Array,
  at: number,
  from: Float64Array,
  other: number,
  sign: 1 | -1,
): void {
  const sum = (slots[at] as number) + sign * (from[other] as number);
  const carry = sum >= SQUARES_BASE ? 1 : sum < 0 ? -1 : 0;
  slots[at] = sum - carry * SQUARES_BASE;
  slots[at + 1] = (slots[at + 1] as number) + sign * (from[other + 1] as number) + carry;
}

/**
 * Writes the standard deviation (the population's) of `count` whole numbers to `out[i]`, from their sum `slots[s]` and
 * the sum of their squares at `slots[q]`: sqrt(count * squares - sum^2) / count / unit. The difference, where digits
 * cancel, is exact and rounded once as long as both terms are below 2^102. NaN when there are none.
 */
export function writeDeviation(
  count: number,
  slots: Float64Array,
  s: number,
  q: number,
  unit: number,
  out: Float64Array,
  i: number,
): void {
  const sum = slots[s] as number;
  const low = slots[q] as number;
  const high = slots[q + 1] as number;
  const square = sum * sum;
  const product = count * low;
  let spread = product - square;
  if (high !== 0 || product > Number.MAX_SAFE_INTEGER || square > Number.MAX_SAFE_INTEGER) {
    // What the two products lose by rounding (Dekker, 1971); all terms are whole numbers.
    const scaledSum = SPLIT * sum;
    const sumAbove = scaledSum - (scaledSum - sum);
    const sumBelow = sum - sumAbove;
    const squareRest = sumBelow * sumBelow - (square - sumAbove * sumAbove - 2 * sumAbove * sumBelow);
    const scaledLow = SPLIT * low;
    const lowAbove = scaledLow - (scaledLow - low);
    const lowBelow = low - lowAbove;
    // The count has 31 bits: its own halves are itself and 0.
    const productRest = count * lowBelow - (product - count * lowAbove);
    // count * squares = whole + rests, each sum with what it loses by rounding (Knuth, volume 2, 4.2.2).
    const above = count * high * SQUARES_BASE;
    const whole = above + product;
    const wholePart = whole - above;
    const rests = above - (whole - wholePart) + (product - wholePart) + productRest;
    const difference = whole - square;
    const differencePart = difference - whole;
    const differenceRest = whole - (difference - differencePart) + (-square - differencePart);
    spread = difference + (differenceRest + (rests - squareRest));
  }
  out[i] = Math.sqrt(Math.max(0, spread)) / count / unit;
}
