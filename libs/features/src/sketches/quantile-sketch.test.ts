import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { QuantileSketch } from "./quantile-sketch.ts";

function sketchOf(sketch: QuantileSketch, values: readonly number[]): number {
  const given = Float64Array.from(values);
  return values.reduce((at, _, i) => sketch.update(at, given, i), 0);
}

function quantile(sketch: QuantileSketch, q: number, ...parts: readonly number[]): number {
  sketch.begin();
  for (const part of parts) sketch.combine(part);
  const answer = new Float64Array(1);
  sketch.answer(q, answer, 0);
  return answer[0] as number;
}

const exact = (values: readonly number[], q: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(q * (values.length - 1))] as number;

/** Of any size between 1e-9 and 1e18, of either sign, or 0. */
const value = fc.oneof(
  fc
    .tuple(fc.double({ min: -9, max: 18, noNaN: true }), fc.constantFrom(-1, 1))
    .map(([e, sign]) => sign * 10 ** e),
  fc.integer({ min: -1_000, max: 1_000 }),
  fc.constant(0),
);
const values = fc.array(value, { minLength: 1, maxLength: 100 });
const share = fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 0.5, 0.95, 1));

describe("QuantileSketch", () => {
  it("is within 1 % of the value of that rank", () => {
    fc.assert(
      fc.property(values, share, (list, q) => {
        const sketch = new QuantileSketch(null);
        const found = quantile(sketch, q, sketchOf(sketch, list));
        const wanted = exact(list, q);
        expect(Math.abs(found - wanted)).toBeLessThanOrEqual(Math.abs(wanted) * 0.01 * (1 + 1e-9));
      }),
      { numRuns: 500 },
    );
  });

  it("is of sketches that are combined what it is of all values together", () => {
    fc.assert(
      fc.property(fc.array(values, { minLength: 1, maxLength: 5 }), share, (lists, q) => {
        const sketch = new QuantileSketch(null);
        const parts = lists.map((list) => sketchOf(sketch, list));
        const whole = sketchOf(sketch, lists.flat());
        expect(quantile(sketch, q, ...parts)).toBe(quantile(sketch, q, whole));
        expect(quantile(sketch, q, ...parts.toReversed())).toBe(quantile(sketch, q, whole));
      }),
    );
  });

  it("counts what is nearer to 0 as 0, and what is larger as the largest", () => {
    const sketch = new QuantileSketch(null);
    const small = sketchOf(sketch, [1e-12, -1e-12, 5e-324]);
    expect([0, 0.5, 1].map((q) => quantile(sketch, q, small))).toEqual([0, 0, 0]);
    const large = sketchOf(sketch, [1e300, -1e300]);
    expect(quantile(sketch, 1, large)).toBeCloseTo(1e18, -17);
    expect(quantile(sketch, 0, large)).toBe(-quantile(sketch, 1, large));
  });

  it("is not known of nothing, and takes the asking event's value into the answer alone", () => {
    const sketch = new QuantileSketch(null);
    expect(quantile(sketch, 0.5)).toBeNaN();
    expect(quantile(sketch, 0.5, 0)).toBeNaN();
    const part = sketchOf(sketch, [10]);
    const answer = new Float64Array(1);
    sketch.begin();
    sketch.include(Float64Array.of(-500), 0);
    sketch.combine(part);
    sketch.answer(0, answer, 0);
    expect(Math.abs((answer[0] as number) + 500)).toBeLessThan(5.001);
    expect(quantile(sketch, 0, part)).toBe(quantile(sketch, 1, part));
  });

  it("goes on from a snapshot, and uses the room of sketches that are given back", () => {
    let sketch = new QuantileSketch(null);
    const many = Array.from({ length: 3_000 }, (_, i) => (i - 1_500) ** 3);
    const part = sketchOf(sketch, many);
    const expected = quantile(sketch, 0.25, part);
    sketch = new QuantileSketch(structuredClone(sketch.snapshot()));
    expect(quantile(sketch, 0.25, part)).toBe(expected);
    for (let i = 0; i < 5; i++) sketch.free(sketchOf(sketch, many));
    const { byteLength } = sketch;
    for (let i = 0; i < 20; i++) sketch.free(sketchOf(sketch, many));
    expect(sketch.byteLength).toBe(byteLength);
    sketch.free(0);
    expect(quantile(sketch, 0.25, part)).toBe(expected);
  });
});
