import type { EventRow } from "@millrace/events";
import { checkLine, defineLine, formatIssues, type LineDefinition } from "@millrace/lines";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileFeatures, FeatureEngine, type FeatureSnapshot } from "./index.ts";
import { events, everything, INEXACT, meanings } from "./testing/everything.ts";
import { isWithinReach, naiveDifferences } from "./testing/naive-differences.ts";
import { type NaiveEvent, naiveVector } from "./testing/naive-vector.ts";
import { codedRow, rowsOf } from "./testing/rows.ts";

const plan = compileFeatures(everything);

/** The vector of each event predicted on, as the stream computes it. */
function vectorsOf(
  list: readonly NaiveEvent[],
  options: {
    readonly restartAt?: number;
    readonly before?: (engine: FeatureEngine, row: EventRow, i: number) => void;
    readonly separately?: boolean;
    readonly coded?: boolean;
  } = {},
): (readonly number[] | null)[] {
  let engine = new FeatureEngine(plan, null);
  const rowOf = rowsOf(everything);
  const out = new Float64Array(plan.names.length);
  return list.map((event, i) => {
    if (options.restartAt === i) engine = new FeatureEngine(plan, structuredClone(engine.snapshot()));
    const plain = rowOf(event);
    options.before?.(engine, plain, i);
    const row = options.coded ? codedRow(everything, engine, plain) : plain;
    if (event.stream !== "asked") {
      engine.update(row);
      return null;
    }
    if (options.separately) {
      engine.read(row, out);
      engine.update(row);
    } else engine.readAndUpdate(row, out);
    return [...out];
  });
}

describe("feature engine", () => {
  it("is tested with a line that checks", () => {
    const checked = checkLine(everything);
    expect(checked.ok ? "" : formatIssues(checked.issues)).toBe("");
  });

  it("equals the definition written down naively, whatever is late, missing or has a wrong clock (F1, F3)", () => {
    fc.assert(
      fc.property(events, (list) => {
        vectorsOf(list).forEach((vector, i) => {
          if (vector === null || !isWithinReach(everything, list, i)) return;
          const expected = naiveVector(everything, list.slice(0, i), list[i] as NaiveEvent, meanings);
          expect(naiveDifferences(everything, vector, expected)).toEqual([]);
        });
      }),
      { numRuns: 150 },
    );
  });

  it("gives the same in one go as in two, and with texts as codes (F2)", () => {
    fc.assert(
      fc.property(events, (list) => {
        const vectors = vectorsOf(list);
        expect(vectorsOf(list, { separately: true })).toEqual(vectors);
        expect(vectorsOf(list, { coded: true })).toEqual(vectors);
        expect(vectorsOf(list, { coded: true, separately: true })).toEqual(vectors);
      }),
      { numRuns: 50 },
    );
  });

  it("goes on from a snapshot as if nothing had happened (F2)", () => {
    fc.assert(
      fc.property(events, fc.nat(), (list, cut) => {
        expect(vectorsOf(list, { restartAt: cut % list.length })).toEqual(vectorsOf(list));
      }),
      { numRuns: 100 },
    );
  });

  it("changes nothing when it is asked (F2)", () => {
    fc.assert(
      fc.property(events, fc.integer({ min: -100_000, max: 100_000 }), (list, shift) => {
        const out = new Float64Array(plan.names.length);
        const times = new Float64Array(plan.tables.length);
        const before = (engine: FeatureEngine, row: EventRow): void => {
          if (row.stream !== "asked") return;
          const { time } = row;
          row.time += shift;
          engine.read(row, out);
          engine.readByKey(row, out);
          engine.newestTimes(row, times);
          row.time = time;
        };
        expect(vectorsOf(list, { before })).toEqual(vectorsOf(list));
      }),
      { numRuns: 50 },
    );
  });

  it("looks neither into later panes nor at what is accepted later (F1)", () => {
    fc.assert(
      fc.property(events, fc.nat(), (list, cut) => {
        const i = cut % list.length;
        const event = list[i] as NaiveEvent;
        if (event.stream !== "asked" || !isWithinReach(everything, list, i)) return;
        // Panes of 5 s are the longest: what lies in a later one cannot matter.
        const paneEnd = (Math.floor(event.time / 5_000) + 1) * 5_000;
        const past = list.slice(0, i).filter(({ time }) => time < paneEnd);
        const without = vectorsOf([...past, event]).at(-1) as readonly number[];
        const vector = vectorsOf(list)[i] as readonly number[];
        // What both estimate they estimate alike.
        const expected = Object.fromEntries(plan.names.map((name, j) => [name, without[j] as number]));
        expect(naiveDifferences(everything, vector, expected)).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it("counts late events as if they had come in time: order changes no exact value (F3)", () => {
    fc.assert(
      fc.property(events, (list) => {
        const last: NaiveEvent = {
          stream: "asked",
          time: Math.max(...list.map(({ time }) => time)),
          data: { id: "z", at: 0, a: "x", b: 1, amount: 1, size: 1, flag: true, shop: "s1", colour: "red" },
        };
        const sorted = [...list].sort((a, b) => a.time - b.time);
        const found = vectorsOf([...list, last]).at(-1) as readonly number[];
        const inOrder = vectorsOf([...sorted, last]).at(-1) as readonly number[];
        plan.names.forEach((name, j) => {
          // Of equal times the one that was accepted last, or first, is the last, or first.
          if (INEXACT.has(name) || name.startsWith("last") || name.startsWith("first")) return;
          expect([name, found[j]]).toEqual([name, inOrder[j]]);
        });
      }),
      { numRuns: 100 },
    );
  });

  it("answers by key alone, without counting the question, and knows how fresh that is", () => {
    const rowOf = rowsOf(everything);
    const engine = new FeatureEngine(plan, null);
    const at = Date.UTC(2026, 0, 1);
    const data = { id: "1", at, a: "x", b: 1, amount: 5, size: null, flag: null, shop: null, colour: "red" };
    engine.update(rowOf({ stream: "asked", time: at, data }));
    engine.update(rowOf({ stream: "asked", time: at + 500, data }));
    const out = new Float64Array(plan.names.length);
    engine.readByKey(rowOf({ stream: "asked", time: at + 2_000, data: { a: "x" } }), out);
    const value = (name: string): number | undefined => out[plan.names.indexOf(name)];
    expect(value("count_5s")).toBe(2);
    expect(value("sum_20s")).toBe(10);
    expect(value("amount")).toBeNaN();
    // The shop is not known, so what is by shop is not either.
    expect(value("last_colour")).toBeNaN();
    expect(value("told_sum")).toBeNaN();
    expect(value("share_20s")).toBeNaN();
    const times = new Float64Array(plan.tables.length);
    engine.newestTimes(rowOf({ stream: "asked", time: at, data: { a: "x" } }), times);
    expect(times).toContain(at + 500);
    engine.readByKey(rowOf({ stream: "asked", time: at, data: { a: "nobody" } }), out);
    expect(value("count_5s")).toBe(0);
    expect(value("mean_60s")).toBeNaN();
  });

  it("does not know what another stream has left behind, so that nothing hangs on when it is forgotten", () => {
    const rowOf = rowsOf(everything);
    const engine = new FeatureEngine(plan, null);
    const at = Date.UTC(2026, 0, 1);
    const told = { id: "1", a: "x", shop: "s1", value: 7 };
    for (let i = 0; i < 8; i++) engine.update(rowOf({ stream: "told", time: at, data: { ...told, at } }));
    const ask = (beforeMs: number): ((name: string) => number | undefined) => {
      const out = new Float64Array(plan.names.length);
      engine.readByKey(rowOf({ stream: "asked", time: at - beforeMs, data: { a: "x", shop: "s1" } }), out);
      return (name) => out[plan.names.indexOf(name)];
    };
    // Asked events may be 40 s late, told ones 30 s.
    expect(ask(70_000)("told_sum")).toBe(0);
    expect(ask(71_000)("told_max")).toBeNaN();
    expect(ask(76_000)("told_sum")).toBeNaN();
    expect(ask(76_000)("count_20s")).toBe(0);
  });

  it("counts events that come too late to count, and forgets what no window reaches (F4)", () => {
    const rowOf = rowsOf(everything);
    const engine = new FeatureEngine(plan, null);
    const data = { id: "1", at: 0, b: 1, amount: 5, size: 2, flag: true, colour: "red" };
    const start = Date.UTC(2026, 0, 1);
    let [bytes, keys] = [0, 0];
    for (let i = 0; i < 40_000; i++) {
      const row = rowOf({
        stream: "asked",
        time: start + i * 1_000,
        data: { ...data, a: `key-${i}`, shop: `shop-${i}` },
      });
      engine.update(row);
      if (i === 4_000) ({ bytes, keys } = engine.sizes);
    }
    // Rates reach back 64 half-lives, 16 minutes; all else some 100 s.
    expect(keys).toBeLessThan(3_000);
    expect(engine.sizes.keys).toBeLessThan(keys * 1.2);
    expect(engine.sizes.pairs).toBeLessThan(2_000);
    expect(engine.sizes.texts).toBeLessThan(4_000);
    expect(engine.sizes.bytes).toBeLessThan(bytes * 1.2);
    expect(engine.forgotten).toBe(0);
    engine.update(rowOf({ stream: "asked", time: start, data: { ...data, a: "late", shop: "late" } }));
    expect(engine.forgotten).toBe(1);
    expect(engine.events).toBe(40_001);
    expect(engine.streamTimeMs("asked")).toBe(start + 39_992_000);
  });

  it("refuses a snapshot of other features, and rows of unknown streams", () => {
    const snapshot: FeatureSnapshot = new FeatureEngine(plan, null).snapshot();
    const other: LineDefinition = defineLine({
      name: "other",
      title: "Other",
      streams: {
        s: {
          topic: "s",
          id: "id",
          time: "at",
          key: ["id"],
          fields: { id: { type: "text" }, at: { type: "time" } },
        },
      },
      predict: { on: "s" },
      features: { n: { kind: "window", aggregate: "count", from: "s", by: ["id"], window: "1h" } },
    });
    expect(() => new FeatureEngine(compileFeatures(other), snapshot)).toThrow(/begin without it/);
    const row = rowsOf(other)({ stream: "s", time: 0, data: { id: "1", at: 0 } });
    expect(() => new FeatureEngine(plan, null).update(row)).toThrow('no stream "s"');
  });
});
