import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DistinctPairs, NO_PANE } from "./distinct-pairs.ts";
import { TextTable } from "./memory/text-table.ts";

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ key: fc.integer({ min: 1, max: 3 }), value: fc.nat(3), late: fc.nat(6) }),
  },
  { weight: 3, arbitrary: fc.record({ forward: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.constant("sweep" as const) },
  { weight: 1, arbitrary: fc.constant("restart" as const) },
);

/** Panes from which the newest one is asked for: as far back as an event can be late, and further than a window. */
const LATE = 6;
const WINDOW = 5;

describe("DistinctPairs", () => {
  it("knows in which panes a key met a value, as far back as events and questions can be", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const texts = new TextTable(null);
        const codes = [10, 11, 12, 13].map((number) => texts.internNumber(number));
        let pairs = new DistinctPairs(null);
        const model = new Map<string, Set<number>>();
        let newest = 0;
        const panesOf = (key: number, value: number): number[] =>
          [...(model.get(`${key} ${value}`) ?? [])].sort((a, b) => a - b);
        for (const one of steps) {
          const settled = newest - LATE;
          if (one === "restart") pairs = new DistinctPairs(structuredClone(pairs.snapshot()));
          else if (one === "sweep") {
            const dead = settled - WINDOW;
            for (let place = 0; place < pairs.places; ) {
              if (!pairs.sweep(place, dead, settled, texts)) place++;
            }
            for (const [pair, panes] of model) if (Math.max(...panes) <= dead) model.delete(pair);
          } else if ("forward" in one) newest += one.forward;
          else {
            const { key, value } = one;
            const pane = newest - one.late;
            const code = codes[value] as number;
            const known = panesOf(key, value);
            const isNew = !known.includes(pane);
            expect(pairs.add(key, code, pane, settled)).toBe(isNew);
            if (isNew) {
              expect(pairs.before).toBe(known.findLast((other) => other < pane) ?? NO_PANE);
              expect(pairs.after).toBe(known.find((other) => other > pane) ?? NO_PANE);
              // Each pair holds on to its value's text.
              if (known.length === 0) texts.retain(code);
            }
            model.set(`${key} ${value}`, new Set([...known, pane]));
          }
          for (let key = 1; key <= 3; key++) {
            for (let value = 0; value <= 3; value++) {
              for (let pane = newest - LATE; pane <= newest; pane++) {
                const wanted = panesOf(key, value).findLast((other) => other <= pane) ?? NO_PANE;
                expect(pairs.newestUpTo(key, codes[value] as number, pane)).toBe(wanted);
              }
            }
          }
        }
        expect(pairs.size).toBe(model.size);
      }),
      { numRuns: 60 },
    );
  });

  it("forgets pairs and gives their texts and nodes back", () => {
    const texts = new TextTable(null);
    const pairs = new DistinctPairs(null);
    const round = (from: number): void => {
      for (let i = 0; i < 3_000; i++) {
        const code = texts.internNumber(from + i);
        for (const late of [0, 2, 1]) pairs.add(i + 1, code, from + 5 - late, from - 100);
      }
      for (let place = 0; place < pairs.places; ) {
        if (!pairs.sweep(place, from + 5, from + 5, texts)) place++;
      }
      expect([pairs.size, texts.size]).toEqual([0, 0]);
    };
    round(0);
    const { byteLength } = pairs;
    for (let i = 1; i < 10; i++) round(i * 10_000);
    expect(pairs.byteLength).toBe(byteLength);
  });
});
