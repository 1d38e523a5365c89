import type { AcceptedEvent } from "@millrace/contracts";
import { FeatureEngine, isPositive, PANES_PER_SHORTEST_WINDOW } from "@millrace/features";
import flights from "@millrace/line-flights";
import { checkedDurationMs, type FeatureDefinition } from "@millrace/lines";
import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import { flightEvents } from "../flight-events.ts";

const FLIGHTS = 60_000;
/** The naive way is measured on some vectors of the last third, where its windows are full. */
const NAIVE_EVERY = 200;
const RUNS = 3;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

type WindowFeature = Extract<FeatureDefinition, { kind: "window" }>;

const windows: readonly WindowFeature[] = flights.features.flatMap((feature) =>
  feature.kind === "window" ? feature : [],
);
const windowsMs = windows.map((feature) => checkedDurationMs(feature.window));
const PANE_MS = Math.min(...windowsMs) / PANES_PER_SHORTEST_WINDOW;

/**
 * The definition of a vector, written down naively: every aggregate anew from the events in its window. `history`
 * holds what the windows count, in event-time order.
 */
function naiveVector(event: AcceptedEvent, history: readonly AcceptedEvent[]): (number | null)[] {
  const until = firstAfter(history, event.time);
  return flights.features.map((feature) => {
    switch (feature.kind) {
      case "field":
        return Number(event.data[feature.field]);
      case "hour":
        return Math.floor(Number(event.data[feature.of]) / HOUR_MS) % 24;
      case "weekday":
        return (Math.floor(Number(event.data[feature.of]) / DAY_MS) + 4) % 7;
      case "window": {
        const panes = checkedDurationMs(feature.window) / PANE_MS;
        const from = (Math.floor(event.time / PANE_MS) - panes + 1) * PANE_MS;
        const counted = history
          .slice(firstAfter(history, from - 1), until)
          .filter((one) => feature.by.every((field) => one.data[field] === event.data[field]));
        return rounded(aggregate(feature, counted));
      }
    }
  });
}

/** Index of the first event later than `time`. */
function firstAfter(events: readonly AcceptedEvent[], time: number): number {
  let [low, high] = [0, events.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((events[middle] as AcceptedEvent).time <= time) low = middle + 1;
    else high = middle;
  }
  return low;
}

function aggregate({ aggregate: kind, of }: WindowFeature, events: readonly AcceptedEvent[]): number | null {
  const sum = (): number => events.reduce((total, one) => total + Number(one.data[of as string]), 0);
  if (kind === "count") return events.length;
  if (kind === "sum") return sum();
  if (events.length === 0) return null;
  return kind === "mean"
    ? sum() / events.length
    : events.filter((one) => isPositive(flights, one)).length / events.length;
}

function rounded(value: number | null): number | null {
  return value === null ? null : Math.round(value * 1e6) / 1e6;
}

interface Pass {
  readonly perSecond: number;
  readonly vectors: ReadonlyMap<string, readonly (number | null)[]>;
}

/** Every vector of the stream, as the feature service computes them. */
function enginePass(events: readonly AcceptedEvent[]): Pass {
  const vectors = new Map<string, readonly (number | null)[]>();
  const engine = new FeatureEngine(flights, null);
  const startedAt = performance.now();
  for (const event of events) {
    if (event.stream === flights.predict.on) vectors.set(event.id, engine.vector(event));
    else engine.observe(event);
  }
  return { perSecond: vectors.size / ((performance.now() - startedAt) / 1_000), vectors };
}

/** Some of the same vectors, each from the events in its windows. */
async function naivePass(events: readonly AcceptedEvent[], { stop }: Context): Promise<Pass> {
  const history = events.filter((event) => event.stream === windows[0]?.from);
  const asked = events.filter(
    (event, i) =>
      event.stream === flights.predict.on && i >= (2 * events.length) / 3 && i % NAIVE_EVERY === 0,
  );
  const vectors = new Map<string, readonly (number | null)[]>();
  let spentMs = 0;
  for (const event of asked) {
    const startedAt = performance.now();
    vectors.set(event.id, naiveVector(event, history));
    spentMs += performance.now() - startedAt;
    await new Promise(setImmediate); // lets Ctrl-C and the time limit through
    stop.throwIfAborted();
  }
  return { perSecond: vectors.size / (spentMs / 1_000), vectors };
}

async function run(context: Context): Promise<Measurement> {
  const events = flightEvents(FLIGHTS);
  const naive = await naivePass(events, context);
  context.say(`naive     ${Math.round(naive.perSecond)} vectors/s over ${naive.vectors.size} vectors`);
  const passes: Pass[] = [];
  for (let i = 0; i < RUNS; i++) {
    const pass = enginePass(events);
    context.say(`engine    ${Math.round(pass.perSecond)} vectors/s over ${pass.vectors.size} vectors`);
    passes.push(pass);
    await new Promise(setImmediate);
    context.stop.throwIfAborted();
  }
  const differing = [...naive.vectors].filter(
    ([id, vector]) => JSON.stringify(vector) !== JSON.stringify(passes[0]?.vectors.get(id)),
  );
  return {
    value: median(passes.map(({ perSecond }) => perSecond)),
    baseline: naive.perSecond,
    faults: differing.length === 0 ? [] : [`${differing.length} vectors differ from the naive ones`],
    parts: {
      events: events.length,
      features: flights.features.length,
      vectorsCompared: naive.vectors.size,
      vectorsPerSecond: passes.map(({ perSecond }) => Math.round(perSecond)),
    },
  };
}

const claim: Claim = {
  name: "features",
  statement:
    "One thread computes the feature vectors of the flights line at least 20 times faster than recomputing each " +
    "from the events in its windows, and gets the same vectors.",
  unit: "vectors/s",
  target: { atLeastTimesBaseline: 20 },
  limitSeconds: 120,
  run,
};
export default claim;
