import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clampPane, isPane, paneOf, paneStartMs } from "./pane-number.ts";

const paneMs = fc.constantFrom(1_000, 5_000, 60_000, 7 * 86_400_000);
const time = fc.integer({ min: -8.64e15, max: 8.64e15 });

describe("panes", () => {
  it("are whole spans of event time, counted from 1970", () => {
    fc.assert(
      fc.property(time, paneMs, (timeMs, ms) => {
        const startMs = paneStartMs(paneOf(timeMs, ms), ms);
        expect(startMs).toBeLessThanOrEqual(timeMs);
        expect(startMs + ms).toBeGreaterThan(timeMs);
        expect(Math.abs(startMs % ms)).toBe(0);
      }),
    );
  });

  it("have numbers as far as 34 years away where they last a second, and further the longer they are", () => {
    const numbered = (year: number, ms: number): boolean => isPane(paneOf(Date.UTC(year, 0, 1), ms));
    expect([1991, 1993, 2059, 2061].map((year) => numbered(year, 1_000))).toEqual([false, true, true, false]);
    expect([1970, 1800, 2190].map((year) => numbered(year, 5_000))).toEqual([true, false, true]);
    expect([-200_000, 200_000].map((year) => numbered(year, 86_400_000))).toEqual([true, true]);
  });

  it("beyond that are clamped, which keeps their order", () => {
    expect(clampPane(paneOf(Date.UTC(1900, 0, 1), 1_000))).toBe(-(2 ** 30));
    expect(clampPane(paneOf(Date.UTC(2200, 0, 1), 1_000))).toBe(2 ** 30);
    expect(clampPane(-5)).toBe(-5);
    expect([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY].map(clampPane)).toEqual([
      -(2 ** 30),
      2 ** 30,
    ]);
  });
});
