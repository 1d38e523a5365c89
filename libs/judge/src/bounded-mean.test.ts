import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  averageOf,
  type BoundedMean,
  boundsOf,
  logEvidenceAbove,
  logEvidenceBelow,
  mergedMeans,
  startMean,
  withValue,
} from "./bounded-mean.ts";

const RANGE = 0.5;
const value = fc.oneof(
  fc.double({ min: -RANGE, max: RANGE, noNaN: true }),
  fc.constantFrom(-RANGE, 0, 0.01, 0.02, RANGE),
);
const values = fc.array(value, { maxLength: 80 });
const claim = fc.double({ min: -0.99 * RANGE, max: 0.99 * RANGE, noNaN: true });
const of = (data: readonly number[], blockRows = 1): BoundedMean =>
  data.reduce(withValue, startMean(RANGE, blockRows));

/** The capital itself: the mean over stakes of the product of 1 + stake * (claim - value) / (range - claim). */
function naiveCapital(data: readonly number[], m: number): number {
  const capitals = Array.from({ length: 10 }, (_, k) =>
    data.reduce((product, x) => product * (1 + (0.95 / 2 ** k) * ((m - x) / (RANGE - m))), 1),
  );
  return capitals.reduce((sum, capital) => sum + capital, 0) / capitals.length;
}

describe("evidence", () => {
  it("is never more than the capital that the bets would have won", () => {
    fc.assert(
      fc.property(values, claim, (data, m) => {
        const capital = Math.log(naiveCapital(data, m));
        expect(logEvidenceBelow(of(data), m)).toBeLessThanOrEqual(capital + 1e-6);
      }),
    );
  });

  it("is close to it where values are small to the range", () => {
    const data = Array.from({ length: 500 }, (_, i) => -0.01 + 0.05 * Math.sin(i * i));
    expect(logEvidenceBelow(of(data), 0)).toBeGreaterThan(Math.log(naiveCapital(data, 0)) - 0.05);
    expect(naiveCapital(data, 0)).toBeGreaterThan(100);
  });

  it("is the same for the other direction, mirrored", () => {
    fc.assert(
      fc.property(values, claim, (data, m) => {
        const mirrored = of(data.map((x) => -x));
        expect(logEvidenceAbove(of(data), m)).toBeCloseTo(logEvidenceBelow(mirrored, -m), 8);
      }),
    );
  });

  it("is none before the first value, and for claims that cannot be refused", () => {
    expect(logEvidenceBelow(startMean(RANGE, 1), 0.1)).toBeCloseTo(0, 12);
    for (const m of [-RANGE, RANGE, 2]) expect(logEvidenceBelow(of([0.1]), m)).toBe(-Infinity);
  });
});

describe("bounds", () => {
  const sure = Math.log(20);

  it("hold the average, and what lies outside of them is refused", () => {
    fc.assert(
      fc.property(values, (data) => {
        const mean = of(data);
        const { lower, upper } = boundsOf(mean, 0.05);
        expect(lower).toBeLessThanOrEqual(averageOf(mean));
        expect(upper).toBeGreaterThanOrEqual(averageOf(mean));
        if (upper < RANGE) expect(Math.log(naiveCapital(data, upper))).toBeGreaterThanOrEqual(sure - 1e-6);
        if (lower > -RANGE) expect(logEvidenceAbove(mean, lower)).toBeGreaterThanOrEqual(sure);
      }),
    );
  });

  it("close in on the average as values come", () => {
    const data = Array.from({ length: 20_000 }, (_, i) => 0.1 + 0.2 * Math.sin(i * i));
    const widths = [200, 2_000, 20_000].map((rows) => {
      const { lower, upper } = boundsOf(of(data.slice(0, rows)), 0.05);
      return upper - lower;
    });
    expect(widths[0]).toBeLessThan(0.1);
    expect(widths[1]).toBeLessThan(widths[0]! / 2);
    expect(widths[2]).toBeLessThan(widths[1]! / 2);
  });
});

describe("state", () => {
  it("counts averages of blocks, and what is beyond the range as its end", () => {
    const mean = of([0.1, 0.3, 9, -9, 0.2], 2);
    expect(mean).toMatchObject({ rows: 5, open: { rows: 1, sum: 0.2 } });
    expect(mean.sums[0]).toBe(2);
    expect(averageOf(mean)).toBeCloseTo(0.1, 12);
  });

  it("is plain JSON, and merges to what one would have seen in any order", () => {
    fc.assert(
      fc.property(values, values, claim, (left, right, m) => {
        const merged = mergedMeans(JSON.parse(JSON.stringify(of(left))), of(right));
        const whole = of([...right, ...left]);
        expect(merged.rows).toBe(whole.rows);
        expect(logEvidenceBelow(merged, m)).toBeCloseTo(logEvidenceBelow(whole, m), 6);
      }),
    );
  });

  it("makes one block of two open ones, full or not", () => {
    const merged = mergedMeans(of([0.1, 0.1], 3), of([0.3, 0.3], 3));
    expect(merged.open.rows).toBe(0);
    expect(averageOf(merged)).toBeCloseTo(0.2, 12);
    expect(mergedMeans(of([0.1], 3), of([0.3], 3)).open.rows).toBe(2);
  });

  it("refuses ranges and blocks that make no sense, and to merge unlike tests", () => {
    for (const range of [0, Number.NaN, Infinity])
      expect(() => startMean(range, 1)).toThrow(`range is ${range}`);
    for (const blockRows of [0, 1.5])
      expect(() => startMean(1, blockRows)).toThrow(`blockRows is ${blockRows}`);
    expect(() => mergedMeans(startMean(1, 1), startMean(2, 1))).toThrow("range is 1 and 2");
    expect(() => mergedMeans(startMean(1, 1), startMean(1, 9))).toThrow("blockRows is 1 and 9");
  });
});
