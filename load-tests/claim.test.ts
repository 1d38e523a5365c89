import { globSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Claim, judge, type Measurement, median } from "./claim.ts";

const measured = (value: number, baseline: number | null, faults: string[] = []): Measurement => ({
  value,
  baseline,
  faults,
  parts: {},
});

describe("judge", () => {
  it("holds the value against a bound of its own", () => {
    expect(judge({ atMost: 60 }, measured(60, null))).toEqual({ ratio: null, target: 60, pass: true });
    expect(judge({ atMost: 60 }, measured(60.1, null)).pass).toBe(false);
    expect(judge({ atLeast: 5 }, measured(4.9, 1)).pass).toBe(false);
  });

  it("turns a multiple of the baseline into a bound in the value's unit", () => {
    expect(judge({ atLeastTimesBaseline: 0.8 }, measured(90, 100))).toEqual({
      ratio: 0.9,
      target: 80,
      pass: true,
    });
    expect(judge({ atLeastTimesBaseline: 0.8 }, measured(79, 100)).pass).toBe(false);
    expect(() => judge({ atLeastTimesBaseline: 0.8 }, measured(79, null))).toThrow(RangeError);
  });

  it("does not pass with a fault, or without a number", () => {
    expect(judge({ atLeast: 5 }, measured(6, null, ["lost a record"])).pass).toBe(false);
    expect(judge({ atLeast: 5 }, measured(Number.NaN, null)).pass).toBe(false);
    expect(judge({ atMost: 5 }, measured(Number.NaN, null)).pass).toBe(false);
  });
});

describe("median", () => {
  it("is the middle one, or between the two in the middle", () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4, 1, 10, 2])).toBe(3);
    expect(() => median([])).toThrow(RangeError);
  });
});

describe("claims", () => {
  it("are named as their files", async () => {
    const files = globSync("claims/*.ts", { cwd: import.meta.dirname });
    const names = await Promise.all(
      files.map(
        async (file) => ((await import(join(import.meta.dirname, file))) as { default: Claim }).default.name,
      ),
    );
    expect(names).toEqual(files.map((file) => basename(file, ".ts")));
    expect(names).toContain("wire");
  });
});
