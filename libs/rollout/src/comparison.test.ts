import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createComparison } from "./comparison.ts";

const TOLERANCE = 0.01;
const score = fc.oneof(
  fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  fc.constantFrom(0, 0.5, 1, Number.NaN, Infinity, -Infinity),
);
const pairs = fc.array(fc.tuple(score, score), { maxLength: 60 });
const compared = (data: readonly (readonly [number, number])[]) => {
  const comparison = createComparison({ tolerance: TOLERANCE });
  for (const [champion, challenger] of data) comparison.add(champion, challenger);
  return comparison;
};

describe("comparison", () => {
  it("equals naive definitions, quantiles within 2 %", () => {
    fc.assert(
      fc.property(pairs, (data) => {
        const report = compared(data).report();
        const all = data.map(([a, b]) => (Object.is(a, b) ? 0 : Math.abs(a - b)));
        const finite = all.filter(Number.isFinite).sort((a, b) => a - b);
        const at = (q: number): number => finite[Math.floor(q * (finite.length - 1))] ?? 0;
        expect(report.pairs).toBe(data.length);
        expect(report.notFinite).toBe(data.length - finite.length);
        expect(report.max).toBe(finite.at(-1) ?? 0);
        expect(report.mean).toBeCloseTo(finite.reduce((s, d) => s + d, 0) / Math.max(1, finite.length), 6);
        const beyond = all.filter((difference) => !(difference <= TOLERANCE)).length;
        expect(report.shareBeyond).toBeCloseTo(beyond / Math.max(1, data.length), 12);
        for (const [value, q] of [
          [report.p50, 0.5],
          [report.p99, 0.99],
        ] as const) {
          expect(Math.abs(value - at(q))).toBeLessThanOrEqual(0.02 * at(q) * (1 + 1e-9) + 1e-12);
        }
      }),
    );
  });

  it("merges and goes on from JSON as if it had seen everything itself", () => {
    fc.assert(
      fc.property(pairs, pairs, (left, right) => {
        const merged = createComparison(JSON.parse(JSON.stringify(compared(left).snapshot())));
        merged.merge(compared(right).snapshot());
        const { mean, ...exact } = compared([...left, ...right]).report();
        expect(merged.report()).toMatchObject(exact);
        expect(merged.report().mean).toBeCloseTo(mean, 6);
      }),
    );
  });

  it("takes tensors of FP32 and FP64 element by element", () => {
    const comparison = createComparison({ tolerance: 0 });
    comparison.addTensors(Float32Array.of(1, 2, Number.NaN), Float32Array.of(1, 2.5, Number.NaN));
    comparison.addTensors(Float64Array.of(4), Float64Array.of(Number.NaN));
    expect(comparison.report()).toMatchObject({ pairs: 4, notFinite: 1, max: 0.5, shareBeyond: 0.5 });
    expect(() => comparison.addTensors([1, 2], [1])).toThrow(
      "the challenger's tensor has 1 elements, the champion's 2",
    );
    expect(comparison.report().pairs).toBe(4);
  });

  it("holds differences of any size", () => {
    const report = compared([
      [0, 1e-300],
      [0, 1e300],
      [1e300, 0],
    ]).report();
    expect(report).toMatchObject({ pairs: 3, max: 1e300 });
    expect(report.p99).toBeLessThanOrEqual(1.02e12);
  });

  it("says nothing of nothing, and refuses other tolerances", () => {
    const none = { pairs: 0, notFinite: 0, mean: 0, max: 0, shareBeyond: 0, p50: 0, p99: 0 };
    expect(compared([]).report()).toEqual(none);
    expect(() => compared([]).merge(createComparison({ tolerance: 1 }).snapshot())).toThrow("tolerance is 1");
    for (const tolerance of [-1, Number.NaN, Infinity]) {
      expect(() => createComparison({ tolerance })).toThrow(`tolerance is ${tolerance}: give`);
    }
  });
});
