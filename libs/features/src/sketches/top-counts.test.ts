import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TOP_CATEGORIES_MAX, TopCounts } from "./top-counts.ts";

function countsOf(top: TopCounts, codes: readonly number[]): number {
  const given = Float64Array.from(codes);
  return codes.reduce((at, _, i) => top.update(at, given, i), 0);
}

function best(top: TopCounts, k: number, ...parts: readonly number[]): number[] {
  top.begin();
  for (const part of parts) top.combine(part);
  const answer = new Float64Array(k + 1).fill(-1);
  top.answer(k, answer, 0);
  expect(answer[k]).toBe(-1);
  return Array.from(answer.subarray(0, k)).filter((code) => !Number.isNaN(code));
}

function exact(codes: readonly number[], k: number): number[] {
  const counts = [...Map.groupBy(codes, (code) => code)].map(([code, all]) => [code, all.length] as const);
  return counts
    .sort(([code, count], [other, more]) => more - count || code - other)
    .slice(0, k)
    .map(([code]) => code);
}

const codes = fc.array(fc.oneof(fc.nat(12), fc.nat(2 ** 24 - 1)), { maxLength: 150 });

describe("TopCounts", () => {
  it("has the most frequent categories exactly, of equal counts the smaller code first", () => {
    fc.assert(
      fc.property(codes, fc.integer({ min: 1, max: 100 }), (list, k) => {
        const top = new TopCounts(null);
        expect(best(top, k, countsOf(top, list))).toEqual(exact(list, k));
      }),
    );
  });

  it("has of lists that are combined those of all events together, the asking one too", () => {
    fc.assert(
      fc.property(fc.array(codes, { maxLength: 6 }), fc.nat(12), (lists, own) => {
        const top = new TopCounts(null);
        const parts = lists.map((list) => countsOf(top, list));
        expect(best(top, 5, ...parts)).toEqual(exact(lists.flat(), 5));
        expect(best(top, 5, ...parts.toReversed())).toEqual(exact(lists.flat(), 5));
        top.begin();
        top.include(Float64Array.of(own), 0);
        for (const part of parts) top.combine(part);
        const answer = new Float64Array(5);
        top.answer(5, answer, 0);
        expect([...answer].filter((code) => !Number.isNaN(code))).toEqual(exact([own, ...lists.flat()], 5));
      }),
    );
  });

  it(`counts no more than ${TOP_CATEGORIES_MAX} categories in a pane: the first ones, exactly`, () => {
    const top = new TopCounts(null);
    const first = Array.from({ length: TOP_CATEGORIES_MAX }, (_, i) => 3 * i);
    const further = Array.from({ length: 5_000 }, (_, i) => 3 * i + 1);
    const list = [...first, ...further, ...further, 30, 30, 60];
    const part = countsOf(top, list);
    expect(best(top, 3, part)).toEqual([30, 60, 0]);
    // Another pane counts for itself.
    expect(best(top, 2, part, countsOf(top, [1, 1, 1, 1]))).toEqual([1, 30]);
  });

  it("goes on from a snapshot, and uses the room of lists that are given back", () => {
    let top = new TopCounts(null);
    const list = Array.from({ length: 2_000 }, (_, i) => (i * i) % 997);
    const part = countsOf(top, list);
    top = new TopCounts(structuredClone(top.snapshot()));
    expect(best(top, 10, part)).toEqual(exact(list, 10));
    for (let i = 0; i < 5; i++) top.free(countsOf(top, list));
    const { byteLength } = top;
    for (let i = 0; i < 20; i++) top.free(countsOf(top, list));
    expect(top.byteLength).toBe(byteLength);
    top.free(0);
    expect(best(top, 10, part)).toEqual(exact(list, 10));
  });
});
