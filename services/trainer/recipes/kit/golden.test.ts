import { describe, expect, it } from "vitest";
import { GOLDEN_ROWS_MAX, goldenSchema } from "./contract.ts";
import { goldenMatrix, goldenOf } from "./golden.ts";

describe("golden rows", () => {
  it("are at most 64, finite or unknown, and the same each time", () => {
    const matrix = Float32Array.from({ length: 3_000 }, (_, at) => (at % 5 === 0 ? Infinity : at));
    const golden = goldenMatrix({ rows: 1_000, matrix }, 3);
    expect(golden.length).toBe(GOLDEN_ROWS_MAX * 3);
    expect(golden.some((value) => value === Infinity)).toBe(false);
    expect(golden).toEqual(goldenMatrix({ rows: 1_000, matrix }, 3));
  });

  it("begin with nothing known and zeros, then rows of which every second has an unknown value", () => {
    const golden = goldenMatrix({ rows: 3, matrix: Float32Array.from([1, 2, 3, 4, 5, 6]) }, 2);
    const nan = Number.NaN;
    expect(golden).toEqual(Float32Array.from([nan, nan, 0, 0, 1, 2, nan, 4, 5, 6]));
  });

  it("need no examples", () => {
    const golden = goldenOf(goldenMatrix({ rows: 0, matrix: new Float32Array(0) }, 2), 2, [0.5, 0.5]);
    expect(golden).toEqual({
      inputs: [
        [null, null],
        [0, 0],
      ],
      scores: [0.5, 0.5],
    });
    expect(goldenSchema.parse(JSON.parse(JSON.stringify(golden)))).toEqual(golden);
  });
});
