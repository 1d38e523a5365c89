import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HyperLogLog, registerOf } from "./hyper-log-log.ts";

const utf8 = new TextEncoder();

function register(text: string): Float64Array {
  const bytes = utf8.encode(text);
  return Float64Array.of(registerOf(bytes, 0, bytes.length));
}

function sketchOf(log: HyperLogLog, texts: Iterable<string>): number {
  let sketch = 0;
  for (const text of texts) sketch = log.update(sketch, register(text), 0);
  return sketch;
}

function estimate(log: HyperLogLog, ...sketches: readonly number[]): number {
  log.begin();
  for (const sketch of sketches) log.combine(sketch);
  const answer = new Float64Array(1);
  log.answer(0, answer, 0);
  return answer[0] as number;
}

function* texts(prefix: string, count: number): Generator<string> {
  for (let i = 0; i < count; i++) yield `${prefix}-${i}`;
}

describe("HyperLogLog", () => {
  it.each([10, 100, 1_000, 10_000, 100_000])("of %i values is about two of a hundred off", (count) => {
    const log = new HyperLogLog(null);
    const sets = count > 50_000 ? 8 : 20;
    const errors = Array.from({ length: sets }, (_, i) => {
      const sketch = sketchOf(log, texts(`shop-${i}`, count));
      const found = estimate(log, sketch);
      log.free(sketch);
      return found / count - 1;
    });
    // Three standard errors for each of them, one and a half for their mean square.
    expect(Math.max(...errors.map(Math.abs))).toBeLessThan(0.07);
    expect(Math.sqrt(errors.reduce((sum, error) => sum + error ** 2, 0) / sets)).toBeLessThan(0.035);
  });

  it("counts a value once, however often it comes", () => {
    const log = new HyperLogLog(null);
    const once = sketchOf(log, texts("a", 700));
    const often = sketchOf(log, [...texts("a", 700), ...texts("a", 700), ...texts("a", 10)]);
    expect(estimate(log, often)).toBe(estimate(log, once));
    expect(estimate(log)).toBe(0);
    expect(estimate(log, 0)).toBe(0);
  });

  it("is of sketches that are combined what it is of all values together, few or many", () => {
    const size = fc.oneof(fc.nat(20), fc.nat(1_500));
    fc.assert(
      fc.property(fc.array(size, { minLength: 1, maxLength: 4 }), fc.boolean(), (sizes, shared) => {
        const log = new HyperLogLog(null);
        const sets = sizes.map((count, i) => [...texts(shared ? "one" : `set ${i}`, count)]);
        const parts = sets.map((set) => sketchOf(log, set));
        const whole = sketchOf(log, sets.flat());
        expect(estimate(log, ...parts)).toBe(estimate(log, whole));
        expect(estimate(log, ...parts.toReversed(), ...parts)).toBe(estimate(log, whole));
      }),
      { numRuns: 30 },
    );
  });

  it("takes the asking event's value into the answer, and not into the sketch", () => {
    const log = new HyperLogLog(null);
    const sketch = sketchOf(log, texts("a", 100));
    const before = estimate(log, sketch);
    log.begin();
    log.include(register("another"), 0);
    log.combine(sketch);
    const answer = new Float64Array(1);
    log.answer(0, answer, 0);
    expect(answer[0]).toBe(estimate(log, sketchOf(log, [...texts("a", 100), "another"])));
    expect(estimate(log, sketch)).toBe(before);
  });

  it("goes on from a snapshot, and uses the room of sketches that are given back", () => {
    let log = new HyperLogLog(null);
    const few = sketchOf(log, texts("few", 50));
    const many = sketchOf(log, texts("many", 5_000));
    const expected = [estimate(log, few), estimate(log, many)];
    log = new HyperLogLog(structuredClone(log.snapshot()));
    expect([estimate(log, few), estimate(log, many)]).toEqual(expected);
    for (let i = 0; i < 40; i++) log.free(sketchOf(log, texts(`round-${i}`, 3_000)));
    const { byteLength } = log;
    for (let i = 0; i < 40; i++) log.free(sketchOf(log, texts(`again-${i}`, 3_000)));
    expect(log.byteLength).toBe(byteLength);
    log.free(0);
    expect(estimate(log, many)).toBe(expected[1]);
  });
});
