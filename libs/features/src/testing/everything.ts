import { Watermark } from "@millrace/events";
import { checkedDurationMs, defineLine, type LineDefinition } from "@millrace/lines";
import fc from "fast-check";
import type { Meanings, NaiveEvent } from "./naive-vector.ts";

/** A line with every kind of feature, over panes of seconds, so that a short test lets them expire. */
export const everything: LineDefinition = defineLine({
  name: "everything",
  title: "Everything",
  streams: {
    asked: {
      topic: "asked",
      id: "id",
      time: "at",
      key: ["a"],
      lateMax: "40s",
      fields: {
        id: { type: "text" },
        at: { type: "time" },
        a: { type: "category" },
        b: { type: "integer", optional: true },
        amount: { type: "decimal", scale: 2 },
        size: { type: "number", optional: true },
        flag: { type: "boolean", optional: true },
        shop: { type: "text", optional: true },
        colour: { type: "category", values: ["red", "green", "blue"] },
      },
    },
    told: {
      topic: "told",
      id: "id",
      time: "at",
      key: ["a"],
      lateMax: "30s",
      fields: {
        id: { type: "text" },
        a: { type: "category" },
        at: { type: "time" },
        shop: { type: "text", optional: true },
        value: { type: "integer" },
      },
    },
  },
  predict: { on: "asked" },
  label: { name: "high", from: "told", match: "id", positive: { field: "value", above: 5 }, waitFor: "1d" },
  features: {
    hour: { kind: "hour", of: "at" },
    weekday: { kind: "weekday", of: "at" },
    amount: { kind: "field", field: "amount" },
    is_flagged: { kind: "field", field: "flag" },
    colour_code: { kind: "field", field: "colour" },
    // Of the stream itself: the event counts.
    count_5s: { kind: "window", aggregate: "count", from: "asked", by: ["a"], window: "5s", pane: "1s" },
    count_20s: { kind: "window", aggregate: "count", from: "asked", by: ["a"], window: "20s", pane: "1s" },
    sum_20s: {
      kind: "window",
      aggregate: "sum",
      of: "amount",
      from: "asked",
      by: ["a"],
      window: "20s",
      pane: "1s",
    },
    mean_60s: {
      kind: "window",
      aggregate: "mean",
      of: "amount",
      from: "asked",
      by: ["a"],
      window: "60s",
      pane: "5s",
    },
    stddev_60s: {
      kind: "window",
      aggregate: "stddev",
      of: "amount",
      from: "asked",
      by: ["a"],
      window: "60s",
      pane: "5s",
      decimals: "full",
    },
    min_20s: {
      kind: "window",
      aggregate: "min",
      of: "amount",
      from: "asked",
      by: ["a"],
      window: "20s",
      pane: "1s",
    },
    max_60s: {
      kind: "window",
      aggregate: "max",
      of: "size",
      from: "asked",
      by: ["a"],
      window: "60s",
      pane: "5s",
    },
    size_sum: {
      kind: "window",
      aggregate: "sum",
      of: "size",
      from: "asked",
      by: ["a"],
      window: "20s",
      pane: "1s",
    },
    size_mean: {
      kind: "window",
      aggregate: "mean",
      of: "size",
      from: "asked",
      by: ["a"],
      window: "60s",
      pane: "5s",
    },
    size_stddev: {
      kind: "window",
      aggregate: "stddev",
      of: "size",
      from: "asked",
      by: ["a"],
      window: "60s",
      pane: "5s",
    },
    last_b: {
      kind: "window",
      aggregate: "last",
      of: "b",
      from: "asked",
      by: ["a"],
      window: "20s",
      pane: "1s",
    },
    first_b: {
      kind: "window",
      aggregate: "first",
      of: "b",
      from: "asked",
      by: ["a"],
      window: "20s",
      pane: "1s",
    },
    last_colour: {
      kind: "window",
      aggregate: "last",
      of: "colour",
      from: "asked",
      by: ["shop"],
      window: "20s",
      pane: "1s",
    },
    since: { kind: "window", aggregate: "since", from: "asked", by: ["a"], window: "60s", pane: "5s" },
    shops_5s: {
      kind: "window",
      aggregate: "distinct",
      of: "shop",
      from: "asked",
      by: ["a"],
      window: "5s",
      pane: "1s",
    },
    shops_20s: {
      kind: "window",
      aggregate: "distinct",
      of: "shop",
      from: "asked",
      by: ["a"],
      window: "20s",
      pane: "1s",
    },
    bs_everywhere: {
      kind: "window",
      aggregate: "distinct",
      of: "b",
      from: "asked",
      by: [],
      window: "60s",
      pane: "5s",
    },
    flagged: {
      kind: "window",
      aggregate: "count",
      from: "asked",
      by: ["a"],
      window: "20s",
      pane: "1s",
      where: 'flag && colour != "red"',
    },
    flagged_shops: {
      kind: "window",
      aggregate: "distinct",
      of: "shop",
      from: "asked",
      by: ["a"],
      window: "20s",
      pane: "1s",
      where: "amount > 0",
    },
    top_colour: {
      kind: "window",
      aggregate: "top",
      of: "colour",
      k: 2,
      from: "asked",
      by: ["a"],
      window: "20s",
      pane: "1s",
    },
    // Of another stream, by one field, by two, by none.
    share_20s: { kind: "window", aggregate: "share", from: "told", by: ["a"], window: "20s", pane: "1s" },
    told_sum: {
      kind: "window",
      aggregate: "sum",
      of: "value",
      from: "told",
      by: ["shop", "a"],
      window: "60s",
      pane: "5s",
    },
    told_max: {
      kind: "window",
      aggregate: "max",
      of: "value",
      from: "told",
      by: ["a", "shop"],
      window: "20s",
      pane: "5s",
    },
    told_shops: {
      kind: "window",
      aggregate: "distinct",
      of: "shop",
      from: "told",
      by: [],
      window: "20s",
      pane: "1s",
    },
    told_since: { kind: "window", aggregate: "since", from: "told", by: ["a"], window: "60s", pane: "5s" },
    // Estimates.
    shops_about: {
      kind: "window",
      aggregate: "distinct-approx",
      of: "shop",
      from: "asked",
      by: ["a"],
      window: "20s",
      pane: "1s",
    },
    amount_p50: {
      kind: "window",
      aggregate: "quantile",
      q: 0.5,
      of: "amount",
      from: "asked",
      by: ["a"],
      window: "60s",
      pane: "5s",
    },
    amount_p90: {
      kind: "window",
      aggregate: "quantile",
      q: 0.9,
      of: "amount",
      from: "asked",
      by: ["a"],
      window: "20s",
      pane: "5s",
    },
    rate: { kind: "rate", from: "asked", by: ["colour"], halfLife: "15s", decimals: "full" },
    told_rate: { kind: "rate", of: "value", from: "told", by: ["shop"], halfLife: "12s", decimals: "full" },
    // Computed at the time of the request.
    ratio: { kind: "expression", value: "amount / mean_60s" },
    is_odd: { kind: "expression", value: "isnull(b) || b % 2 == 1" },
  },
  recipes: [{ recipe: "logistic", windows: ["all"] }],
  retrain: {
    firstAfter: 100,
    minChange: 100,
    cooldown: "1h",
    staleAfter: "1d",
    maxRunsPerDay: 1,
    learnFrom: "7d",
  },
});

export const meanings: Meanings = {
  'flag && colour != "red"': ({ flag, colour }) => flag === true && colour !== "red",
  "amount > 0": ({ amount }) => (amount as number) > 0,
  "amount / mean_60s": (_, vector) => {
    const [amount, mean] = [
      vector["amount"] as number,
      Math.round((vector["mean_60s"] as number) * 1e6) / 1e6,
    ];
    return mean === 0 ? null : amount / mean;
  },
  "isnull(b) || b % 2 == 1": ({ b }) => (b === null || (b as number) % 2 === 1 ? 1 : 0),
};

/** Features whose last bits depend on the order in which doubles are added. */
export const INEXACT: ReadonlySet<string> = new Set([
  "size_sum",
  "size_mean",
  "size_stddev",
  "rate",
  "told_rate",
]);
const START_MS = Date.UTC(2026, 0, 1);

/** What a test draws: how far the clock goes on, how late the event is, and its values. */
const drawn = fc.record({
  stream: fc.constantFrom("asked", "asked", "told"),
  stepMs: fc.oneof(fc.nat(3_000), fc.constant(0), fc.constant(25_000)),
  lateMs: fc.oneof(fc.constant(0), fc.constant(0), fc.nat(20_000), fc.nat(60_000)),
  // As late as can be, and a clock that is wrong, now and then.
  lateAsCanBe: fc.oneof({ weight: 5, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.nat(3_000) }),
  aheadMs: fc.oneof({ weight: 30, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(900_000) }),
  a: fc.constantFrom("x", "y"),
  b: fc.option(fc.integer({ min: 0, max: 5 })),
  cents: fc.oneof(fc.integer({ min: -500, max: 2_000 }), fc.integer({ min: -(10 ** 9), max: 10 ** 9 })),
  size: fc.option(fc.double({ min: -100, max: 100, noNaN: true })),
  flag: fc.option(fc.boolean()),
  shop: fc.option(fc.constantFrom("s1", "s2", "s3", "s4", "a shop with a longer name")),
  colour: fc.constantFrom("red", "green", "blue"),
  value: fc.integer({ min: -10, max: 20 }),
});

/**
 * Accepted events of a line with the streams of `everything`, in the order of a log: what comes later than its stream's
 * `lateMax` is not among them.
 */
export function eventsOf({ streams }: Pick<LineDefinition, "streams">): fc.Arbitrary<readonly NaiveEvent[]> {
  return fc.array(drawn, { minLength: 1, maxLength: 150, size: "max" }).map((list) => {
    const watermarks = Object.entries(streams).map(
      ([name, { lateMax }]) => [name, new Watermark(checkedDurationMs(lateMax))] as const,
    );
    const watermarkOf = new Map(watermarks);
    let clock = START_MS;
    return list.flatMap((one, i): NaiveEvent[] => {
      clock += one.stepMs;
      const watermark = watermarkOf.get(one.stream) as Watermark;
      const time =
        one.lateAsCanBe === null || !Number.isFinite(watermark.ms)
          ? clock - one.lateMs + one.aheadMs
          : watermark.ms + one.lateAsCanBe;
      if (watermark.isLate(time)) return [];
      watermark.observe(time);
      const { stream, a, b, shop, flag, size, colour, value } = one;
      const id = `${i}`;
      const data =
        stream === "asked"
          ? { id, at: time, a, b, amount: one.cents / 100, size, flag, shop, colour }
          : { id, a, at: time, shop, value };
      return [{ stream, time, data }];
    });
  });
}

/** Of the line `everything`. */
export const events: fc.Arbitrary<readonly NaiveEvent[]> = eventsOf(everything);
