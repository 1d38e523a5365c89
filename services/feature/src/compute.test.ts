import type { AcceptedEvent, Example, FeatureVector } from "@millrace/contracts";
import flights from "@millrace/line-flights";
import type { StreamRecord } from "@millrace/stream";
import { describe, expect, it } from "vitest";
import { createComputeTask } from "./compute.ts";

const HOUR = 3_600_000;
const START = Date.UTC(2001, 0, 1);

const departure = (n: number, time: number): AcceptedEvent => ({
  id: `f${n}`,
  stream: "departures",
  time,
  data: {
    flight: `f${n}`,
    due: time,
    origin: n % 2 === 0 ? "ATL" : "DFW",
    destination: "ORD",
    distance: 600,
  },
});
const arrival = (n: number, time: number, delay: number): AcceptedEvent => ({
  id: `f${n}`,
  stream: "arrivals",
  time,
  data: { flight: `f${n}`, landed: time, origin: n % 2 === 0 ? "ATL" : "DFW", destination: "ORD", delay },
});

/** Two hundred flights, one every ten minutes, in the air for two hours; every third is late. */
function day(): AcceptedEvent[] {
  const events = Array.from({ length: 200 }, (_, n) => {
    const due = START + n * (HOUR / 6);
    return [departure(n, due), arrival(n, due + 2 * HOUR, n % 3 === 0 ? 40 : 0)];
  }).flat();
  return events.sort((a, b) => a.time - b.time);
}

const toRecord = (event: AcceptedEvent, offset: number): StreamRecord => ({
  topic: "flights.events",
  partition: 0,
  offset,
  timestampMs: 0,
  key: null,
  value: Buffer.from(JSON.stringify(event)),
  headers: {},
});

function run(
  events: readonly AcceptedEvent[],
  restartAt = -1,
  batch = 1,
): { features: FeatureVector[]; examples: Example[] } {
  let task = createComputeTask(flights, "digest", null);
  const features: FeatureVector[] = [];
  const examples: Example[] = [];
  const records = events.map(toRecord);
  for (let i = 0; i < records.length; i += batch) {
    if (i === restartAt) task = createComputeTask(flights, "digest", structuredClone(task.snapshot()));
    void task.process(records.slice(i, i + batch), (_cause, topic, { value }) => {
      const message: unknown = JSON.parse(String(value));
      if (topic === "flights.features") features.push(message as FeatureVector);
      else examples.push(message as Example);
    });
  }
  return { features, examples };
}

describe("compute", () => {
  it("gives one vector per event predicted on and one example per label", () => {
    const { features, examples } = run(day());
    expect(features).toHaveLength(200);
    expect(new Set(features.map((one) => one.id)).size).toBe(200);
    expect(examples).toHaveLength(200);
    const served = new Map(features.map((one) => [one.id, one]));
    for (const example of examples) {
      expect(example.values).toEqual(served.get(example.id)?.values);
      expect(example.knownAt).toBe(example.time + 2 * HOUR);
      expect(example.label).toBe(Number(example.id.slice(1)) % 3 === 0 ? 1 : 0);
    }
  });

  it("gives bit-equal outputs when it goes on from a snapshot", () => {
    expect(run(day(), 123)).toEqual(run(day()));
  });

  it("forgets what waits too long at the same event, whatever the batches and restarts", () => {
    const landed = START + 3 * 24 * HOUR;
    const events = [
      departure(0, START),
      departure(1, START + 60_000),
      departure(2, landed + 30_000),
      arrival(0, landed + 30_000, 40),
      arrival(1, landed + 59_000, 40),
      arrival(2, landed + 61_000, 40),
    ];
    const one = run(events);
    expect(one.examples.map(({ id }) => id)).toEqual(["f0", "f1", "f2"]);
    const minuteLater = [...events.slice(0, 3), arrival(7, landed + 60_000, 0), ...events.slice(3)];
    expect(run(minuteLater).examples.map(({ id }) => id)).toEqual(["f1", "f2"]);
    for (const [restartAt, batch] of [
      [-1, 2],
      [-1, 7],
      [3, 1],
      [4, 2],
      [4, 1],
    ] as const) {
      expect(run(events, restartAt, batch)).toEqual(one);
      expect(run(minuteLater, restartAt, batch)).toEqual(run(minuteLater));
    }
  });

  it("starts windows anew, and keeps its counts, when the feature definition has changed", () => {
    const task = createComputeTask(flights, "old", null);
    void task.process(day().map(toRecord), () => {});
    const changed = createComputeTask(flights, "new", structuredClone(task.snapshot()));
    expect(changed.counts()["features"]).toBe(200);
    expect(changed.engine.newestTime).toBe(0);
  });
});
