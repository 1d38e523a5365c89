import { defineLine, type LineDefinition } from "@millrace/lines";
import { describe, expect, it } from "vitest";
import { compileFeatures, FeatureEngine } from "./index.ts";
import { everything } from "./testing/everything.ts";
import { rowsOf } from "./testing/rows.ts";

const START_MS = Date.UTC(2026, 0, 1);
const HOUR_MS = 3_600_000;

/** Numbers in [0, 1), the same ones for the same seed (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Each kind of feature over windows of an hour at most, so that hours let everything expire. */
const line: LineDefinition = defineLine({
  name: "shop",
  title: "Shop",
  streams: {
    payments: {
      topic: "payments",
      id: "id",
      time: "at",
      key: ["account"],
      lateMax: "5m",
      fields: {
        id: { type: "text" },
        at: { type: "time" },
        account: { type: "text" },
        merchant: { type: "text" },
        kind: { type: "category" },
        amount: { type: "decimal", scale: 2 },
      },
    },
  },
  predict: { on: "payments" },
  features: Object.fromEntries([
    ...["10m", "1h"].flatMap((window) =>
      [
        { aggregate: "count" },
        { aggregate: "mean", of: "amount" },
        { aggregate: "stddev", of: "amount" },
        { aggregate: "max", of: "amount" },
        { aggregate: "last", of: "amount" },
        { aggregate: "distinct", of: "merchant" },
        { aggregate: "distinct-approx", of: "merchant" },
        { aggregate: "quantile", of: "amount", q: 0.9 },
        { aggregate: "top", of: "kind", k: 3 },
      ].map((one, i) => [
        `f${i}_${window}`,
        { kind: "window", from: "payments", by: ["account"], window, pane: "1m", ...one } as const,
      ]),
    ),
    ["rate", { kind: "rate", from: "payments", by: ["account"], halfLife: "1m" }],
    ["merchant", { kind: "window", aggregate: "count", from: "payments", by: ["merchant"], window: "1h" }],
  ]) as never,
});

interface Life {
  readonly peakBytes: number;
  readonly keys: number;
  readonly pairs: number;
  readonly texts: number;
}

/**
 * Hours of events, two a second: accounts come, stay for a quarter of an hour, and never come again; some of them have
 * very many events; some events are late.
 */
function live(engine: FeatureEngine, hours: number, draw: () => number, fromHour: number): Life {
  const rowOf = rowsOf(line);
  const out = new Float64Array(engine.plan.names.length);
  let peakBytes = 0;
  for (let i = 0; i < hours * 7_200; i++) {
    const now = START_MS + fromHour * HOUR_MS + i * 500;
    const at = now - (draw() < 0.05 ? Math.floor(draw() * 250_000) : 0);
    const generation = Math.floor(at / 900_000);
    const account = `account-${generation}-${Math.floor(300 * draw() ** 3)}`;
    const data = {
      id: "",
      at,
      account,
      merchant: `merchant-${generation}-${Math.floor(400 * draw())}`,
      kind: `kind-${Math.floor(20 * draw())}`,
      amount: Math.floor(draw() * 1e6) / 100,
    };
    engine.readAndUpdate(rowOf({ stream: "payments", time: at, data }), out);
    if (i % 100 === 0) peakBytes = Math.max(peakBytes, engine.sizes.bytes);
  }
  const { keys, pairs, texts } = engine.sizes;
  return { peakBytes, keys, pairs, texts };
}

describe("a state over hours of keys that come and go (F4)", () => {
  it("does not grow once its windows have begun to forget", () => {
    const engine = new FeatureEngine(compileFeatures(line), null);
    const draw = random(7);
    live(engine, 3, draw, 0);
    const before = live(engine, 2, draw, 3);
    const after = live(engine, 4, draw, 5);
    expect(after.peakBytes).toBeLessThanOrEqual(before.peakBytes * 1.02);
    for (const [one, other] of [
      [after.keys, before.keys],
      [after.pairs, before.pairs],
      [after.texts, before.texts],
    ] as const) {
      expect(one).toBeLessThan(other * 1.2);
    }
    // At most an hour and a quarter of four generations an hour, each of 300 accounts and 400 merchants.
    expect(after.keys).toBeLessThan(7 * 700);
    expect(engine.forgotten).toBe(0);
  });

  it("is the same over restarts in between (F2)", () => {
    const one = new FeatureEngine(compileFeatures(line), null);
    let other = new FeatureEngine(compileFeatures(line), null);
    const [draw, again] = [random(3), random(3)];
    for (let hour = 0; hour < 3; hour++) {
      live(one, 1, draw, hour);
      live(other, 1, again, hour);
      other = new FeatureEngine(other.plan, structuredClone(other.snapshot()));
    }
    const { bytes: _, ...sizes } = one.sizes;
    expect(other.sizes).toMatchObject(sizes);
    const time = START_MS + 3 * HOUR_MS - 1;
    const account = `account-${Math.floor(time / 900_000)}-0`;
    const data = { id: "", at: time, account, merchant: "m", kind: "kind-1", amount: 1 };
    const row = rowsOf(line)({ stream: "payments", time, data });
    const [vector, expected] = [one, other].map((engine) => {
      const out = new Float64Array(engine.plan.names.length);
      engine.read(row, out);
      return out;
    });
    expect(vector).toEqual(expected);
    expect(expected?.[0]).toBeGreaterThan(100);
  });

  it("goes on to forget where nothing is predicted any more", () => {
    const engine = new FeatureEngine(compileFeatures(everything), null);
    const rowOf = rowsOf(everything);
    for (let i = 0; i < 20_000; i++) {
      const time = START_MS + i * 1_000;
      const data = { id: `${i}`, at: time, a: `key-${i}`, shop: `shop-${i}`, value: 1 };
      engine.update(rowOf({ stream: "told", time, data }));
    }
    // Rates with a half-life of 12 s are kept for 64 of them.
    expect(engine.sizes.keys).toBeLessThan(2_500);
    expect(engine.sizes.pairs).toBeLessThan(400);
  });
});

describe("events that are decades away from where panes have numbers", () => {
  it("count themselves alone, and are counted as too late", () => {
    const engine = new FeatureEngine(compileFeatures(everything), null);
    const rowOf = rowsOf(everything);
    const out = new Float64Array(engine.plan.names.length);
    const at = Date.UTC(1980, 0, 1);
    const data = { id: "1", at, a: "x", b: 1, amount: 2.5, size: 1, flag: true, shop: "s", colour: "red" };
    for (let i = 0; i < 3; i++) engine.readAndUpdate(rowOf({ stream: "asked", time: at, data }), out);
    const value = (name: string): number => out[engine.plan.names.indexOf(name)] as number;
    expect([value("count_5s"), value("sum_20s"), value("shops_20s")]).toEqual([1, 2.5, 1]);
    expect(value("hour")).toBe(0);
    expect(engine.forgotten).toBe(3);
  });
});
