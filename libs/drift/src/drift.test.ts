import { describe, expect, it } from "vitest";
import { decileEdges, FeatureHistogram, HarmDetector, populationStabilityIndex } from "./index.ts";

/** Mulberry32. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const POLICY = { falseAlarmEvery: 100_000, tolerance: 0.05 };

describe("harm detector", () => {
  it("keeps its budget of false alarms on a calibrated champion whose base rate moves", () => {
    let alarms = 0;
    for (let seed = 1; seed <= 5; seed++) {
      const next = random(seed);
      let detector = new HarmDetector(POLICY, [0.5, 0.5]);
      for (let i = 0; i < 40_000; i++) {
        const score = 0.1 + 0.4 * (0.5 + 0.5 * Math.sin(i / 5_000)) * next();
        if (detector.add(i, score, next() < score ? 1 : 0, [next(), next()])) {
          alarms++;
          detector = new HarmDetector(POLICY, [0.5, 0.5]);
        }
      }
    }
    expect(alarms).toBeLessThanOrEqual(2);
  });

  it("finds a change that leaves the overall mean alone, names the slice and when it began", () => {
    const next = random(7);
    const detector = new HarmDetector(POLICY, [Number.NaN, 0.5]);
    let alarmAt = -1;
    for (let i = 0; i < 20_000 && alarmAt < 0; i++) {
      const x = next();
      const truth = i < 10_000 ? 0.4 : x > 0.5 ? 0.7 : 0.1;
      if (detector.add(i, 0.4, next() < truth ? 1 : 0, [next(), x])) alarmAt = i;
    }
    expect(alarmAt).toBeGreaterThanOrEqual(10_000);
    expect(alarmAt).toBeLessThan(10_600);
    const { slice, since } = detector.leader();
    expect(slice.feature).toBe(1);
    expect(Math.abs(since - 10_000)).toBeLessThan(600);
  });

  it("goes on from a snapshot", () => {
    const next = random(3);
    const detector = new HarmDetector(POLICY, [0.5]);
    for (let i = 0; i < 500; i++) detector.add(i, 0.3, next() < 0.5 ? 1 : 0, [next()]);
    const restored = new HarmDetector(POLICY, [0.5], structuredClone(detector.snapshot()));
    for (let i = 0; i < 50; i++) {
      const label = next() < 0.5 ? 1 : 0;
      const x = next();
      expect(restored.add(i, 0.3, label, [x])).toBe(detector.add(i, 0.3, label, [x]));
    }
    expect(restored.statistic).toBe(detector.statistic);
    expect(restored.leader()).toEqual(detector.leader());
  });
});

describe("input shift", () => {
  const fill = (edges: readonly number[], values: readonly (number | null)[]): number[] => {
    const histogram = new FeatureHistogram(edges);
    for (const value of values) histogram.add(value);
    return histogram.shares();
  };

  it("is near zero for the same distribution, large for a moved one, and sees missing values", () => {
    const next = random(1);
    const reference = Array.from({ length: 5_000 }, next);
    const edges = decileEdges(reference);
    const same = Array.from({ length: 5_000 }, next);
    const moved = same.map((value) => value * 0.5);
    const missing = same.map((value, i) => (i % 3 === 0 ? null : value));
    const before = fill(edges, reference);
    expect(populationStabilityIndex(before, fill(edges, same))).toBeLessThan(0.02);
    expect(populationStabilityIndex(before, fill(edges, moved))).toBeGreaterThan(0.25);
    expect(populationStabilityIndex(before, fill(edges, missing))).toBeGreaterThan(0.25);
  });

  it("copes with few distinct values and with none", () => {
    expect(decileEdges([1, 1, 1, 1])).toEqual([1]);
    expect(decileEdges([null])).toEqual([0]);
    expect(fill([0], [null, null]).at(-1)).toBe(1);
  });
});
