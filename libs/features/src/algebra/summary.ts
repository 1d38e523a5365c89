import type { SummaryPlan } from "../feature-plan.ts";
import { addParts, addSquare } from "./exact.ts";
import type { PaneRange } from "./pane-algebra.ts";

/**
 * What most features ask of a field, in one go: how many values there are, their sum, the sum of their squares, the
 * smallest and the largest. Only what is asked for has slots (-1: none). Exact, and so the same in any order: sums are
 * of whole numbers. It is an algebra like the others (see `PaneAlgebra`), but is called directly, not by a table of
 * functions, since it is what each event pays for. `at` is where the pane or window begins, in units.
 *
 * Panes can be taken out of a window again. But a sum beyond 2^53 is not exact any more, and an extreme that leaves
 * (it becomes NaN) does not tell what is left: such a window `isLost` and has to be added up anew before it is used.
 */

/** Sums of whole numbers are exact up to here. */
const EXACT_MAX: number = Number.MAX_SAFE_INTEGER;

/** Makes slots empty. */
export function emptySummary(
  { count, sum, squares, min, max }: SummaryPlan,
  floats: Float64Array,
  ints: Int32Array,
  at: number,
): void {
  if (count >= 0) ints[at * 2 + count] = 0;
  if (sum >= 0) floats[at + sum] = 0;
  if (squares >= 0) {
    floats[at + squares] = 0;
    floats[at + squares + 1] = 0;
  }
  if (min >= 0) floats[at + min] = Number.POSITIVE_INFINITY;
  if (max >= 0) floats[at + max] = Number.NEGATIVE_INFINITY;
}

/** Takes in an event's value, `values[plan.input]`. */
export function updateSummary(
  plan: SummaryPlan,
  floats: Float64Array,
  ints: Int32Array,
  at: number,
  values: Float64Array,
): void {
  const { input, count, sum, squares, min, max } = plan;
  const value = values[input] as number;
  if (count >= 0) ints[at * 2 + count] = (ints[at * 2 + count] as number) + 1;
  if (sum >= 0) floats[at + sum] = (floats[at + sum] as number) + value;
  if (squares >= 0) addSquare(floats, at + squares, values, input);
  if (min >= 0 && value < (floats[at + min] as number)) floats[at + min] = value;
  if (max >= 0 && value > (floats[at + max] as number)) floats[at + max] = value;
}

/** Adds panes. */
export function enterSummary(
  { count, sum, squares, min, max }: SummaryPlan,
  floats: Float64Array,
  ints: Int32Array,
  at: number,
  { floats: from, ints: fromInts, newest, oldest, stride }: PaneRange,
): void {
  if (count >= 0) {
    let total = ints[at * 2 + count] as number;
    for (let p = newest; p >= oldest; p -= stride) total += fromInts[p * 2 + count] as number;
    ints[at * 2 + count] = total;
  }
  if (sum >= 0) {
    let total = floats[at + sum] as number;
    for (let p = newest; p >= oldest; p -= stride) total += from[p + sum] as number;
    floats[at + sum] = total;
  }
  if (squares >= 0)
    for (let p = newest; p >= oldest; p -= stride) addParts(floats, at + squares, from, p + squares, 1);
  if (min >= 0) {
    let least = floats[at + min] as number;
    for (let p = newest; p >= oldest; p -= stride)
      if ((from[p + min] as number) < least) least = from[p + min] as number;
    floats[at + min] = least;
  }
  if (max >= 0) {
    let most = floats[at + max] as number;
    for (let p = newest; p >= oldest; p -= stride)
      if ((from[p + max] as number) > most) most = from[p + max] as number;
    floats[at + max] = most;
  }
}

/** Takes panes out that were added. */
export function leaveSummary(
  { count, sum, squares, min, max }: SummaryPlan,
  floats: Float64Array,
  ints: Int32Array,
  at: number,
  { floats: from, ints: fromInts, newest, oldest, stride }: PaneRange,
): void {
  if (count >= 0) {
    let total = ints[at * 2 + count] as number;
    for (let p = newest; p >= oldest; p -= stride) total -= fromInts[p * 2 + count] as number;
    ints[at * 2 + count] = total;
  }
  if (sum >= 0) {
    let total = floats[at + sum] as number;
    for (let p = newest; p >= oldest; p -= stride) total -= from[p + sum] as number;
    floats[at + sum] = total;
  }
  if (squares >= 0)
    for (let p = newest; p >= oldest; p -= stride) addParts(floats, at + squares, from, p + squares, -1);
  if (min >= 0) {
    const least = floats[at + min] as number;
    for (let p = newest; p >= oldest; p -= stride) if (from[p + min] === least) floats[at + min] = Number.NaN;
  }
  if (max >= 0) {
    const most = floats[at + max] as number;
    for (let p = newest; p >= oldest; p -= stride) if (from[p + max] === most) floats[at + max] = Number.NaN;
  }
}

/** Whether a part of a window is not known any more, or not exactly. */
export function isLost({ sum, min, max }: SummaryPlan, floats: Float64Array, at: number): boolean {
  return (
    (sum >= 0 && ((floats[at + sum] as number) > EXACT_MAX || (floats[at + sum] as number) < -EXACT_MAX)) ||
    (min >= 0 && floats[at + min] !== floats[at + min]) ||
    (max >= 0 && floats[at + max] !== floats[at + max])
  );
}
