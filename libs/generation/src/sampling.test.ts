import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { splitMix64 } from "./random.ts";
import { createSampler, type SamplingOptions } from "./sampling.ts";

const PLAIN: SamplingOptions = { repetitionPenalty: 1, temperature: 1, topK: 0, topP: 1, seed: 1 };
const LOGITS = Float32Array.of(1, 3, 2, 3, -1);

/** How often each token is chosen. */
function counts(options: Partial<SamplingOptions>, draws: number, logits = LOGITS): number[] {
  const choose = createSampler({ ...PLAIN, ...options });
  const found = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < draws; i++) found[choose(logits, [])]! += 1;
  return found;
}

/** Probabilities by the definition: sort the tokens, cut, normalise. */
function probabilities(logits: Float32Array, { temperature, topK, topP }: SamplingOptions): number[] {
  const weights = [...logits].map((logit) => Math.exp(logit / temperature));
  let order = [...weights.keys()].sort((a, b) => weights[b]! - weights[a]! || a - b);
  if (topK > 0) order = order.slice(0, topK);
  const whole = order.reduce((sum, token) => sum + weights[token]!, 0);
  const kept: number[] = [];
  for (let mass = 0; kept.length === 0 || (mass < topP && kept.length < order.length); ) {
    const token = order[kept.length]!;
    kept.push(token);
    mass += weights[token]! / whole;
  }
  const total = kept.reduce((sum, token) => sum + weights[token]!, 0);
  return weights.map((weight, token) => (kept.includes(token) ? weight / total : 0));
}

describe("a sampler", () => {
  it("takes the first of the most likely tokens at temperature 0, whatever else is asked for", () => {
    expect(counts({ temperature: 0, topK: 3, topP: 0.5 }, 20)).toEqual([0, 20, 0, 0, 0]);
  });

  it.each<[string, Partial<SamplingOptions>]>([
    ["as they are", {}],
    ["flattened", { temperature: 2.5 }],
    ["of the top 3", { topK: 3 }],
    ["of the top 1, of two alike the first", { topK: 1 }],
    ["of the nucleus", { topP: 0.7 }],
    ["of a nucleus of nothing", { topP: 0 }],
    ["of the nucleus of the top 3", { temperature: 0.8, topK: 3, topP: 0.6 }],
  ])("draws tokens by their probabilities: %s", (_, options) => {
    const draws = 20_000;
    const expected = probabilities(LOGITS, { ...PLAIN, ...options });
    counts(options, draws).forEach((count, token) => {
      // 5 standard deviations of a binomial count.
      const p = expected[token]!;
      expect(Math.abs(count - p * draws)).toBeLessThanOrEqual(5 * Math.sqrt(draws * p * (1 - p)));
    });
  });

  it("never draws what top_k and top_p leave out", () => {
    // Halves are far enough from each other that rounding makes no two of them equal.
    const halves = fc.array(fc.integer({ min: -40, max: 40 }), { minLength: 1, maxLength: 20 });
    const logits = halves.map((values) => Float32Array.from(values, (value) => value / 2));
    const options = fc.record({
      repetitionPenalty: fc.constant(1),
      temperature: fc.double({ min: 0.1, max: 10, noNaN: true }),
      topK: fc.nat({ max: 25 }),
      topP: fc.double({ min: 0, max: 0.99, noNaN: true }),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(logits, options, (values, wanted) => {
        const token = createSampler(wanted)(values, []);
        expect(probabilities(values, { ...wanted, topP: wanted.topP + 1e-9 })[token]).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });

  it("makes tokens that were there less likely, whatever the sign of their logits", () => {
    const choose = createSampler({ ...PLAIN, temperature: 0, repetitionPenalty: 2 });
    expect(choose(Float32Array.of(3, 2), [0])).toBe(1);
    expect(choose(Float32Array.of(-1, -1.5), [0, 7])).toBe(1);
    expect(choose(Float32Array.of(3, 2), [])).toBe(0);
  });

  it("does not change the logits", () => {
    const logits = LOGITS.slice();
    createSampler({ ...PLAIN, repetitionPenalty: 2, topK: 2 })(logits, [1, 2]);
    expect(logits).toEqual(LOGITS);
  });

  it("leaves out tokens whose logits are -Infinity", () => {
    const logits = Float32Array.of(Number.NEGATIVE_INFINITY, 0, Number.NEGATIVE_INFINITY);
    expect(counts({ temperature: 50 }, 50, logits)).toEqual([0, 50, 0]);
  });

  it.each([
    [Float32Array.of(0, Number.NaN), "logits: NaN for token 1"],
    [Float32Array.of(Number.NEGATIVE_INFINITY), "logits: the highest is -Infinity"],
    [Float32Array.of(0, Number.POSITIVE_INFINITY), "logits: the highest is Infinity"],
  ])("refuses %s", (logits, message) => {
    expect(() => createSampler(PLAIN)(logits, [])).toThrow(message);
  });
});

it("has the numbers of SplitMix64", () => {
  // The first outputs of the reference implementation (https://prng.di.unimi.it/splitmix64.c) for the state 1234567.
  const outputs = [6457827717110365317n, 3203168211198807973n, 9817491932198370423n];
  const random = splitMix64(1_234_567);
  expect(outputs.map(() => random())).toEqual(outputs.map((output) => Number(output >> 11n) / 2 ** 53));
});
