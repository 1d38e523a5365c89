import type { Example, FeatureVector } from "@millrace/contracts";
import { HEADERS, lineTopic, lineTopics, parsePosition, sourceTopic } from "@millrace/contracts";
import { createComputeTask } from "@millrace/feature";
import { createAcceptStep } from "@millrace/ingest";
import flights from "@millrace/line-flights";
import { createLog, sleep } from "@millrace/runtime";
import {
  type CheckpointStore,
  headerText,
  type OutputRecord,
  type RunningStep,
  Seen,
  type StepDefinition,
  startStep,
} from "@millrace/stream";
import {
  CRASH_POINTS,
  createMemoryBroker,
  type MemoryBroker,
  memoryCheckpoints,
  mortal,
  random,
} from "@millrace/testkit";
import { describe, expect, it } from "vitest";

/**
 * Ingest's accept step and feature's compute step on a broker in memory, killed again and again at chosen points
 * and started anew, against a clean run: the same rejections, vectors and examples, each once (I1, I2, I7).
 */

const log = createLog("simulation", "silent");
const FLIGHTS = 300;
const SEEDS = Number(process.env["MILLRACE_SIMULATION_SEEDS"] ?? 15);

/** Departures and arrivals in event-time order, with some bad records and repeated ids among them. */
function produced(seed: number): OutputRecord[] {
  const next = random(seed);
  const records: { time: number; topic: string; value: string }[] = [];
  for (let i = 0; i < FLIGHTS; i++) {
    const due = Date.UTC(2001, 0, 1) + Math.floor(next() * 10 * 3_600_000);
    const [origin, destination] = [
      ["ATL", "ORD", "DFW"][Math.floor(next() * 3)],
      ["SEA", "JFK"][Math.floor(next() * 2)],
    ];
    const landed = due + Math.floor(next() * 4 * 3_600_000);
    const departure = JSON.stringify({ flight: `f${i}`, due, origin, destination, distance: 500 });
    const arrival = JSON.stringify({
      flight: `f${i}`,
      landed,
      origin,
      destination,
      delay: Math.floor(next() * 40),
    });
    records.push({ time: due, topic: "flights.departures", value: departure });
    if (next() < 0.05) records.push({ time: due + 1, topic: "flights.departures", value: departure });
    if (next() < 0.05) records.push({ time: due + 2, topic: "flights.departures", value: '{"flight":' });
    if (next() < 0.97) records.push({ time: landed, topic: "flights.arrivals", value: arrival });
  }
  return records
    .sort((a, b) => a.time - b.time)
    .map(({ topic, value }) => ({ topic, partition: 0, key: "k", value, headers: {} }));
}

interface Outcome {
  readonly accepted: readonly string[];
  readonly rejected: readonly string[];
  readonly features: readonly string[];
  readonly examples: readonly string[];
  readonly crashes: number;
}

async function run(seed: number, killing: boolean): Promise<Outcome> {
  const broker = createMemoryBroker();
  await broker.ensureTopics(
    [...lineTopics("flights"), ...Object.values(flights.streams).map((s) => sourceTopic(s.topic))],
    1,
  );
  const next = random(seed * 7_919 + 1);
  const records = produced(seed);
  const steps = [
    (checkpoints: CheckpointStore): StepDefinition => ({
      ...createAcceptStep(flights, checkpoints, { count: () => {} }).definition,
      checkpointEveryMs: 0,
      recordsMax: 20,
    }),
    (checkpoints: CheckpointStore): StepDefinition => ({
      name: "flights.compute",
      topics: [lineTopic("flights", "events")],
      checkpoints,
      checkpointEveryMs: 0,
      recordsMax: 20,
      createTask: (_partition, snapshot) => createComputeTask(flights, "digest", snapshot),
    }),
  ];
  let crashes = 0;
  const living = await Promise.all(
    steps.map(async (define) => {
      const checkpoints = memoryCheckpoints();
      let step: RunningStep;
      const start = async (): Promise<void> => {
        const point = CRASH_POINTS[Math.floor(next() * CRASH_POINTS.length)] as (typeof CRASH_POINTS)[number];
        const after = killing ? 1 + Math.floor(next() * 4) : Number.POSITIVE_INFINITY;
        const life = mortal(broker, checkpoints, point, after, () => sleep(next() * 3));
        step = await startStep(define(life.checkpoints), {
          broker: life.broker,
          clock: { now: () => Date.now() },
          log,
          fail: (error) => {
            if (!life.dead()) throw error;
          },
        });
        reviving = (async () => {
          while (!life.dead() && !done) await sleep(1);
          if (!life.dead()) return;
          crashes++;
          await step.stop();
          if (!done) await start();
        })();
      };
      let done = false;
      let reviving: Promise<void> = Promise.resolve();
      await start();
      return {
        lag: () => step.lag(),
        stop: async () => {
          done = true;
          let last: Promise<void>;
          do {
            last = reviving;
            await last;
          } while (last !== reviving);
          await step.stop();
        },
      };
    }),
  );
  // Writing in portions keeps the two topics advancing together, as a real producer does.
  for (let i = 0; i < records.length; i += 50) {
    broker.write(records.slice(i, i + 50));
    await settle(broker, i + 50 >= records.length ? records.length : 0);
  }
  await Promise.all(living.map((one) => one.stop()));
  return {
    accepted: read(broker, "flights.events"),
    rejected: read(broker, "flights.rejected"),
    features: read(broker, "flights.features"),
    examples: read(broker, "flights.examples"),
    crashes,
  };
}

/** Lets the steps work; with `expected`, until every record sent has been accepted or rejected and is computed. */
async function settle(broker: MemoryBroker, expected: number): Promise<void> {
  if (expected === 0) return sleep(2);
  const end = Date.now() + 20_000;
  for (;;) {
    await sleep(5);
    const accepted = read(broker, "flights.events");
    const departures = accepted.filter((value) => value.includes('"departures"')).length;
    const labels = accepted.length - departures;
    const settled = accepted.length + read(broker, "flights.rejected").length;
    const computed = read(broker, "flights.features").length + read(broker, "flights.examples").length;
    if (settled === expected && computed === departures + labels) return;
    if (Date.now() > end) throw new Error(`not settled: ${settled} of ${expected}, ${computed} computed`);
  }
}

/** The values of a topic as its readers see them: repetitions dropped. */
function read(broker: MemoryBroker, topic: string): string[] {
  const seen = new Seen();
  return broker
    .records(topic)
    .filter((record) => seen.advance(parsePosition(headerText(record, HEADERS.source) as string) as never))
    .map((record) => Buffer.from(record.value as Uint8Array).toString());
}

describe("kill and restart", () => {
  it(`gives the outcome of a clean run for ${SEEDS} seeds`, async () => {
    let crashes = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const [clean, killed] = [await run(seed, false), await run(seed, true)];
      crashes += killed.crashes;
      const at = `seed ${seed}`;
      expect(new Set(killed.accepted), at).toEqual(new Set(clean.accepted));
      expect([...killed.rejected].sort(), at).toEqual([...clean.rejected].sort());
      expect(killed.accepted.length + killed.rejected.length, at).toBe(produced(seed).length);
      const ids = killed.features.map((value) => (JSON.parse(value) as FeatureVector).id);
      expect(new Set(ids).size, at).toBe(ids.length);
      const labelled = killed.examples.map((value) => (JSON.parse(value) as Example).id);
      expect(new Set(labelled).size, at).toBe(labelled.length);
      expect([...killed.features], at).toEqual(vectorsOf(killed.accepted));
    }
    expect(crashes).toBeGreaterThan(SEEDS * 3);
    process.stdout.write(`simulation: ${SEEDS} seeds, ${crashes} crashes, 0 lost, 0 twice\n`);
  });
});

/** The vectors that a clean replay of the accepted events gives (I7). */
function vectorsOf(accepted: readonly string[]): string[] {
  const task = createComputeTask(flights, "digest", null);
  const vectors: string[] = [];
  accepted.forEach((value, offset) => {
    const record = {
      topic: "flights.events",
      partition: 0,
      offset,
      timestampMs: 0,
      key: null,
      value: Buffer.from(value),
      headers: {},
    };
    void task.process([record], (_cause, topic, output) => {
      if (topic === "flights.features") vectors.push(String(output.value));
    });
  });
  return vectors;
}
