import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linesToPark } from "./residency.ts";

const line = (bytes: number, idleMs: number) => ({ bytes, idleMs });

describe("which lines give up their memory", () => {
  it("is none while all fit, else the longest unused", () => {
    expect(linesToPark([line(50, 60_000), line(50, 10_000)], 100)).toEqual([]);
    expect(linesToPark([line(50, 10_000), line(50, 60_000), line(50, 20_000)], 100)).toEqual([1]);
    expect(linesToPark([line(50, 10_000), line(50, 60_000), line(50, 20_000)], 50)).toEqual([1, 2]);
  });

  it("is none that was used just now, even where too much memory is held", () => {
    expect(linesToPark([line(500, 100), line(500, 4_999)], 100)).toEqual([]);
  });

  it("is as few as it takes", () => {
    const lines = fc.array(fc.record({ bytes: fc.nat(100), idleMs: fc.nat(20_000) }), { maxLength: 20 });
    fc.assert(
      fc.property(lines, fc.nat(500), (all, bytesMax) => {
        const parked = linesToPark(all, bytesMax);
        const held = (except: readonly number[]): number =>
          all.reduce((sum, { bytes }, i) => (except.includes(i) ? sum : sum + bytes), 0);
        expect(new Set(parked).size).toBe(parked.length);
        if (parked.length > 0) expect(held(parked.slice(0, -1))).toBeGreaterThan(bytesMax);
        const idle = all.filter(({ bytes, idleMs }) => bytes > 0 && idleMs >= 5_000);
        if (held(parked) > bytesMax) expect(parked).toHaveLength(idle.length);
      }),
    );
  });
});
