import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FIRST, LAST } from "./algebra/ends.ts";
import { INEXACT_SUM } from "./algebra/inexact-sum.ts";
import { MOMENTS } from "./algebra/moments.ts";
import { NEWEST } from "./algebra/newest.ts";
import type { PaneAlgebra, PaneRange } from "./algebra/pane-algebra.ts";
import { emptySummary, enterSummary, isLost, leaveSummary, updateSummary } from "./algebra/summary.ts";
import { INPUTS, ONE, TIME } from "./event-values.ts";
import type { SummaryPlan } from "./feature-plan.ts";
import { compileFeatures, FeatureEngine } from "./index.ts";
import { HyperLogLog, registerOf } from "./sketches/hyper-log-log.ts";
import type { PaneSketch } from "./sketches/pane-sketch.ts";
import { QuantileSketch } from "./sketches/quantile-sketch.ts";
import { TopCounts } from "./sketches/top-counts.ts";
import { everything } from "./testing/everything.ts";
import { rowsOf } from "./testing/rows.ts";

/** What an algebra takes of an event: its time, and a whole number. */
interface Taken {
  readonly time: number;
  readonly value: number;
}
type Pane = readonly Taken[];

/** One way to aggregate values in panes: what the table below is about. */
interface Aggregate {
  readonly name: string;
  /** The answer over panes, oldest first; they are combined in two goes, the newest `newer` of them first. */
  readonly over: (panes: readonly Pane[], newer?: number) => readonly number[];
  readonly ofNothing: readonly number[];
  /** The order in which events come does not matter: at all, but for those of equal times, or but for the last digits. */
  readonly order: "any" | "by time" | "nearly any";
}

function valuesOf({ time, value }: Taken): Float64Array {
  const values = new Float64Array(INPUTS + 1);
  values[TIME] = time;
  values[ONE] = 1;
  values[INPUTS] = value;
  return values;
}

/** Room for so many panes, and the part of them from one to before another. */
function memory(
  panes: number,
  stride: number,
): { all: PaneRange; part: (from: number, until: number) => PaneRange } {
  const floats = new Float64Array((panes + 1) * stride);
  const all = {
    floats,
    ints: new Int32Array(floats.buffer),
    oldest: 0,
    newest: (panes - 1) * stride,
    stride,
  };
  return {
    all,
    part: (from, until) => ({ ...all, oldest: from * stride, newest: (until - 1) * stride }),
  };
}

function algebra(of: PaneAlgebra, answer: (slots: Float64Array) => readonly number[]): Aggregate["over"] {
  return (panes, newer = panes.length) => {
    const { all, part } = memory(panes.length, 1 + of.slots);
    panes.forEach((pane, i) => {
      of.prepare(all.floats, i * all.stride + 1);
      for (const one of pane) of.update(all.floats, i * all.stride + 1, valuesOf(one), INPUTS);
    });
    const slots = new Float64Array(of.slots);
    of.prepare(slots, 0);
    const cut = Math.max(0, panes.length - newer);
    of.enter(slots, 0, part(cut, panes.length), 1);
    of.enter(slots, 0, part(0, cut), 1);
    return answer(slots);
  };
}

/** A unit of integers (a pane's number, and the count), the sum, two of the squares, the least, the most. */
const SUMMARY: SummaryPlan = {
  input: INPUTS,
  condition: 0,
  count: 1,
  sum: 1,
  squares: 2,
  min: 4,
  max: 5,
  windows: 1,
};
const SUMMARY_UNITS = 6;

/** A summary's panes, and a window of them, behind the last one. */
function summaryOf(
  panes: readonly Pane[],
): ReturnType<typeof memory> & { window: number; answer: () => number[] } {
  const { all, part } = memory(panes.length, SUMMARY_UNITS);
  const window = panes.length * SUMMARY_UNITS;
  panes.forEach((pane, i) => {
    emptySummary(SUMMARY, all.floats, all.ints, i * SUMMARY_UNITS);
    for (const one of pane) updateSummary(SUMMARY, all.floats, all.ints, i * SUMMARY_UNITS, valuesOf(one));
  });
  emptySummary(SUMMARY, all.floats, all.ints, window);
  const answer = (): number[] => [
    all.ints[window * 2 + SUMMARY.count] as number,
    ...all.floats.slice(window + SUMMARY.sum, window + SUMMARY_UNITS),
  ];
  return { all, part, window, answer };
}

function summary(panes: readonly Pane[], newer = panes.length): readonly number[] {
  const { all, part, window, answer } = summaryOf(panes);
  const cut = Math.max(0, panes.length - newer);
  enterSummary(SUMMARY, all.floats, all.ints, window, part(cut, panes.length));
  enterSummary(SUMMARY, all.floats, all.ints, window, part(0, cut));
  return answer();
}

function sketch(
  make: () => PaneSketch,
  parameters: readonly number[],
  values = 1,
  taken: (value: number) => number = (value) => value,
): Aggregate["over"] {
  return (panes) => {
    const one = make();
    const sketches = panes.map((pane) =>
      pane.reduce((at, { value }) => one.update(at, Float64Array.of(taken(value)), 0), 0),
    );
    return parameters.flatMap((parameter) => {
      one.begin();
      for (const at of sketches.toReversed()) one.combine(at);
      const answers = new Float64Array(values);
      one.answer(parameter, answers, 0);
      return [...answers];
    });
  };
}

function register(value: number): number {
  const bytes = new Uint8Array(Float64Array.of(value).buffer);
  return registerOf(bytes, 0, bytes.length);
}

const NOTHING = Number.NaN;
const aggregates: readonly Aggregate[] = [
  {
    name: "count, sum, squares, min and max of whole numbers",
    over: summary,
    ofNothing: [0, 0, 0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
    order: "any",
  },
  {
    name: "last",
    over: algebra(LAST, ([, value]) => [value as number]),
    ofNothing: [NOTHING],
    order: "by time",
  },
  {
    name: "first",
    over: algebra(FIRST, ([, value]) => [value as number]),
    ofNothing: [NOTHING],
    order: "by time",
  },
  {
    name: "newest time",
    over: algebra(NEWEST, ([time]) => [time as number]),
    ofNothing: [Number.NEGATIVE_INFINITY],
    order: "any",
  },
  {
    name: "sum of numbers that are not whole",
    over: algebra(INEXACT_SUM, ([sum]) => [sum as number]),
    ofNothing: [0],
    order: "nearly any",
  },
  {
    name: "mean and spread of numbers that are not whole",
    over: algebra(MOMENTS, (slots) => [...slots]),
    ofNothing: [0, 0, 0],
    order: "nearly any",
  },
  {
    name: "quantiles",
    over: sketch(() => new QuantileSketch(null), [0, 0.5, 0.9, 1]),
    ofNothing: [NOTHING, NOTHING, NOTHING, NOTHING],
    order: "any",
  },
  {
    name: "most frequent",
    over: sketch(() => new TopCounts(null), [3], 3),
    ofNothing: [NOTHING, NOTHING, NOTHING],
    order: "any",
  },
  {
    name: "different values, estimated",
    over: sketch(() => new HyperLogLog(null), [0], 1, register),
    ofNothing: [0],
    order: "any",
  },
];

/** The events in panes of ten, those without any between them, too. */
function split(events: readonly Taken[]): Pane[] {
  const panes: Taken[][] = [];
  for (const event of events) {
    const i = Math.floor(event.time / 10);
    while (panes.length <= i) panes.push([]);
    (panes[i] as Taken[]).push(event);
  }
  return panes;
}

const taken = fc.record({ time: fc.nat(99), value: fc.integer({ min: -50, max: 50 }) });
const log = fc.array(taken, { maxLength: 60 });

describe.each(aggregates)("$name", ({ over, ofNothing, order }) => {
  const same = (found: readonly number[], expected: readonly number[]): void => {
    if (order !== "nearly any") expect(found).toEqual(expected);
    else for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 8);
  };

  it("of nothing", () => {
    expect(over([])).toEqual(ofNothing);
    expect(over([[], []])).toEqual(ofNothing);
  });

  it("of the panes is that of all events together: split equals whole", () => {
    fc.assert(fc.property(log, (events) => same(over(split(events)), over([events]))));
  });

  it("does not depend on how panes are grouped: combining is associative", () => {
    fc.assert(
      fc.property(log, fc.nat(10), (events, newer) => same(over(split(events), newer), over(split(events)))),
    );
  });

  it("is left as it is by panes without events", () => {
    fc.assert(
      fc.property(log, (events) => {
        const panes = split(events);
        expect(over(panes.flatMap((pane) => [[], pane, []]))).toEqual(over(panes));
      }),
    );
  });

  it(`depends on the order of events ${order === "any" ? "not at all" : order === "by time" ? "of one time only" : "in the last digits only"}`, () => {
    const events = fc.uniqueArray(taken, {
      maxLength: 60,
      selector: ({ time, value }) => (order === "by time" ? time : `${time} ${value}`),
    });
    fc.assert(
      fc.property(
        events.chain((list) =>
          fc.tuple(fc.constant(list), fc.shuffledSubarray([...list], { minLength: list.length })),
        ),
        ([list, shuffled]) => same(over(split(shuffled)), over(split(list))),
      ),
    );
  });
});

describe("whole numbers", () => {
  it("can be taken out of a window again, as if they had never been there, or say that they are lost", () => {
    const panes = fc.array(fc.array(taken, { maxLength: 5 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(panes, fc.nat(8), (list, cut) => {
        const left = Math.min(cut, list.length);
        const { all, part, window, answer } = summaryOf(list);
        enterSummary(SUMMARY, all.floats, all.ints, window, part(0, list.length));
        leaveSummary(SUMMARY, all.floats, all.ints, window, part(0, left));
        const expected = summary(list.slice(left));
        answer().forEach((value, i) => {
          // An extreme that leaves does not tell what is left.
          if (Number.isNaN(value)) expect(isLost(SUMMARY, all.floats, window)).toBe(true);
          else expect(value).toBe(expected[i]);
        });
      }),
    );
  });

  it("are lost beyond 2^53, where a sum is not exact any more", () => {
    const large: Taken = { time: 0, value: 2 ** 52 };
    const { all, part, window } = summaryOf([[large], [large]]);
    enterSummary(SUMMARY, all.floats, all.ints, window, part(0, 1));
    expect(isLost(SUMMARY, all.floats, window)).toBe(false);
    enterSummary(SUMMARY, all.floats, all.ints, window, part(1, 2));
    expect(isLost(SUMMARY, all.floats, window)).toBe(true);
  });
});

// ——— as features ———

type Feature = Readonly<Record<string, unknown>>;
const OF_TOLD = { from: "told", by: ["a"], window: "20s", pane: "1s" } as const;
const OF_ASKED = { from: "asked", by: ["a"], window: "20s", pane: "1s" } as const;
const START_MS = Date.UTC(2026, 0, 1);

/** The last of the vectors of events that come a second after the other. */
function lastVector(
  feature: Feature,
  log: readonly { stream: string; data: Readonly<Record<string, string | number | boolean | null>> }[],
): number[] {
  const line = {
    ...everything,
    features: [{ name: "f", decimals: "full", ...feature }],
  } as unknown as typeof everything;
  const engine = new FeatureEngine(compileFeatures(line), null);
  const out = new Float64Array(engine.plan.names.length);
  const rowOf = rowsOf(line);
  log.forEach(({ stream, data }, i) => {
    const row = rowOf({ stream, time: START_MS + i * 1_000, data });
    if (stream === "asked") engine.readAndUpdate(row, out);
    else engine.update(row);
  });
  return [...out];
}

const asked = {
  id: "q",
  at: 0,
  a: "x",
  b: null,
  amount: 1,
  size: null,
  flag: null,
  shop: null,
  colour: "red",
};
const told = (a: string, value: number) => ({
  stream: "told",
  data: { id: "t", at: 0, a, shop: null, value },
});

describe("features of keys and values that are not there", () => {
  it.each<[Feature, readonly number[]]>([
    [{ kind: "window", aggregate: "count", ...OF_TOLD }, [0]],
    [{ kind: "window", aggregate: "share", ...OF_TOLD }, [NOTHING]],
    [{ kind: "window", aggregate: "sum", of: "value", ...OF_TOLD }, [0]],
    [{ kind: "window", aggregate: "mean", of: "value", ...OF_TOLD }, [NOTHING]],
    [{ kind: "window", aggregate: "min", of: "value", ...OF_TOLD }, [NOTHING]],
    [{ kind: "window", aggregate: "max", of: "value", ...OF_TOLD }, [NOTHING]],
    [{ kind: "window", aggregate: "stddev", of: "value", ...OF_TOLD }, [NOTHING]],
    [{ kind: "window", aggregate: "last", of: "value", ...OF_TOLD }, [NOTHING]],
    [{ kind: "window", aggregate: "first", of: "value", ...OF_TOLD }, [NOTHING]],
    [{ kind: "window", aggregate: "since", ...OF_TOLD }, [NOTHING]],
    [{ kind: "window", aggregate: "distinct", of: "value", ...OF_TOLD }, [0]],
    [{ kind: "window", aggregate: "distinct-approx", of: "value", ...OF_TOLD }, [0]],
    [{ kind: "window", aggregate: "top", of: "shop", k: 2, ...OF_TOLD }, [NOTHING, NOTHING]],
    [{ kind: "window", aggregate: "quantile", of: "value", q: 0.5, ...OF_TOLD }, [NOTHING]],
    [{ kind: "rate", from: "told", by: ["a"], halfLife: "12s" }, [0]],
  ])("%j is %j of a key without events", (feature, expected) => {
    const other = [told("y", 1), { stream: "asked", data: asked }];
    expect(lastVector(feature, other)).toEqual(expected);
    // What has left the window was never there, but for rates.
    const gone = [
      told("x", 1),
      ...Array.from({ length: 21 }, () => ({ stream: "asked", data: { ...asked, a: "y" } })),
    ];
    if (feature["kind"] === "window") {
      expect(lastVector(feature, [...gone, { stream: "asked", data: asked }])).toEqual(expected);
    }
  });

  it.each<[Feature, readonly number[]]>([
    [{ kind: "window", aggregate: "count", ...OF_ASKED }, [4]],
    [{ kind: "window", aggregate: "since", ...OF_ASKED }, [1]],
    [{ kind: "window", aggregate: "sum", of: "b", ...OF_ASKED }, [10]],
    [{ kind: "window", aggregate: "mean", of: "b", ...OF_ASKED }, [5]],
    [{ kind: "window", aggregate: "min", of: "b", ...OF_ASKED }, [4]],
    [{ kind: "window", aggregate: "max", of: "b", ...OF_ASKED }, [6]],
    [{ kind: "window", aggregate: "stddev", of: "b", ...OF_ASKED }, [1]],
    [{ kind: "window", aggregate: "last", of: "b", ...OF_ASKED }, [6]],
    [{ kind: "window", aggregate: "first", of: "b", ...OF_ASKED }, [4]],
    [{ kind: "window", aggregate: "distinct", of: "b", ...OF_ASKED }, [2]],
    [{ kind: "window", aggregate: "distinct", of: "shop", ...OF_ASKED }, [0]],
    [{ kind: "window", aggregate: "sum", of: "size", ...OF_ASKED }, [0]],
    [{ kind: "window", aggregate: "mean", of: "size", ...OF_ASKED }, [NOTHING]],
    [{ kind: "window", aggregate: "stddev", of: "size", ...OF_ASKED }, [NOTHING]],
    [{ kind: "window", aggregate: "top", of: "shop", k: 1, ...OF_ASKED }, [NOTHING]],
    [{ kind: "window", aggregate: "count", ...OF_ASKED, where: "b > 4" }, [1]],
    [{ kind: "window", aggregate: "count", ...OF_ASKED, where: "!(b > 4)" }, [1]],
    [{ kind: "window", aggregate: "count", ...OF_ASKED, where: "isnull(b)" }, [2]],
    [{ kind: "window", aggregate: "count", from: "asked", by: ["b"], window: "20s", pane: "1s" }, [NOTHING]],
    [{ kind: "rate", from: "asked", by: ["shop"], halfLife: "12s" }, [NOTHING]],
    [{ kind: "field", field: "b" }, [NOTHING]],
    [{ kind: "expression", value: "b + 1" }, [NOTHING]],
  ])("%j is %j of the values 4, null, 6 and null: what is null does not count", (feature, expected) => {
    const events = [4, null, 6, null].map((b) => ({ stream: "asked", data: { ...asked, b } }));
    expect(lastVector(feature, events)).toEqual(expected);
  });
});
