import type { AcceptedEvent } from "@millrace/contracts";
import { defineLine, type LineDefinition } from "@millrace/lines";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FeatureEngine, PANES_PER_SHORTEST_WINDOW } from "./index.ts";

const HOUR = 3_600_000;
const PANE = HOUR / PANES_PER_SHORTEST_WINDOW;

const line: LineDefinition = defineLine({
  name: "test",
  title: "Test",
  streams: {
    asked: {
      topic: "asked",
      id: "id",
      time: "at",
      key: ["a"],
      fields: {
        id: { type: "text" },
        at: { type: "time" },
        a: { type: "category" },
        b: { type: "category" },
      },
    },
    told: {
      topic: "told",
      id: "id",
      time: "at",
      key: ["a"],
      fields: {
        id: { type: "text" },
        at: { type: "time" },
        a: { type: "category" },
        b: { type: "category" },
        value: { type: "integer" },
      },
    },
  },
  predict: { on: "asked" },
  label: { name: "high", from: "told", match: "id", positive: { field: "value", above: 5 }, waitFor: "1d" },
  features: {
    hour: { kind: "hour", of: "at" },
    weekday: { kind: "weekday", of: "at" },
    count_1h: { kind: "window", aggregate: "count", from: "told", by: ["a"], window: "1h" },
    share_3h: { kind: "window", aggregate: "share", from: "told", by: ["a"], window: "3h" },
    mean_3h: { kind: "window", aggregate: "mean", of: "value", from: "told", by: ["a", "b"], window: "3h" },
    sum_all: { kind: "window", aggregate: "sum", of: "value", from: "told", by: [], window: "9h" },
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

type Told = { time: number; a: string; b: string; value: number };

const told = ({ time, a, b, value }: Told, id = "x"): AcceptedEvent => ({
  id,
  stream: "told",
  time,
  data: { id, at: time, a, b, value },
});
const asked = (time: number, a: string, b: string): AcceptedEvent => ({
  id: "y",
  stream: "asked",
  time,
  data: { id: "y", at: time, a, b },
});

/** The definition of the windows, written down naively: which events count for a vector at `time`. */
function oracle(events: readonly Told[], time: number, a: string, b: string): (number | null)[] {
  const pane = (ms: number): number => Math.floor(ms / PANE);
  const inWindow = (hours: number, match: (event: Told) => boolean): Told[] =>
    events.filter(
      (one) =>
        one.time <= time && pane(one.time) > pane(time) - hours * PANES_PER_SHORTEST_WINDOW && match(one),
    );
  const one = inWindow(1, (event) => event.a === a);
  const three = inWindow(3, (event) => event.a === a);
  const both = inWindow(3, (event) => event.a === a && event.b === b);
  const all = inWindow(9, () => true);
  const sum = (list: readonly Told[]): number => list.reduce((total, event) => total + event.value, 0);
  const round = (value: number): number => Math.round(value * 1e6) / 1e6;
  return [
    new Date(time).getUTCHours(),
    new Date(time).getUTCDay(),
    one.length,
    three.length === 0 ? null : round(three.filter((event) => event.value > 5).length / three.length),
    both.length === 0 ? null : round(sum(both) / both.length),
    sum(all),
  ];
}

const event = fc.record({
  time: fc.integer({ min: 0, max: 24 * HOUR }),
  a: fc.constantFrom("p", "q"),
  b: fc.constantFrom("r", "s"),
  value: fc.integer({ min: -10, max: 20 }),
});

describe("feature engine", () => {
  it("equals the naive oracle for events in order, taken in before the vector or not", () => {
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 60 }),
        fc.array(event, { minLength: 1, maxLength: 8 }),
        (events, questions) => {
          const engine = new FeatureEngine(line, null);
          const times = [...questions].sort((x, y) => x.time - y.time);
          for (const one of events) engine.observe(told(one));
          for (const { time, a, b } of times)
            expect(engine.vector(asked(time, a, b))).toEqual(oracle(events, time, a, b));
        },
      ),
    );
  });

  it("answers an online request as the stream would, and leaves no trace", () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), event, event, (events, first, second) => {
        const [early, late] = first.time <= second.time ? [first, second] : [second, first];
        const engine = new FeatureEngine(line, null);
        for (const one of events) engine.observe(told(one));
        engine.vector(asked(early.time, early.a, early.b));
        const peeked = engine.peek(asked(late.time, late.a, late.b).data, late.time);
        expect(peeked).toEqual(engine.vector(asked(late.time, late.a, late.b)));
      }),
    );
  });

  it("never looks ahead: what comes later changes no vector, for late questions too (F1)", () => {
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 30 }),
        fc.array(event, { minLength: 2, maxLength: 6 }),
        event,
        (events, questions, future) => {
          const vectors = (extra: readonly Told[]): unknown[] => {
            const engine = new FeatureEngine(line, null);
            for (const one of [...events, ...extra]) engine.observe(told(one));
            return questions.map(({ time, a, b }) =>
              time < future.time ? engine.vector(asked(time, a, b)) : engine.newestTime,
            );
          };
          const without = vectors([]);
          const withFuture = vectors([{ ...future, time: 25 * HOUR }]);
          expect(withFuture).toEqual(without);
        },
      ),
    );
  });

  it("goes on from a snapshot as if nothing had happened (F2)", () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 2, maxLength: 60 }), fc.nat(), (events, cut) => {
        const run = (restart: boolean): unknown[] => {
          let engine = new FeatureEngine(line, null);
          return events.map((one, i) => {
            if (restart && i === cut % events.length)
              engine = new FeatureEngine(line, structuredClone(engine.snapshot()));
            engine.observe(told(one));
            return engine.vector(asked(one.time, one.a, one.b));
          });
        };
        expect(run(true)).toEqual(run(false));
      }),
    );
  });

  it("forgets what no window reaches, so that memory is bounded by the keys alive", () => {
    const engine = new FeatureEngine(line, null);
    for (let hour = 0; hour < 1_000; hour++) {
      engine.observe(told({ time: hour * HOUR, a: `key-${hour}`, b: "r", value: 1 }));
      engine.vector(asked(hour * HOUR, "p", "r"));
    }
    expect(engine.snapshot().tables[0]?.keys.length).toBeLessThan(20);
  });
});
