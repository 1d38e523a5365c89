import { describe, expect, it } from "vitest";
import { BatchClock } from "./batch-clock.ts";

const OBJECTIVE_MS = 40;

/** The sizes of batches of a model under load, each as large as the clock allows. */
function sizes(clock: BatchClock, batches: number, msOf: (rows: number) => number): number[] {
  return Array.from({ length: batches }, () => {
    const rows = clock.rowsWithin(OBJECTIVE_MS);
    clock.observe(rows, msOf(rows));
    return rows;
  });
}

describe("the batch clock", () => {
  it("keeps a run to a quarter of the objective when each row costs the same", () => {
    expect(sizes(new BatchClock(new Map()), 7, (rows) => 2 * rows)).toEqual([1, 2, 4, 8, 4, 4, 4]);
  });

  it("grows beyond a quarter while a doubling costs much less per row, and not beyond the objective", () => {
    const clock = new BatchClock(new Map());
    expect(sizes(clock, 6, (rows) => 15 + rows)).toEqual([1, 2, 4, 8, 16, 16]);
    // 47 ms for 32 rows are too much.
    expect(clock.rowsWithin(48)).toBe(32);
  });

  it("tries no batches of a model that takes all of the objective for one row", () => {
    expect(sizes(new BatchClock(new Map()), 3, () => 39)).toEqual([1, 1, 1]);
  });

  it("starts where the warm-up ended, and reckons what lies between", () => {
    const clock = new BatchClock(
      new Map([
        [1, 1],
        [64, 64],
      ]),
    );
    expect([1, 2, 8, 32, 64, 128].map((rows) => clock.estimate(rows))).toEqual([1, 2, 8, 32, 64, 128]);
    expect(clock.rowsWithin(OBJECTIVE_MS)).toBe(8);
    expect(new BatchClock(new Map([[64, 1]])).rowsWithin(OBJECTIVE_MS)).toBe(128);
  });

  it("tries again after a while what took too long once", () => {
    const clock = new BatchClock(new Map([[1, 1]]));
    clock.observe(2, 1_000);
    expect(clock.rowsWithin(OBJECTIVE_MS)).toBe(1);
    const found = sizes(clock, 2_000, () => 1);
    expect(found.at(-1)).toBeGreaterThan(1);
  });
});
