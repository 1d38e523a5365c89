import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { qualityOf, SCORE_MARGIN } from "./quality.ts";

/** Scores from a small set, so that ties are common. */
const row = fc.record({
  score: fc.constantFrom(0, 0.1, 0.25, 0.5, 0.75, 0.9, 1),
  label: fc.constantFrom(0, 1),
});
const rows = fc.array(row, { minLength: 1, maxLength: 60 });
type Row = { score: number; label: number };
const quality = (data: readonly Row[]) =>
  qualityOf(
    data.map((r) => r.score),
    data.map((r) => r.label),
  );

function naiveAuc(data: readonly Row[]): number {
  const wins = data.flatMap((a) =>
    data
      .filter((b) => a.label === 1 && b.label === 0)
      .map((b) => (a.score > b.score ? 1 : a.score === b.score ? 0.5 : 0)),
  );
  return wins.length === 0 ? 0.5 : wins.reduce<number>((sum, w) => sum + w, 0) / wins.length;
}

function naiveAveragePrecision(data: readonly Row[]): number {
  const positives = data.filter((r) => r.label === 1).length;
  let before = 0;
  let sum = 0;
  for (const threshold of [...new Set(data.map((r) => r.score))].sort((a, b) => b - a)) {
    const taken = data.filter((r) => r.score >= threshold);
    const hits = taken.filter((r) => r.label === 1).length;
    sum += ((hits - before) / Math.max(1, positives)) * (hits / taken.length);
    before = hits;
  }
  return sum;
}

describe("qualityOf", () => {
  it("equals naive definitions, ties included", () => {
    fc.assert(
      fc.property(rows, (data) => {
        const q = quality(data);
        expect(q.rows).toBe(data.length);
        expect(q.positives).toBe(data.filter((r) => r.label === 1).length);
        expect(q.auc).toBeCloseTo(naiveAuc(data), 10);
        expect(q.averagePrecision).toBeCloseTo(naiveAveragePrecision(data), 10);
        expect(q.brier).toBeCloseTo(data.reduce((s, r) => s + (r.label - r.score) ** 2, 0) / data.length, 10);
        const clip = (p: number): number => Math.min(1 - SCORE_MARGIN, Math.max(SCORE_MARGIN, p));
        const loss = data.reduce((s, r) => s - Math.log(clip(r.label === 1 ? r.score : 1 - r.score)), 0);
        expect(q.logLoss).toBeCloseTo(loss / data.length, 10);
      }),
    );
  });

  it("does not depend on the order of the rows", () => {
    fc.assert(
      fc.property(rows, (data) => {
        const [a, b] = [quality(data), quality(data.toReversed())];
        for (const key of ["logLoss", "brier", "auc", "averagePrecision"] as const)
          expect(a[key]).toBeCloseTo(b[key], 10);
      }),
    );
  });

  it("ranking does not depend on the scale of the scores", () => {
    fc.assert(
      fc.property(rows, (data) => {
        const [a, b] = [quality(data), quality(data.map((r) => ({ ...r, score: r.score ** 3 / 2 })))];
        expect([a.auc, a.averagePrecision]).toEqual([b.auc, b.averagePrecision]);
      }),
    );
  });

  it("no constant has a lower log loss than the share of positives", () => {
    fc.assert(
      fc.property(rows, fc.double({ min: 0, max: 1, noNaN: true }), (data, constant) => {
        const share = data.filter((r) => r.label === 1).length / data.length;
        const loss = (score: number): number => quality(data.map((r) => ({ ...r, score }))).logLoss;
        expect(loss(share)).toBeLessThanOrEqual(loss(constant) + 1e-6);
      }),
    );
  });

  it("knows the textbook example", () => {
    const q = qualityOf([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]);
    expect(q.auc).toBeCloseTo(0.75, 10);
    expect(q.averagePrecision).toBeCloseTo(0.8333333333, 9);
  });

  it("counts what is not a probability as certain and wrong", () => {
    const worst = qualityOf([0, 1], [1, 0]);
    for (const bad of [Number.NaN, Infinity, -0.1, 1.1]) expect(qualityOf([bad, bad], [1, 0])).toEqual(worst);
    expect(worst.logLoss).toBeCloseTo(-Math.log(SCORE_MARGIN), 10);
  });

  it("answers without one of the classes", () => {
    expect(qualityOf([0.2, 0.4], [0, 0])).toMatchObject({ auc: 0.5, averagePrecision: 0 });
    expect(qualityOf([0.2, 0.4], [1, 1])).toMatchObject({ auc: 0.5, averagePrecision: 1 });
  });

  it("refuses no rows, different lengths and other labels", () => {
    expect(() => qualityOf([], [])).toThrow("no rows");
    expect(() => qualityOf([0.5], [1, 0])).toThrow("1 scores for 2 labels");
    expect(() => qualityOf([0.5, 0.5], [1, 2])).toThrow("label 2 of row 1");
  });
});
