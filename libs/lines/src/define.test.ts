import { describe, expect, it } from "vitest";
import { checkLine } from "./check.ts";
import { defineLine, defineServedLine } from "./define.ts";
import { type FieldDefinition, isLearning, isServedOnly } from "./definition.ts";

const payments = {
  topic: "pay.payments",
  id: "id",
  time: "at",
  key: ["account"],
  fields: {
    id: { type: "text" },
    at: { type: "time" },
    account: { type: "category" },
    amount: { type: "decimal", scale: 2 },
    note: { type: "text", optional: true },
    is_gift: { type: "boolean" },
    photo: { type: "blob", mediaType: "image/png", bytesMax: 1_000 },
  },
} as const;
const chargebacks = {
  topic: "pay.chargebacks",
  id: "id",
  time: "at",
  key: ["account"],
  fields: {
    id: { type: "text" },
    at: { type: "time" },
    account: { type: "category" },
    payment: { type: "text" },
    lost: { type: "integer" },
  },
} as const;
const head = {
  name: "pay",
  title: "Payments",
  streams: { payments, chargebacks },
  predict: { on: "payments" },
} as const;
const label = {
  name: "charged_back",
  from: "chargebacks",
  match: "payment",
  positive: { field: "lost", above: 0 },
  waitFor: "30d",
} as const;
const retrain = {
  firstAfter: 1_000,
  minChange: 1_000,
  cooldown: "1d",
  staleAfter: "30d",
  maxRunsPerDay: 1,
  learnFrom: "90d",
} as const;
const recipes = [{ recipe: "lightgbm", windows: ["all"] }] as const;
const count = {
  kind: "window",
  aggregate: "count",
  from: "payments",
  by: ["account"],
  window: "1h",
} as const;

describe("defineLine", () => {
  it("completes a line of features only with its defaults, and the result checks", () => {
    const line = defineLine({ ...head, features: { count } });
    expect(line).toEqual({
      ...head,
      partitions: 1,
      streams: {
        payments: { ...payments, format: "json", lateMax: "1d" },
        chargebacks: { ...chargebacks, format: "json", lateMax: "1d" },
      },
      label: null,
      features: [{ name: "count", ...count }],
      vectors: { format: "json", decimals: 6 },
      recipes: [],
      retrain: {
        firstAfter: 100,
        minChange: 100,
        cooldown: "1d",
        staleAfter: "365d",
        maxRunsPerDay: 0,
        learnFrom: "365d",
      },
      drift: { falseAlarmEvery: 1_000_000, tolerance: 0.05 },
      gates: { heldOut: 0.25, minGain: 0.001, parity: 1e-4 },
      limits: { eventBytesMax: 1_000_000, aheadMax: "1h" },
      serve: { latencyMs: 20, priority: "normal", threads: 1, optimisation: "all", providers: ["cpu"] },
      rollout: {
        strategy: "direct",
        share: 0.1,
        by: "request",
        alpha: 0.05,
        minLabels: 1_000,
        maxLabels: 100_000,
      },
    });
    expect(checkLine(line)).toEqual({ ok: true, line });
  });

  it("completes a label: nothing follows from silence, the first one counts", () => {
    const line = defineLine({ ...head, label, features: { count }, recipes, retrain });
    expect(line.label).toEqual({ ...label, silence: "unknown", conflict: "first", waitingMax: 1_000_000 });
    expect(checkLine(line)).toEqual({ ok: true, line });
  });

  it("keeps what the author says, and the order of the features", () => {
    const line = defineLine({
      ...head,
      partitions: 8,
      streams: { payments: { ...payments, format: "schema-registry", lateMax: "2h" }, chargebacks },
      label: { ...label, silence: "negative", conflict: "last", waitingMax: 10 },
      features: { z: count, a: { kind: "field", field: "amount", decimals: 2 }, m: count },
      vectors: { decimals: "full" },
      recipes,
      retrain,
      drift: { tolerance: 0.1 },
      gates: { minGain: 0 },
      limits: { aheadMax: "1m" },
      serve: { latencyMs: 5, providers: ["cuda", "cpu"] },
      rollout: { strategy: "canary", by: "entity" },
    });
    expect(line).toMatchObject({
      partitions: 8,
      streams: { payments: { format: "schema-registry", lateMax: "2h" }, chargebacks: { lateMax: "1d" } },
      label: { silence: "negative", conflict: "last", waitingMax: 10 },
      vectors: { format: "json", decimals: "full" },
      drift: { falseAlarmEvery: 1_000_000, tolerance: 0.1 },
      gates: { heldOut: 0.25, minGain: 0 },
      limits: { eventBytesMax: 1_000_000, aheadMax: "1m" },
      serve: { latencyMs: 5, priority: "normal", providers: ["cuda", "cpu"] },
      rollout: { strategy: "canary", share: 0.1, by: "entity" },
    });
    expect(line.features.map(({ name }) => name)).toEqual(["z", "a", "m"]);
    expect(checkLine(line)).toEqual({ ok: true, line });
  });
});

describe("defineServedLine", () => {
  it("is a line without streams, features and label, and checks", () => {
    const line = defineServedLine({
      name: "embedder",
      title: "Sentences as vectors",
      serve: { priority: "low" },
      rollout: { strategy: "ab", share: 0.5 },
    });
    expect(line).toMatchObject({
      partitions: 1,
      streams: {},
      label: null,
      features: [],
      recipes: [],
      serve: { latencyMs: 20, priority: "low" },
      rollout: { strategy: "ab", share: 0.5, minLabels: 1_000 },
    });
    expect([isServedOnly(line), isLearning(line)]).toEqual([true, false]);
    expect(isServedOnly(defineLine({ ...head, features: { count } }))).toBe(false);
    expect(checkLine(line)).toEqual({ ok: true, line });
  });
});

/** What the compiler says to authors; each line below is wrong for it, and for `checkLine`. */
describe("the types that an author meets", () => {
  it("know streams and fields", () => {
    const wrong = [
      // @ts-expect-error there is no such stream
      defineLine({ ...head, predict: { on: "payment" }, features: { count } }),
      defineLine({
        ...head,
        // @ts-expect-error there is no such field
        streams: { payments: { ...payments, id: "payment" }, chargebacks },
        features: { count },
      }),
      defineLine({
        ...head,
        // @ts-expect-error that field is no time
        streams: { payments: { ...payments, time: "id" }, chargebacks },
        features: { count },
      }),
      defineLine({
        ...head,
        // @ts-expect-error that field is in the object store
        streams: { payments: { ...payments, key: ["photo"] }, chargebacks },
        features: { count },
      }),
    ];
    for (const line of wrong) expect(checkLine(line).ok).toBe(false);
  });

  it("know the types of fields", () => {
    const wrong: FieldDefinition[] = [
      // @ts-expect-error there is no such type
      { type: "string" },
      // @ts-expect-error a decimal has a scale
      { type: "decimal" },
      // @ts-expect-error a field is required, or optional: true
      { type: "text", optional: false },
      // @ts-expect-error a time has no bounds
      { type: "time", min: 0 },
    ];
    for (const field of wrong) {
      const line = defineLine({ ...head, features: { count } });
      const { payments: stream } = line.streams;
      const fields = { ...stream?.fields, field };
      expect(checkLine({ ...line, streams: { ...line.streams, payments: { ...stream, fields } } }).ok).toBe(
        false,
      );
    }
  });

  it("know what each kind of feature takes", () => {
    const wrong = [
      // @ts-expect-error there is no such field
      defineLine({ ...head, features: { f: { kind: "field", field: "amout" } } }),
      // @ts-expect-error a text is no number
      defineLine({ ...head, features: { f: { kind: "field", field: "note" } } }),
      // @ts-expect-error that field is of the other stream
      defineLine({ ...head, features: { f: { kind: "field", field: "lost" } } }),
      // @ts-expect-error that field is no time
      defineLine({ ...head, features: { f: { kind: "hour", of: "amount" } } }),
      // @ts-expect-error there is no such stream
      defineLine({ ...head, features: { f: { ...count, from: "payment" } } }),
      // @ts-expect-error that field is of the other stream
      defineLine({ ...head, features: { f: { ...count, from: "chargebacks", by: ["is_gift"] } } }),
      // @ts-expect-error count takes no field
      defineLine({ ...head, features: { f: { ...count, of: "amount" } } }),
      // @ts-expect-error mean takes a field
      defineLine({ ...head, features: { f: { ...count, aggregate: "mean" } } }),
      // @ts-expect-error there is no mean of a text
      defineLine({ ...head, features: { f: { ...count, aggregate: "mean", of: "note" } } }),
      // @ts-expect-error a blob cannot be told apart
      defineLine({ ...head, features: { f: { ...count, aggregate: "distinct", of: "photo" } } }),
      // @ts-expect-error top needs to know how many
      defineLine({ ...head, features: { f: { ...count, aggregate: "top", of: "note" } } }),
      // @ts-expect-error quantile needs to know which
      defineLine({ ...head, features: { f: { ...count, aggregate: "quantile", of: "amount" } } }),
      // @ts-expect-error that is no duration
      defineLine({ ...head, features: { f: { ...count, window: "1 day" } } }),
      // @ts-expect-error a rate has a half-life
      defineLine({ ...head, features: { f: { kind: "rate", from: "payments", by: [] } } }),
      // @ts-expect-error there is no such kind
      defineLine({ ...head, features: { f: { kind: "embedding", of: "note" } } }),
      // @ts-expect-error decimals are a number of places
      defineLine({ ...head, features: { f: { ...count, decimals: "all" } } }),
    ];
    for (const line of wrong) expect(checkLine(line).ok).toBe(false);
  });

  it("know what a label is, and that it goes with recipes", () => {
    const wrong = [
      // @ts-expect-error a line with a label needs recipes
      defineLine({ ...head, label, features: { count } }),
      // @ts-expect-error a line of features only has none
      defineLine({ ...head, features: { count }, recipes }),
      // @ts-expect-error there is no such stream
      defineLine({ ...head, label: { ...label, from: "payment" }, features: { count }, recipes, retrain }),
      // @ts-expect-error that field is of the other stream
      defineLine({ ...head, label: { ...label, match: "note" }, features: { count }, recipes, retrain }),
      defineLine({
        ...head,
        // @ts-expect-error a text is not above a number
        label: { ...label, positive: { field: "payment", above: 0 } },
        features: { count },
        recipes,
        retrain,
      }),
      defineLine({
        ...head,
        // @ts-expect-error silence means nothing or no
        label: { ...label, silence: "positive" },
        features: { count },
        recipes,
        retrain,
      }),
    ];
    for (const line of wrong) expect(checkLine(line).ok).toBe(false);
  });
});
