import { describe, expect, it } from "vitest";
import { lowerBoundOfMean, studentT95 } from "./confidence.ts";
import { judgeCandidates, type Trial } from "./judge.ts";

/** A small generator (Park and Miller), so that every run sees the same rows. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}
const normal = (next: () => number): number =>
  Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next());

const ROWS = 4_000;
const next = generator(7);
const truth = Array.from({ length: ROWS }, () => 0.05 + 0.9 * next() ** 2);
const labels = truth.map((p) => (next() < p ? 1 : 0));
const share = labels.reduce<number>((sum, label) => sum + label, 0) / ROWS;
const constant = truth.map(() => share);
/** Between the truth (0) and the base rate (1). */
const blurred = (blur: number): number[] => truth.map((p) => p * (1 - blur) + share * blur);

const trial = (change: Partial<Trial>): Trial => ({
  labels,
  champion: null,
  candidates: [{ name: "good", scores: truth, seconds: 1 }],
  baseRate: share,
  gates: { minGain: 0.001 },
  heldOut: { fromMs: 10, untilMs: 20 },
  ...change,
});
const gate = (verdict: ReturnType<typeof judgeCandidates>, name: string) =>
  verdict.gates.find((g) => g.gate === name);

describe("judgeCandidates", () => {
  it("passes a good candidate where nothing serves, on the base rate alone", () => {
    const verdict = judgeCandidates(trial({}));
    expect(verdict.passed).toBe(true);
    expect(verdict.champion).toBeNull();
    expect(verdict.gates.map((g) => g.gate)).toEqual(["beats-base-rate"]);
    expect(verdict.heldOut).toEqual({ fromMs: 10, untilMs: 20, rows: ROWS });
    expect(verdict.reason).toContain("good is better than the base rate");
  });

  it("ranks by log loss and judges the best", () => {
    const verdict = judgeCandidates(
      trial({
        candidates: [
          { name: "base", scores: constant, seconds: 1 },
          { name: "good", scores: truth, seconds: 9 },
          { name: "same", scores: truth, seconds: 2 },
          { name: "blurred", scores: blurred(0.5), seconds: 3 },
        ],
      }),
    );
    expect(verdict.candidates.map((c) => c.name)).toEqual(["good", "same", "blurred", "base"]);
    expect(verdict.candidates[0]).toMatchObject({ logLoss: verdict.candidate.logLoss, seconds: 9 });
  });

  it("refuses a candidate that is no better than the base rate", () => {
    const inverted = truth.map((p) => 1 - p);
    for (const scores of [constant, inverted]) {
      const verdict = judgeCandidates(trial({ candidates: [{ name: "bad", scores, seconds: 1 }] }));
      expect(verdict.passed).toBe(false);
      expect(verdict.reason).toContain("not better than the base rate");
    }
  });

  it("promotes over a clearly worse champion", () => {
    const verdict = judgeCandidates(trial({ champion: blurred(0.8) }));
    expect(verdict.passed).toBe(true);
    expect(gate(verdict, "gain-is-certain")?.value).toBeGreaterThan(0);
    expect(gate(verdict, "gain-is-certain")?.value).toBeLessThan(gate(verdict, "gain")?.value as number);
  });

  it("keeps a champion that is as good, better, or worse by less than minGain", () => {
    expect(judgeCandidates(trial({ champion: truth })).passed).toBe(false);
    const worse = judgeCandidates(
      trial({ champion: truth, candidates: [{ name: "w", scores: blurred(0.5), seconds: 1 }] }),
    );
    expect(worse.passed).toBe(false);
    const slight = judgeCandidates(trial({ champion: blurred(0.8), gates: { minGain: 0.5 } }));
    expect(gate(slight, "gain-is-certain")?.passed).toBe(true);
    expect(slight).toMatchObject({
      passed: false,
      reason: expect.stringContaining("not better than the champion by 0.5"),
    });
  });

  it("does not promote on luck: a gain that one stretch of time makes alone is not certain", () => {
    const champion = [...truth];
    for (let i = 1_000; i < 1_100; i++) champion[i] = 1 - labels[i]!;
    const verdict = judgeCandidates(trial({ champion }));
    expect(gate(verdict, "gain")?.passed).toBe(true);
    expect(verdict).toMatchObject({ passed: false, reason: expect.stringContaining("by chance") });
  });

  it("lets a model that answers NaN lose", () => {
    const broken = { name: "broken", scores: new Float32Array(ROWS).fill(Number.NaN), seconds: 1 };
    const verdict = judgeCandidates(
      trial({ candidates: [broken, { name: "good", scores: truth, seconds: 1 }] }),
    );
    expect(verdict.candidates.map((c) => c.name)).toEqual(["good", "broken"]);
    expect(JSON.parse(JSON.stringify(verdict))).toEqual(verdict);
  });

  it("refuses no candidates, no rows and other lengths", () => {
    expect(() => judgeCandidates(trial({ candidates: [] }))).toThrow("no candidates");
    expect(() => judgeCandidates(trial({ labels: [] }))).toThrow("no rows");
    expect(() => judgeCandidates(trial({ champion: [0.5] }))).toThrow("1 scores");
  });

  it("answers for very few rows", () => {
    const verdict = judgeCandidates(
      trial({ labels: [1], champion: [0.1], candidates: [{ name: "x", scores: [0.9], seconds: 0 }] }),
    );
    expect(gate(verdict, "gain-is-certain")).toMatchObject({ passed: false, value: 0 });
  });
});

describe("studentT95", () => {
  it.each([
    [5, 2.015048],
    [9, 1.833113],
    [19, 1.729133],
    [49, 1.676551],
    [1_000, 1.646379],
  ])("%i degrees of freedom", (degrees, table) => {
    expect(Math.abs(studentT95(degrees) - table)).toBeLessThan(0.001);
  });
});

describe("lowerBoundOfMean", () => {
  const falseAlarms = (rows: number, correlation: number): number => {
    const draw = generator(11);
    const trials = 1_000;
    let alarms = 0;
    for (let t = 0; t < trials; t++) {
      let state = normal(draw) / Math.sqrt(1 - correlation ** 2);
      const values = Float64Array.from({ length: rows }, () => {
        state = correlation * state + normal(draw);
        return state;
      });
      if (lowerBoundOfMean(values) > 0) alarms++;
    }
    return alarms / trials;
  };

  it("is above a true mean of 0 in about 5 % of cases", () => {
    expect(falseAlarms(2_000, 0)).toBeGreaterThan(0.03);
    expect(falseAlarms(2_000, 0)).toBeLessThan(0.07);
    expect(falseAlarms(60, 0)).toBeLessThan(0.08);
  });

  it("stays near 5 % where neighbours depend on each other, which single rows would not", () => {
    expect(falseAlarms(4_000, 0.9)).toBeLessThan(0.09);
  });

  it("proves nothing from no values or from one", () => {
    expect(lowerBoundOfMean([])).toBe(0);
    expect(lowerBoundOfMean([5])).toBe(0);
    expect(lowerBoundOfMean([-5])).toBe(-5);
    expect(lowerBoundOfMean(new Float64Array(500).fill(2))).toBe(2);
  });
});
