import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addParts, addSquare, SQUARES_BASE, writeDeviation } from "./exact.ts";

const whole = (bits: number): fc.Arbitrary<number> =>
  fc.integer({ min: 0, max: bits }).chain((size) => fc.integer({ min: -(2 ** size), max: 2 ** size }));

/** The number that two slots stand for. */
function valueOf(slots: Float64Array, at = 0): bigint {
  return BigInt(slots[at + 1] as number) * BigInt(SQUARES_BASE) + BigInt(slots[at] as number);
}

function squaresOf(values: readonly number[]): bigint {
  return values.reduce((sum, value) => sum + BigInt(value) ** 2n, 0n);
}

function summed(values: readonly number[]): Float64Array {
  const slots = new Float64Array(2);
  const given = Float64Array.from(values);
  values.forEach((_, i) => addSquare(slots, 0, given, i));
  return slots;
}

/** Without rounding on the way: the root of the nearest double. */
function deviationOf(values: readonly number[], unit: number): number {
  const count = BigInt(values.length);
  const sum = values.reduce((total, value) => total + BigInt(value), 0n);
  return Math.sqrt(Number(count * squaresOf(values) - sum * sum)) / values.length / unit;
}

function writtenDeviation(values: readonly number[], unit: number): number {
  const slots = Float64Array.of(
    values.reduce((total, value) => total + value, 0),
    ...summed(values),
  );
  const out = new Float64Array(1);
  writeDeviation(values.length, slots, 0, 1, unit, out, 0);
  return out[0] as number;
}

describe("sums of squares of whole numbers", () => {
  it("are exact up to 2^105, far beyond 2^53", () => {
    const many = fc.array(whole(48), { maxLength: 100 });
    const large = fc.array(whole(51), { maxLength: 7 });
    fc.assert(
      fc.property(fc.oneof(many, large), (values) => {
        const slots = summed(values);
        expect(valueOf(slots)).toBe(squaresOf(values));
        expect(slots[0]).toBeGreaterThanOrEqual(0);
        expect(slots[0]).toBeLessThan(SQUARES_BASE);
      }),
      { numRuns: 500 },
    );
  });

  it("are exact at the borders of halves, bases and signs", () => {
    const borders = [1, 2 ** 26, 2 ** 27, 2 ** 51].flatMap((n) => [n - 1, n, n + 1, 1 - n, -n, -1 - n]);
    for (const value of borders) expect(valueOf(summed([value]))).toBe(BigInt(value) ** 2n);
    expect(valueOf(summed(borders.filter((value) => value > 0)))).toBe(
      squaresOf(borders.filter((value) => value > 0)),
    );
  });

  it("can be added, and taken away again", () => {
    const values = fc.array(whole(48), { maxLength: 60 });
    fc.assert(
      fc.property(values, values, (some, others) => {
        const slots = Float64Array.of(...summed(some), ...summed(others));
        addParts(slots, 0, slots, 2, 1);
        expect(valueOf(slots)).toBe(squaresOf([...some, ...others]));
        addParts(slots, 0, slots, 2, -1);
        expect(slots.slice(0, 2)).toEqual(summed(some));
      }),
    );
  });
});

describe("writeDeviation", () => {
  it("is exact up to the root while count times the sum of squares is below 2^102", () => {
    const values = fc.array(whole(42), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(values, fc.constantFrom(1, 100), (list, unit) => {
        expect(writtenDeviation(list, unit)).toBe(deviationOf(list, unit));
      }),
    );
  });

  it("does not cancel: amounts of a billion that differ by a cent", () => {
    const amounts = Array.from({ length: 1_001 }, (_, i) => 10 ** 11 + (i % 2));
    expect(writtenDeviation(amounts, 100)).toBe(deviationOf(amounts, 100));
    expect(writtenDeviation(amounts, 100)).toBeCloseTo(0.005, 8);
    expect(writtenDeviation([2 ** 50, 2 ** 50], 1)).toBe(0);
  });

  it("is near beyond that, and never of a negative number", () => {
    const values = fc.array(whole(51), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(values, (list) => {
        const sum = list.reduce((total, value) => total + value, 0);
        fc.pre(Number.isSafeInteger(sum));
        const exact = deviationOf(list, 1);
        const size = Math.sqrt(Number(squaresOf(list)) / list.length);
        expect(Math.abs(writtenDeviation(list, 1) - exact)).toBeLessThanOrEqual(size * 1e-7);
      }),
    );
  });

  it("is 0 of one value, and not known of none", () => {
    expect(writtenDeviation([123], 1)).toBe(0);
    expect(writtenDeviation([], 1)).toBeNaN();
  });
});
