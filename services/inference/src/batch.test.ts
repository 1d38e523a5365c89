import type { ServedModel } from "@millrace/serving";
import { describe, expect, it } from "vitest";
import { createBatcher } from "./batch.ts";

/** Answers the sum of each row; fails when a row holds -1. Remembers the rows of each run. */
function sums(features = 2): ServedModel & { runs: number[] } {
  const runs: number[] = [];
  return {
    features,
    runs,
    score: async (matrix, rows) => {
      runs.push(rows);
      if (matrix.includes(-1)) throw new Error("cannot score -1");
      return Float32Array.from({ length: rows }, (_, row) =>
        matrix.subarray(row * features, (row + 1) * features).reduce((a, b) => a + b, 0),
      );
    },
    release: async () => {},
  };
}

const LIMITS = { rowsMax: 8, waitingRowsMax: 100 };
const rowsOf = (...numbers: number[]): Float32Array => new Float32Array(numbers);

describe("batcher", () => {
  it("runs what arrives in one turn together and gives each its own scores", async () => {
    const batcher = createBatcher(LIMITS);
    const model = sums();
    const answers = await Promise.all([
      batcher.score(model, rowsOf(1, 2), 1),
      batcher.score(model, rowsOf(3, 4, 5, 6), 2),
      batcher.score(model, rowsOf(7, 8), 1),
    ]);
    expect(answers.map((scores) => [...scores])).toEqual([[3], [7, 11], [15]]);
    expect(model.runs).toEqual([4]);
  });

  it("does not mix models", async () => {
    const batcher = createBatcher(LIMITS);
    const [a, b] = [sums(), sums(1)];
    const [x, y] = await Promise.all([batcher.score(a, rowsOf(1, 2), 1), batcher.score(b, rowsOf(9), 1)]);
    expect([x[0], y[0]]).toEqual([3, 9]);
    expect([a.runs, b.runs]).toEqual([[1], [1]]);
  });

  it("bounds a batch, and lets a larger request go alone", async () => {
    const batcher = createBatcher(LIMITS);
    const model = sums(1);
    const calls = [3, 3, 3, 20, 1].map((rows) => batcher.score(model, new Float32Array(rows), rows));
    expect((await Promise.all(calls)).map((scores) => scores.length)).toEqual([3, 3, 3, 20, 1]);
    expect(model.runs.sort((a, b) => a - b)).toEqual([1, 3, 6, 20]);
  });

  it("fails a bad request by itself", async () => {
    const batcher = createBatcher(LIMITS);
    const model = sums(1);
    const results = await Promise.allSettled([1, -1, 2].map((x) => batcher.score(model, rowsOf(x), 1)));
    expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  });

  it("refuses more than may wait, and takes more once those are answered", async () => {
    const batcher = createBatcher(LIMITS);
    const model = sums(1);
    const first = batcher.score(model, new Float32Array(100), 100);
    await expect(batcher.score(model, rowsOf(1), 1)).rejects.toMatchObject({ code: "resourceExhausted" });
    await first;
    await new Promise(setImmediate);
    expect([...(await batcher.score(model, rowsOf(1), 1))]).toEqual([1]);
    await Promise.allSettled([batcher.score(model, rowsOf(-1), 1)]);
    await new Promise(setImmediate);
    expect((await batcher.score(model, new Float32Array(100), 100)).length).toBe(100);
  });
});
