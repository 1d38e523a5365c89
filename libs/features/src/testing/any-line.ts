import type { Duration, LineDefinition } from "@millrace/lines";
import fc from "fast-check";
import { everything, meanings } from "./everything.ts";
import type { Meanings } from "./naive-vector.ts";

type Feature = LineDefinition["features"][number];
type Stream = "asked" | "told";
type Draft = Readonly<Record<string, unknown>>;

/** What can be asked of which field of the streams of `everything`. */
const NUMBERS = { asked: ["amount", "size", "b"], told: ["value"] } as const;
const EXACT_ENDS = { asked: ["amount", "size", "b", "flag", "colour"], told: ["value", "a"] } as const;
const TOLD_APART = {
  asked: ["shop", "b", "amount", "flag", "colour", "at", "size"],
  told: ["shop", "value", "at", "a"],
} as const;
const NAMED = { asked: ["colour", "shop", "a"], told: ["shop", "a"] } as const;
const KEYS = {
  asked: [[], ["a"], ["shop"], ["b"], ["flag"], ["colour"], ["a", "shop"], ["shop", "b", "a"]],
  told: [[], ["a"], ["shop"], ["shop", "a"]],
} as const;
const CONDITIONS = {
  asked: ['flag && colour != "red"', "amount > 0", 'isnull(shop) || shop == "s2" && b >= 2'],
  told: ["value > 3", 'shop != "s1"'],
} as const;

/** What the conditions and expressions of `anyLine` mean. */
export const anyMeanings: Meanings = {
  ...meanings,
  'isnull(shop) || shop == "s2" && b >= 2': ({ shop, b }) =>
    shop === null || (shop === "s2" && b !== null && (b as number) >= 2),
  "value > 3": ({ value }) => (value as number) > 3,
  'shop != "s1"': ({ shop }) => shop !== null && shop !== "s1",
  "amount * 2 - coalesce(b, 0.5)": ({ amount, b }) => (amount as number) * 2 - ((b as number | null) ?? 0.5),
};

const oneOf = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);

const panes = fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constantFrom(30, 60));
const anySpan = fc.record({ paneS: fc.constantFrom(1, 2, 5, 10), panes });

function windowed(from: Stream, spans: typeof anySpan): fc.Arbitrary<Draft> {
  const taken = fc.oneof(
    fc.constant({ aggregate: "count" }),
    fc.constant({ aggregate: from === "told" ? "share" : "since" }),
    fc.record({
      aggregate: fc.constantFrom("sum", "mean", "min", "max", "stddev"),
      of: oneOf<string>(NUMBERS[from]),
    }),
    fc.record({ aggregate: fc.constantFrom("last", "first"), of: oneOf<string>(EXACT_ENDS[from]) }),
    fc.record({ aggregate: fc.constant("distinct"), of: oneOf<string>(TOLD_APART[from]) }),
    fc.record({ aggregate: fc.constant("distinct-approx"), of: oneOf<string>(TOLD_APART[from]) }),
    fc.record({
      aggregate: fc.constant("top"),
      of: oneOf<string>(NAMED[from]),
      k: fc.integer({ min: 1, max: 4 }),
    }),
    fc.record({
      aggregate: fc.constant("quantile"),
      of: oneOf<string>(NUMBERS[from]),
      q: fc.constantFrom(0.1, 0.5, 0.99),
    }),
  );
  return fc.tuple(taken, spans).map(([aggregate, { paneS, panes }]) => ({
    kind: "window",
    ...aggregate,
    window: `${paneS * panes}s`,
    pane: `${paneS}s`,
  }));
}

function rated(from: Stream): fc.Arbitrary<Draft> {
  return fc.record(
    {
      kind: fc.constant("rate"),
      of: oneOf<string>(NUMBERS[from]),
      halfLife: fc.constantFrom("12s", "15s", "1m"),
    },
    { requiredKeys: ["kind", "halfLife"] },
  );
}

const grouped = fc
  .constantFrom<Stream>("asked", "told")
  .chain((from) =>
    fc
      .tuple(
        fc.oneof({ weight: 6, arbitrary: windowed(from, anySpan) }, { weight: 1, arbitrary: rated(from) }),
        oneOf<readonly string[]>(KEYS[from]),
        fc.oneof(fc.constant({}), fc.record({ where: oneOf<string>(CONDITIONS[from]) })),
      )
      .map(([feature, by, where]) => ({ ...feature, from, by, ...where })),
  );

const feature = fc
  .tuple(
    fc.oneof(
      { weight: 12, arbitrary: grouped },
      {
        weight: 1,
        arbitrary: fc.constantFrom(
          { kind: "field", field: "size" },
          { kind: "expression", value: "amount * 2 - coalesce(b, 0.5)" },
        ),
      },
    ),
    fc.constantFrom({}, { decimals: "full" }, { decimals: 1 }),
  )
  .map(([one, decimals]) => ({ ...one, ...decimals }));

const lateMax = fc.constantFrom<Duration>("1s", "7s", "40s", "2m");

/** Lines with the streams of `everything`, any lateness, and features of any kind in any company. */
export const anyLine: fc.Arbitrary<LineDefinition> = lineOf(
  fc.array(feature, { minLength: 1, maxLength: 14 }),
);

/** The same with many features of one key and one length of panes, so that one level does not hold them all. */
export const wideLine: fc.Arbitrary<LineDefinition> = lineOf(
  fc
    .array(fc.oneof(windowed("asked", fc.record({ paneS: fc.constant(1), panes })), rated("asked")), {
      minLength: 45,
      maxLength: 60,
    })
    .map((features) => features.map((one) => ({ ...one, from: "asked", by: ["a"] }))),
);

function lineOf(features: fc.Arbitrary<readonly Draft[]>): fc.Arbitrary<LineDefinition> {
  return fc.tuple(features, lateMax, lateMax).map(([list, asked, told]) => {
    const { streams } = everything;
    return {
      ...everything,
      streams: {
        asked: { ...streams["asked"], lateMax: asked },
        told: { ...streams["told"], lateMax: told },
      },
      features: list.map((one, i) => ({ name: `f${i}`, ...one }) as unknown as Feature),
    } as LineDefinition;
  });
}
