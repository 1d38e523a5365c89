import type { AcceptedEvent, Example, FeatureVector } from "@millrace/contracts";
import { readVector } from "@millrace/contracts";
import flights from "@millrace/line-flights";
import { defineLine, type LineDefinition } from "@millrace/lines";
import type { StreamRecord } from "@millrace/stream";
import { memoryRecord } from "@millrace/testkit";
import { describe, expect, it } from "vitest";
import { createComputeTask } from "./compute.ts";

const DIGEST = "ab".repeat(32);
const HOUR = 3_600_000;
const START = Date.UTC(2001, 0, 1);

/** A line of features only, on one stream: the producer's topic is its event log. */
const payments: LineDefinition = defineLine({
  name: "payments",
  title: "Payments",
  streams: {
    payments: {
      topic: "payments",
      id: "id",
      time: "at",
      key: ["account"],
      fields: {
        id: { type: "text" },
        at: { type: "time" },
        account: { type: "category" },
        amount: { type: "decimal", scale: 2 },
      },
    },
  },
  predict: { on: "payments" },
  features: {
    count_1h: { kind: "window", aggregate: "count", from: "payments", by: ["account"], window: "1h" },
    sum_1h: {
      kind: "window",
      aggregate: "sum",
      of: "amount",
      from: "payments",
      by: ["account"],
      window: "1h",
    },
  },
});

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

const toRecord = (event: AcceptedEvent, offset: number): StreamRecord =>
  memoryRecord({
    topic: "flights.events",
    offset,
    timestampMs: event.time + 500,
    value: JSON.stringify(event),
  });

function run(
  line: LineDefinition,
  records: readonly StreamRecord[],
  restartAt = -1,
  batch = 1,
): { features: FeatureVector[]; examples: Example[] } {
  let task = createComputeTask(line, DIGEST, null);
  const features: FeatureVector[] = [];
  const examples: Example[] = [];
  for (let i = 0; i < records.length; i += batch) {
    if (i === restartAt) task = createComputeTask(line, DIGEST, structuredClone(task.snapshot()));
    void task.process(records.slice(i, i + batch), (_cause, topic, { value }) => {
      const bytes = Buffer.from(value as Uint8Array);
      if (topic.endsWith(".features")) features.push(readVector(bytes) as FeatureVector);
      else examples.push(JSON.parse(bytes.toString()) as Example);
    });
  }
  return { features, examples };
}

describe("compute", () => {
  const records = day().map(toRecord);

  it("gives one vector per event predicted on and one example per label", () => {
    const { features, examples } = run(flights, records);
    expect(features).toHaveLength(200);
    expect(new Set(features.map((one) => one.id)).size).toBe(200);
    expect(examples).toHaveLength(200);
    const served = new Map(features.map((one) => [one.id, one]));
    for (const example of examples) {
      expect(example.values).toEqual(served.get(example.id)?.values);
      expect(example.knownAt).toBe(example.time + 2 * HOUR);
      expect(example.vectorAcceptedAtMs).toBe(example.time + 500);
      expect(example.labelAcceptedAtMs).toBe(example.knownAt + 500);
      expect(example.label).toBe(Number(example.id.slice(1)) % 3 === 0 ? 1 : 0);
    }
  });

  it("gives bit-equal outputs whatever the batches, and when it goes on from a snapshot (C1)", () => {
    const whole = run(flights, records);
    for (const [restartAt, batch] of [
      [123, 1],
      [-1, 7],
      [140, 7],
      [0, 400],
    ] as const) {
      expect(run(flights, records, restartAt, batch)).toEqual(whole);
    }
  });

  it("passes over what is no accepted event of the line", () => {
    const odd = ["{", "null", '{"id":"x","stream":"unknown","time":1,"data":{}}'].map((value, i) =>
      memoryRecord({ topic: "flights.events", offset: 1_000 + i, value }),
    );
    const none = memoryRecord({ topic: "flights.events", offset: 2_000, value: null });
    expect(run(flights, [...records, ...odd, none])).toEqual(run(flights, records));
  });

  it("accepts for itself where the producer's topic is the event log: duplicates and wrong records count for nothing", () => {
    const payment = (id: string, amount: unknown, offset: number): StreamRecord =>
      memoryRecord({
        topic: "payments",
        offset,
        timestampMs: START + offset,
        value: JSON.stringify({ id, at: START + offset, account: "a", amount }),
      });
    const good = [payment("p1", 1.25, 0), payment("p2", 2.5, 1), payment("p3", 0.25, 2)];
    const { features, examples } = run(payments, good);
    expect(features.map(({ values }) => values)).toEqual([
      [1, 1.25],
      [2, 3.75],
      [3, 4],
    ]);
    expect(examples).toEqual([]);
    const bad = [payment("p1", 9, 3), payment("p4", "much", 4), payment("p5", 0.125, 5)];
    expect(run(payments, [...good, ...bad])).toEqual({ features, examples });
    for (const batch of [1, 2, 3])
      expect(run(payments, [...good, ...bad], 3, batch).features).toEqual(features);
  });
});
