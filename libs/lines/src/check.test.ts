import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkLine, formatIssues } from "./check.ts";
import { storedLine } from "./stored-line.ts";
import { shop } from "./testing/shop.ts";

/** A definition as it comes out of JSON, to be changed. */
type Loose = any;

function changed(change: (line: Loose) => unknown): unknown {
  const line: Loose = structuredClone(shop);
  change(line);
  return line;
}

const feature = (line: Loose, name: string): Loose =>
  line.features.find((one: { name: string }) => one.name === name);

/** The features that do not need the label. */
const withoutShare = (line: Loose): Loose[] =>
  line.features.filter(({ name }: { name: string }) => name !== "charged_back_30d");

function issuesOf(change: (line: Loose) => unknown): string[] {
  const checked = checkLine(changed(change));
  return checked.ok ? [] : checked.issues.map((issue) => formatIssues([issue]));
}

/** What is changed, and the first issue of it: path, problem and remedy. */
type Case = readonly [what: string, change: (line: Loose) => unknown, issue: string];

function refusals(name: string, cases: readonly Case[]): void {
  describe(name, () => {
    it.each(cases)("refuses %s", (_, change, issue) => {
      expect(issuesOf(change)).toEqual([issue]);
    });
  });
}

const NO_STREAMS =
  "streams: no streams. Declare at least one; or use defineServedLine for a line that only serves models which you import.";

describe("checkLine", () => {
  it("takes a line that is right, and gives it back", () => {
    expect(checkLine(shop)).toEqual({ ok: true, line: shop });
    expect(checkLine(JSON.parse(JSON.stringify(shop)))).toEqual({ ok: true, line: shop });
  });

  it("gives definitions of earlier times what they lack", () => {
    const { serve: _, rollout: __, ...earlier } = shop;
    expect(checkLine(earlier)).toEqual({ ok: true, line: shop });
    expect(storedLine(JSON.stringify(earlier))).toEqual(shop);
    const later = { ...shop, serve: { ...shop.serve, threads: 4 } };
    expect(storedLine(JSON.stringify(later))).toEqual(later);
  });

  it("names every issue at once, each with its path and a remedy", () => {
    expect(
      issuesOf((line) => {
        line.predict.on = "payment";
        line.label.match = "amount";
        line.recipes = [];
      }),
    ).toEqual([
      'predict.on: there is no stream "payment". Did you mean "payments"?',
      'recipes: a line with a label needs a recipe. Name one, for example "lightgbm"; or set label to null for a line of features only.',
      'label.match: field "amount" is decimal, not text or category or integer. Use one of: chargeback, payment, account, is_gift.',
    ]);
  });

  it("never throws, whatever it is given", () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withSparseArray: true,
      withTypedArray: true,
    });
    const paths = fc.array(fc.nat({ max: 12 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(anything, paths, (value, path) => {
        expect(checkLine(value).ok).toBe(false);
        // Somewhere in a right definition.
        const line: Loose = structuredClone(shop);
        let at: Loose = line;
        for (const step of path) {
          const keys = Object.keys(at);
          const key = keys[step % keys.length] as string;
          if (typeof at[key] !== "object" || at[key] === null || step % 5 === 0) {
            at[key] = value;
            break;
          }
          at = at[key];
        }
        const checked = checkLine(line);
        if (checked.ok) return;
        for (const { path: where, problem, remedy } of checked.issues) {
          expect([where, problem, remedy]).not.toContain("");
          expect(remedy).toMatch(/[.?]$/);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("what is no definition at all", () => {
  it.each([
    [null, "(the whole definition): it is null. Write an object, { ... }."],
    [3, "(the whole definition): 3 is a number. Write an object, { ... }."],
    ["shop", '(the whole definition): "shop" is a text. Write an object, { ... }.'],
    [[], "(the whole definition): it is a list. Write an object, { ... }."],
    [undefined, "(the whole definition): it is missing. Write an object, { ... }."],
  ])("refuses %j", (value, issue) => {
    const checked = checkLine(value);
    expect(checked.ok ? [] : checked.issues.map((one) => formatIssues([one]))).toEqual([issue]);
  });
});

refusals("shape", [
  [
    "unknown settings",
    (line) => (line.colour = 1),
    '(the whole definition): unknown "colour". Remove it or correct the spelling.',
  ],
  ["a missing setting", (line) => delete line.title, "title: it is missing. Write a text."],
  ["another type", (line) => (line.title = 3), "title: 3 is a number. Write a text."],
  ["an empty text", (line) => (line.title = ""), "title: it has 0 characters. Write at least 1 characters."],
  [
    "a long text",
    (line) => (line.title = "t".repeat(201)),
    "title: it has 201 characters. Write at most 200 characters.",
  ],
  [
    "a name of another alphabet",
    (line) => (line.name = "Shop"),
    'name: not a line name: "Shop". Here: lower case letters, digits and -, starting with a letter, 2 to 40 characters.',
  ],
  [
    "a number out of range",
    (line) => (line.partitions = 0),
    "partitions: 0 is out of range. Write a number of at least 1.",
  ],
  [
    "a fraction",
    (line) => (line.partitions = 1.5),
    "partitions: 1.5 is no whole number. Write a whole number.",
  ],
  [
    "a number that may not be reached",
    (line) => (line.gates.parity = 0),
    "gates.parity: 0 is out of range. Write a number of more than 0.",
  ],
  [
    "a word that is nearly right",
    (line) => (line.label.silence = "negativ"),
    'label.silence: "negativ" is none of the words that can stand here. Did you mean "negative"?',
  ],
  [
    "a word that is none",
    (line) => (line.vectors.format = "avro"),
    'vectors.format: "avro" is none of the words that can stand here. Use one of: json, binary.',
  ],
  [
    "an unknown kind",
    (line) => (feature(line, "rate").kind = "rates"),
    'features[7].kind: "rates" is none of the words that can stand here. Did you mean "rate"?',
  ],
  [
    "a missing kind",
    (line) => delete feature(line, "rate").kind,
    "features[7].kind: it is missing. Use one of: field, hour, weekday, window, rate, expression.",
  ],
  [
    "an unknown aggregate",
    (line) => (feature(line, "mean_24h").aggregate = "average"),
    'features[2].aggregate: "average" is none of the words that can stand here. Use one of: count, share, sum, ' +
      "mean, min, max, stddev, last, first, since, distinct, distinct-approx, top, quantile.",
  ],
  [
    "what is no duration",
    (line) => (feature(line, "mean_24h").window = "1.5h"),
    'features[2].window: not a duration: "1.5h". Here: write a whole number and s, m, h or d, such as 90s, 24h or 7d.',
  ],
  [
    "no features",
    (line) => (line.features = []),
    "features: no features. Declare at least one: it is what a model sees of an event.",
  ],
  [
    "features without a stream",
    (line) => Object.assign(line, { streams: {}, label: null, recipes: [] }),
    NO_STREAMS,
  ],
  [
    "a latency that is none",
    (line) => (line.serve.latencyMs = 0),
    "serve.latencyMs: 0 is out of range. Write a number of at least 1.",
  ],
  [
    "no provider",
    (line) => (line.serve.providers = []),
    "serve.providers: it has 0 entries. Write at least 1 entries.",
  ],
  [
    "an unknown provider",
    (line) => (line.serve.providers = ["tensorrt"]),
    'serve.providers[0]: "tensorrt" is none of the words that can stand here. Use one of: cpu, cuda, webgpu, coreml, dml.',
  ],
  ["half a section", (line) => delete line.serve.threads, "serve.threads: it is missing. Write a number."],
  [
    "a canary with most requests",
    (line) => Object.assign(line.rollout, { strategy: "canary", share: 0.6 }),
    "rollout.share: a canary answers at most half of the requests, not 0.6. Lower it, or write ab.",
  ],
  [
    "a rollout that ends before it may be decided",
    (line) => (line.rollout.maxLabels = 10),
    "rollout.maxLabels: maxLabels 10 is below minLabels 1000. No rollout could be decided: raise it.",
  ],
  ["features by name", (line) => (line.features = {}), "features: it is an object. Write a list, [ ... ]."],
  ["no streams", (line) => (line.streams = {}), NO_STREAMS],
  [
    "a stream name that is none",
    (line) => (line.streams["card payments"] = line.streams.payments),
    'streams.card payments: not a field name: "card payments". Here: letters, digits and _, not starting with a digit, at most 63.',
  ],
  [
    "a field name that is none",
    (line) => (line.streams.payments.fields["2nd"] = { type: "text" }),
    'streams.payments.fields.2nd: not a field name: "2nd". Here: letters, digits and _, not starting with a digit, at most 63.',
  ],
  [
    "a topic name that Kafka does not know",
    (line) => (line.streams.payments.topic = "card payments"),
    'streams.payments.topic: not a Kafka topic name: "card payments". Here: letters, digits, ., _ and -, at most 200.',
  ],
  [
    "a recipe's setting that is no value",
    (line) => (line.recipes[0].config = { trees: [1] }),
    "recipes[0].config.trees: it is a list. Write a number, a text, true or false.",
  ],
]);

refusals("fields", [
  [
    "an unknown type",
    (line) => (line.streams.payments.fields.items.type = "int"),
    'streams.payments.fields.items.type: "int" is none of the words that can stand here. ' +
      "Use one of: text, category, number, integer, decimal, boolean, time, blob.",
  ],
  [
    "optional: false",
    (line) => (line.streams.payments.fields.items.optional = false),
    "streams.payments.fields.items.optional: false is a boolean. Write true, or leave it out.",
  ],
  [
    "a decimal without a scale",
    (line) => delete line.streams.payments.fields.amount.scale,
    "streams.payments.fields.amount.scale: it is missing. Write a number.",
  ],
  [
    "a decimal with too many places",
    (line) => (line.streams.payments.fields.amount.scale = 10),
    "streams.payments.fields.amount.scale: 10 is out of range. Write a number of at most 9.",
  ],
  [
    "a decimal beyond what is exact",
    (line) => (line.streams.payments.fields.amount.max = 3e13),
    "streams.payments.fields.amount.max: 30000000000000 with 2 decimal places is not exact. " +
      "Stay within 22517998136852, or lower the scale.",
  ],
  [
    "a decimal beyond what is exact, below",
    (line) => (line.streams.payments.fields.amount.min = -3e13),
    "streams.payments.fields.amount.min: -30000000000000 with 2 decimal places is not exact. " +
      "Stay within 22517998136852, or lower the scale.",
  ],
  [
    "a range without values",
    (line) => (line.streams.payments.fields.items.min = 2_000),
    "streams.payments.fields.items.min: min 2000 is above max 1000. No value would be accepted: exchange them.",
  ],
  [
    "a text that would never be claimed",
    (line) => (line.streams.payments.fields.note.maxLength = 500),
    "streams.payments.fields.note.claimAbove: no text is longer than maxLength 500, so that none would be claimed. " +
      "Lower claimAbove, or leave it out.",
  ],
  [
    "a blob without a media type",
    (line) => (line.streams.payments.fields.receipt.mediaType = "jpeg"),
    'streams.payments.fields.receipt.mediaType: not a media type: "jpeg". Here: write one such as image/jpeg.',
  ],
  [
    "a blob that is too large",
    (line) => (line.streams.payments.fields.receipt.bytesMax = 1e9),
    "streams.payments.fields.receipt.bytesMax: 1000000000 is out of range. Write a number of at most 64000000.",
  ],
]);

refusals("streams", [
  [
    "an id that is not there",
    (line) => (line.streams.payments.id = "paymentId"),
    'streams.payments.id: stream "payments" has no field "paymentId". Did you mean "payment"?',
  ],
  [
    "an id of another type",
    (line) => (line.streams.payments.id = "amount"),
    'streams.payments.id: field "amount" is decimal, not text or category or integer. ' +
      "Use one of: payment, account, items, channel, merchant.",
  ],
  [
    "an id in the object store",
    (line) => (line.streams.payments.id = "note"),
    'streams.payments.id: values of field "note" lie in the object store, not in the event. ' +
      "Use one of: payment, account, items, channel, merchant.",
  ],
  [
    "an event time that need not be there",
    (line) => (line.streams.payments.fields.at.optional = true),
    'streams.payments.time: field "at" is optional. ' +
      "Only a required field can be an id, a time, a key, a match or what a label is read from.",
  ],
  [
    "an event time where no field is one",
    (line) => {
      delete line.streams.chargebacks.fields.at;
      line.streams.chargebacks.time = "when";
    },
    'streams.chargebacks.time: stream "chargebacks" has no field "when". ' +
      "Declare a field of type time in streams.chargebacks.fields.",
  ],
  [
    "a topic that the line writes itself",
    (line) => (line.streams.payments.topic = "shop.events"),
    'streams.payments.topic: topic "shop.events" is one that Millrace writes. Choose another topic name.',
  ],
  [
    "a topic for two streams",
    (line) => (line.streams.chargebacks.topic = "shop.payments"),
    'streams.chargebacks.topic: topic "shop.payments" is already the topic of stream "payments". ' +
      "Give each stream its own topic.",
  ],
  [
    "a key in the object store",
    (line) => {
      line.partitions = 1;
      line.streams.payments.key = ["receipt"];
    },
    'streams.payments.key[0]: values of field "receipt" lie in the object store, not in the event. ' +
      "Use one of: payment, at, account, amount, items, weight, channel, merchant, is_gift.",
  ],
]);

refusals("partitions", [
  [
    "streams that are keyed by different fields",
    (line) => {
      line.streams.chargebacks.key = ["payment"];
      feature(line, "charged_back_30d").by = ["payment", "account"];
    },
    "streams: streams are keyed by different fields, so an event and its label can lie in different partitions. " +
      "Give all streams the same key, or set partitions to 1.",
  ],
  [
    "a window over several of them",
    (line) => (feature(line, "merchants_7d").by = []),
    "features[3].by: records that this feature needs lie in several partitions: they are keyed by account. " +
      "Add the stream's key fields to `by`, or set partitions to 1.",
  ],
  [
    "a rate over several of them",
    (line) => (feature(line, "rate").by = ["channel"]),
    "features[7].by: records that this feature needs lie in several partitions: they are keyed by account. " +
      "Add the stream's key fields to `by`, or set partitions to 1.",
  ],
]);

refusals("labels and recipes", [
  [
    "a label of no stream",
    (line) => (line.label.from = "chargeback"),
    'label.from: there is no stream "chargeback". Did you mean "chargebacks"?',
  ],
  [
    "a match that is not there",
    (line) => (line.label.match = "payment_id"),
    'label.match: stream "chargebacks" has no field "payment_id". Use one of: chargeback, payment, account, is_gift.',
  ],
  [
    "a label read from a text",
    (line) => (line.label.positive.field = "payment"),
    'label.positive.field: field "payment" is text, not number or integer or decimal. Use one of: amount, is_gift.',
  ],
  [
    "a label read from a field that need not be there",
    (line) => (line.streams.chargebacks.fields.amount.optional = true),
    'label.positive.field: field "amount" is optional. ' +
      "Only a required field can be an id, a time, a key, a match or what a label is read from.",
  ],
  [
    "a label without a recipe",
    (line) => (line.recipes = []),
    "recipes: a line with a label needs a recipe. " +
      'Name one, for example "lightgbm"; or set label to null for a line of features only.',
  ],
  [
    "a recipe without a label",
    (line) => {
      line.label = null;
      line.features = withoutShare(line);
    },
    "recipes: a line without a label learns nothing. Remove the recipes, or define a label.",
  ],
  [
    "the share of labels without a label",
    (line) => {
      line.label = null;
      line.recipes = [];
    },
    "features[6].from: share is the share of positive labels. Define a label, or use count with a `where`.",
  ],
  [
    "the share of labels of another stream",
    (line) => (feature(line, "charged_back_30d").from = "payments"),
    'features[6].from: share is the share of positive labels. Use the label\'s stream "chargebacks".',
  ],
  [
    "a stream to predict on that is not there",
    (line) => (line.predict.on = "visits"),
    'predict.on: there is no stream "visits". Use one of: payments, chargebacks.',
  ],
]);

refusals("features", [
  [
    "a field that is not there",
    (line) => (feature(line, "gift").field = "amout"),
    'features[9].field: stream "payments" has no field "amout". Did you mean "amount"?',
  ],
  [
    "a field of another stream",
    (line) => (feature(line, "gift").field = "chargeback"),
    'features[9].field: stream "payments" has no field "chargeback". ' +
      "Use one of: account, amount, items, weight, channel, is_gift.",
  ],
  [
    "a text as a number",
    (line) => (feature(line, "gift").field = "merchant"),
    'features[9].field: field "merchant" is text, not number or integer or decimal or boolean or category. ' +
      "Use one of: account, amount, items, weight, channel, is_gift.",
  ],
  [
    "a blob",
    (line) => (feature(line, "gift").field = "receipt"),
    'features[9].field: values of field "receipt" lie in the object store, not in the event. ' +
      "Use one of: account, amount, items, weight, channel, is_gift.",
  ],
  [
    "the hour of what is no time",
    (line) => (feature(line, "hour").of = "amount"),
    'features[1].of: field "amount" is decimal, not time. Use "at".',
  ],
  [
    "a window over no stream",
    (line) => (feature(line, "mean_24h").from = "payment"),
    'features[2].from: there is no stream "payment". Did you mean "payments"?',
  ],
  [
    "a name twice",
    (line) => (feature(line, "hour").name = "gift"),
    'features[9].name: value "gift" is declared twice. Rename one of the features.',
  ],
  [
    "a name that is that of one of several values",
    (line) => (feature(line, "hour").name = "top_channel_2"),
    'features[4].name: value "top_channel_2" is declared twice. Rename one of the features.',
  ],
  [
    "a name that is none",
    (line) => (feature(line, "hour").name = "Hour"),
    'features[1].name: not a feature name: "Hour". Here: lower case letters, digits and _, at most 63.',
  ],
  [
    "more values than a vector has",
    (line) => {
      for (let i = 0; i < 41; i++)
        line.features.push({ ...feature(line, "top_channel"), name: `t${i}`, k: 100 });
    },
    "features: a vector has 4111 values, more than 4096. Leave some out.",
  ],
  [
    "decimals that are no number of places",
    (line) => (feature(line, "amount").decimals = "all"),
    'features[0].decimals: not a number of decimal places: "all". Here: write 0 to 15, or "full".',
  ],
]);

refusals("windows", [
  [
    "the mean of nothing",
    (line) => delete feature(line, "mean_24h").of,
    'features[2].of: mean of what is missing. Name a field of stream "payments" of type number or integer or decimal.',
  ],
  [
    "the mean of a text",
    (line) => (feature(line, "mean_24h").of = "merchant"),
    'features[2].of: field "merchant" is text, not number or integer or decimal. Use one of: amount, items, weight.',
  ],
  [
    "the count of a field",
    (line) => Object.assign(feature(line, "mean_24h"), { aggregate: "count" }),
    "features[2].of: count takes no field. Remove it.",
  ],
  [
    "different values of a blob",
    (line) => (feature(line, "merchants_7d").of = "receipt"),
    'features[3].of: values of field "receipt" lie in the object store, not in the event. ' +
      "Use one of: payment, at, account, amount, items, weight, channel, merchant, is_gift.",
  ],
  [
    "the most frequent of a number",
    (line) => (feature(line, "top_channel").of = "amount"),
    'features[4].of: field "amount" is decimal, not category or text. ' +
      "Use one of: payment, account, channel, merchant.",
  ],
  [
    "the last of a text",
    (line) => Object.assign(feature(line, "mean_24h"), { aggregate: "last", of: "merchant" }),
    'features[2].of: field "merchant" is text, not number or integer or decimal or boolean or category. ' +
      "Use one of: account, amount, items, weight, channel, is_gift.",
  ],
  [
    "the most frequent without how many",
    (line) => delete feature(line, "top_channel").k,
    "features[4].k: top needs it. Say how many of the most frequent, 1 to 100.",
  ],
  [
    "more of the most frequent than are kept",
    (line) => (feature(line, "top_channel").k = 101),
    "features[4].k: 101 is out of range. Write a number of at most 100.",
  ],
  [
    "how many of what has one value",
    (line) => (feature(line, "mean_24h").k = 3),
    "features[2].k: mean takes none. Remove it.",
  ],
  [
    "a quantile without which",
    (line) => delete feature(line, "p95").q,
    "features[5].q: quantile needs it. Say which quantile, such as 0.95.",
  ],
  [
    "a quantile that is the largest value",
    (line) => (feature(line, "p95").q = 1),
    "features[5].q: 1 is out of range. Write a number of less than 1.",
  ],
  [
    "a quantile of a count",
    (line) => Object.assign(feature(line, "merchants_7d"), { q: 0.5 }),
    "features[3].q: distinct takes none. Remove it.",
  ],
  [
    "a key field twice",
    (line) => (feature(line, "mean_24h").by = ["account", "account"]),
    'features[2].by[1]: field "account" is named twice. Name it once.',
  ],
  [
    "a key field that the other stream does not have",
    (line) => (feature(line, "charged_back_30d").by = ["account", "chargeback"]),
    'features[6].by[1]: stream "payments" has no field "chargeback". ' +
      "Use one of: payment, at, account, amount, items, weight, channel, merchant, is_gift.",
  ],
  [
    "a key field that the counted stream does not have",
    (line) => (feature(line, "charged_back_30d").by = ["account", "channel"]),
    'features[6].by[1]: stream "chargebacks" has no field "channel". ' +
      "Use one of: chargeback, payment, at, account, amount, is_gift.",
  ],
  [
    "a key field of another type in the other stream",
    (line) => (feature(line, "charged_back_30d").by = ["account", "is_gift"]),
    'features[6].by[1]: field "is_gift" is integer in stream "chargebacks" and boolean in "payments". ' +
      "Values are equal only when they are of one type: declare the same type in both.",
  ],
  [
    "a key field of another scale in the other stream",
    (line) => {
      feature(line, "charged_back_30d").by = ["account", "amount"];
      line.streams.chargebacks.fields.amount.scale = 3;
    },
    'features[6].by[1]: field "amount" is decimal with scale 3 in stream "chargebacks" and decimal with scale 2 in "payments". ' +
      "Values are equal only when they are of one type: declare the same type in both.",
  ],
  [
    "more key fields than four",
    (line) => (feature(line, "mean_24h").by = ["account", "channel", "merchant", "items", "weight"]),
    "features[2].by: it has 5 entries. Write at most 4 entries.",
  ],
]);

refusals("panes", [
  [
    "a pane that does not divide the window",
    (line) => (feature(line, "mean_24h").pane = "7h"),
    "features[2].pane: a window of 24h is not a whole number of panes of 7h. " +
      "Choose a pane that divides the window, or leave it out.",
  ],
  [
    "a pane that is longer than the window",
    (line) => (feature(line, "p95").pane = "2h"),
    "features[5].pane: a window of 1h is not a whole number of panes of 2h. " +
      "Choose a pane that divides the window, or leave it out.",
  ],
  [
    "too many panes",
    (line) => (feature(line, "mean_24h").pane = "20s"),
    "features[2].pane: the window has 4320 panes, more than 4096. " +
      "Choose a pane of at least 22s that divides the window, or leave it out.",
  ],
  [
    "too many panes for late events",
    (line) => {
      line.streams.payments.lateMax = "3d";
      feature(line, "p95").pane = "10s";
    },
    "features[5].pane: 26280 panes would be kept for each key, more than 20000: " +
      "those of the window, and those for events that come late. " +
      "Lower streams.payments.lateMax, or choose a pane of at least 14s that divides the window.",
  ],
  [
    "too many panes for late events of either stream",
    (line) => {
      line.streams.payments.lateMax = "2d";
      line.streams.chargebacks.lateMax = "2d";
      Object.assign(feature(line, "charged_back_30d"), { window: "1h", pane: "10s" });
    },
    "features[6].pane: 34920 panes would be kept for each key, more than 20000: " +
      "those of the window, and those for events that come late. " +
      "Lower streams.payments.lateMax or streams.chargebacks.lateMax, or choose a pane of at least 18s that divides the window.",
  ],
  [
    "too many panes of a rate for late events",
    (line) => {
      line.streams.payments.lateMax = "1d";
      feature(line, "rate").halfLife = "20s";
    },
    "features[7].halfLife: 86401 panes would be kept for each key, more than 20000: " +
      "those of the rate, and those for events that come late. " +
      "Lower streams.payments.lateMax, or choose a longer half-life: its panes are a twelfth of it or shorter.",
  ],
]);

refusals("rates", [
  [
    "the rate of a text",
    (line) => (feature(line, "rate").of = "merchant"),
    'features[7].of: field "merchant" is text, not number or integer or decimal. Use one of: amount, items, weight.',
  ],
  [
    "a rate without a half-life",
    (line) => delete feature(line, "rate").halfLife,
    "features[7].halfLife: it is missing. Write a text.",
  ],
  [
    "a rate with a window",
    (line) => (feature(line, "rate").window = "1h"),
    'features[7]: unknown "window". Remove it or correct the spelling.',
  ],
]);

refusals("conditions and expressions", [
  [
    "a condition that is a number",
    (line) => (feature(line, "mean_24h").where = "amount"),
    "features[2].where: the condition is a number, neither true nor false. Compare it, for example with > 0.",
  ],
  [
    "a condition that is a text",
    (line) => (feature(line, "mean_24h").where = "channel"),
    'features[2].where: the condition is a text, neither true nor false. Compare it, for example with == "yes".',
  ],
  [
    "a condition that is a time",
    (line) => (feature(line, "mean_24h").where = "at"),
    "features[2].where: the condition is a time, neither true nor false. " +
      "Compare it with another time, or take hour(...) or weekday(...) of it and compare that.",
  ],
  [
    "a condition with an unknown name",
    (line) => (feature(line, "mean_24h").where = "amount > 3 && chanel == 'chip'"),
    'features[2].where: at character 15: there is no field "chanel". Did you mean "channel"?',
  ],
  [
    "a condition about features",
    (line) => (feature(line, "rate").where = "mean_24h > 3"),
    'features[7].where: at character 1: there is no field "mean_24h". ' +
      "Use one of: payment, at, account, amount, items, weight, channel, merchant, is_gift, note, receipt.",
  ],
  [
    "a condition over the fields of another stream",
    (line) => (feature(line, "charged_back_30d").where = "channel == 'chip'"),
    'features[6].where: at character 1: there is no field "channel". ' +
      "Use one of: chargeback, payment, at, account, amount, is_gift.",
  ],
  [
    "a condition about a blob",
    (line) => (feature(line, "mean_24h").where = "!isnull(receipt)"),
    'features[2].where: at character 9: field "receipt" is not in the event itself but in the object store. ' +
      "Use another field.",
  ],
  [
    "an empty condition",
    (line) => (feature(line, "mean_24h").where = ""),
    "features[2].where: it has 0 characters. Write at least 1 characters.",
  ],
  [
    "an expression that cannot be read",
    (line) => (feature(line, "ratio").value = "amount / (mean_24h"),
    'features[8].value: at character 19: ")" is expected, found the end. Close the parenthesis.',
  ],
  [
    "an expression of features that stand after it",
    (line) => line.features.unshift({ name: "early", kind: "expression", value: "mean_24h * 2" }),
    'features[0].value: at character 1: there is no field "mean_24h". ' +
      "Use one of: payment, at, account, amount, items, weight, channel, merchant, is_gift, note, receipt.",
  ],
  [
    "an expression of a feature that has several values",
    (line) => (feature(line, "ratio").value = "top_channel"),
    'features[8].value: at character 1: there is no field, nor a feature before this one, "top_channel". ' +
      'Did you mean "top_channel_1"?',
  ],
  [
    "an expression that is a text",
    (line) => (feature(line, "ratio").value = "merchant"),
    "features[8].value: the value is a text, and a feature is a number. " +
      'Compare it, for example with == "yes".',
  ],
  [
    "an expression that is a time",
    (line) => (feature(line, "ratio").value = "at"),
    "features[8].value: the value is a time, and a feature is a number. " +
      "Subtract another time (that gives seconds), or take hour(...) or weekday(...) of it.",
  ],
  [
    "an expression whose name has two meanings",
    (line) => {
      feature(line, "hour").name = "items";
      feature(line, "ratio").value = "items * 2";
    },
    'features[8].value: "items" is a field of the event and a feature of another meaning. ' +
      "Rename the feature: in an expression the name means the field.",
  ],
]);

describe("what is right although it looks wrong", () => {
  it.each<[string, (line: Loose) => unknown]>([
    [
      "an expression that holds such a name as a text",
      (line) => {
        feature(line, "hour").name = "items";
        feature(line, "ratio").value = "channel == 'items' ? 1 : hour(at)";
      },
    ],
    [
      "a field and a feature of one name and meaning",
      (line) => (feature(line, "ratio").value = "amount * 2"),
    ],
    ["a condition that is a boolean field", (line) => (feature(line, "mean_24h").where = "is_gift")],
    ["an expression that is true or false", (line) => (feature(line, "ratio").value = "amount > mean_24h")],
    ["one value of several", (line) => (feature(line, "ratio").value = "top_channel_2 == top_channel_1")],
    [
      "windows without a key in one partition",
      (line) => {
        line.partitions = 1;
        feature(line, "merchants_7d").by = [];
      },
    ],
    [
      "a line of features only",
      (line) => {
        line.label = null;
        line.recipes = [];
        line.features = withoutShare(line);
      },
    ],
    [
      "a line of one stream",
      (line) => {
        delete line.streams.chargebacks;
        line.label = null;
        line.recipes = [];
        line.features = withoutShare(line);
      },
    ],
    [
      "a label of the stream predicted on",
      (line) => {
        Object.assign(line.label, {
          from: "payments",
          match: "merchant",
          positive: { field: "items", above: 1 },
        });
        feature(line, "charged_back_30d").from = "payments";
      },
    ],
    [
      "a text and a category as one key",
      (line) => {
        line.streams.chargebacks.fields.account.type = "text";
      },
    ],
    ["the largest exact decimal", (line) => (line.streams.payments.fields.amount.max = 22_517_998_136_852)],
    ["a window of one pane", (line) => (feature(line, "p95").pane = "1h")],
    [
      "names that objects have",
      (line) => {
        line.streams.payments.fields.constructor = { type: "integer" };
        feature(line, "ratio").value = "constructor + 1";
      },
    ],
  ])("takes %s", (_, change) => {
    expect(issuesOf(change)).toEqual([]);
  });
});
