import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Decay, HALF_LIVES } from "./decay.ts";
import type { PaneRange } from "./pane-algebra.ts";

interface Taken {
  readonly pane: number;
  readonly value: number;
}

const naive = (list: readonly Taken[], pane: number, share: number): number =>
  list.reduce((sum, one) => sum + one.value * 2 ** (-(pane - one.pane) * share), 0);

function sumOf(decay: Decay, list: readonly Taken[]): Float64Array {
  const sums = new Float64Array(3);
  for (const { pane, value } of list) decay.add(sums, 1, pane, Float64Array.of(value), 0);
  return sums;
}

const taken = fc.record({
  pane: fc.integer({ min: -50, max: 200 }),
  value: fc.integer({ min: 1, max: 100 }),
});
const log = fc.array(taken, { minLength: 1, maxLength: 50 });
const SHARE = 1 / 12;
const decay = new Decay(5_000, 60_000);

describe("Decay", () => {
  it("weighs each value half after a half-life, in whatever order they come", () => {
    fc.assert(
      fc.property(log, fc.nat(100), (list, later) => {
        const pane = Math.max(...list.map((one) => one.pane)) + later;
        const expected = naive(list, pane, SHARE);
        const found = decay.asOf(sumOf(decay, list), 1, pane);
        expect(Math.abs(found - expected)).toBeLessThanOrEqual(expected * 1e-12);
      }),
    );
  });

  it("is the same when later panes are added to what was dropped", () => {
    fc.assert(
      fc.property(log, fc.integer({ min: -60, max: 210 }), fc.nat(50), (list, cut, later) => {
        const dropped = list.filter(({ pane }) => pane < cut);
        const panes = Map.groupBy(
          list.filter(({ pane }) => pane >= cut).toSorted((a, b) => a.pane - b.pane),
          ({ pane }) => pane,
        );
        const floats = new Float64Array(2 * panes.size);
        const range: PaneRange = {
          floats,
          ints: new Int32Array(floats.buffer),
          oldest: 0,
          newest: 2 * (panes.size - 1),
          stride: 2,
        };
        [...panes].forEach(([pane, all], i) => {
          range.ints[4 * i] = pane;
          floats[2 * i + 1] = all.reduce((sum, { value }) => sum + value, 0);
        });
        const pane = Math.max(...list.map((one) => one.pane)) + later;
        const found = decay.withPanes(sumOf(decay, dropped), 1, range, 1, pane);
        const expected = naive(list, pane, SHARE);
        expect(Math.abs(found - expected)).toBeLessThanOrEqual(expected * 1e-12);
      }),
    );
  });

  it("gives one event a second as one a second", () => {
    const steady = Array.from({ length: 12 * 40 * 5 }, (_, i) => ({ pane: Math.floor(i / 5), value: 1 }));
    const last = Math.floor((steady.length - 1) / 5);
    expect(decay.asOf(sumOf(decay, steady), 1, last) * decay.perSecond).toBeCloseTo(1, 9);
  });

  it(`has nothing left after ${HALF_LIVES} half-lives, and of what never was`, () => {
    const sums = sumOf(decay, [{ pane: 3, value: 1e6 }]);
    expect(decay.panes).toBe(64 * 12 + 1);
    expect(decay.isLeft(sums, 1, 3 + 64 * 12)).toBe(true);
    expect(decay.asOf(sums, 1, 3 + 64 * 12)).toBeCloseTo(1e6 * 2 ** -64, 20);
    expect(decay.isLeft(sums, 1, 4 + 64 * 12)).toBe(false);
    expect(decay.asOf(sums, 1, 4 + 64 * 12)).toBe(0);
    expect(decay.isLeft(new Float64Array(3), 1, 0)).toBe(false);
  });
});
