import { lineTopic, lineTopics, sourceTopic } from "@millrace/contracts";
import { createComputeTask } from "@millrace/feature";
import { createAcceptStep } from "@millrace/ingest";
import flights from "@millrace/line-flights";
import { sleep } from "@millrace/runtime";
import type { CheckpointStore, OutputRecord, StepDefinition, StreamRecord } from "@millrace/stream";
import { createMemoryBroker, type MemoryBroker, random } from "@millrace/testkit";
import { describe, expect, it } from "vitest";
import { exactLog, type Fates, type Lives, live, throwFailures } from "./lives.ts";

/**
 * Ingest's accept step and feature's compute step on a broker in memory, killed again and again at chosen points,
 * and with zombies, against a clean run: the same rejections, vectors and examples, each once in the log (I1, I2, I7).
 */

const FLIGHTS = 300;
const CHUNK = 50;
const PRODUCED_MS = Date.UTC(2001, 0, 2);
const SETTLE_MS = 20_000;
const SEEDS = Number(process.env["MILLRACE_SIMULATION_SEEDS"] ?? 15);
const DIGEST = "0".repeat(64);

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
    .map(({ topic, value }) => ({ topic, partition: 0, key: "k", value }));
}

const accept = (checkpoints: CheckpointStore): StepDefinition => ({
  ...createAcceptStep(flights, checkpoints, { count: () => {} }).definition,
  checkpointEveryMs: 0,
  recordsMax: 20,
});

const compute = (checkpoints: CheckpointStore): StepDefinition => ({
  name: "flights.compute",
  topics: [lineTopic("flights", "events")],
  outputs: [lineTopic("flights", "features"), lineTopic("flights", "examples")],
  checkpoints,
  checkpointEveryMs: 0,
  recordsMax: 20,
  createTask: (_partition, snapshot) => createComputeTask(flights, DIGEST, snapshot as never),
});

interface Outcome {
  readonly accepted: readonly StreamRecord[];
  readonly rejected: readonly string[];
  readonly features: readonly string[];
  readonly examples: readonly string[];
  readonly crashes: number;
  readonly zombies: number;
}

/** Throws when the log is not exact. */
async function run(seed: number, fates: Fates): Promise<Outcome> {
  // The records' own clock: later than any event, and rising, so that the topics are merged as they were written.
  let nowMs = PRODUCED_MS;
  const broker = createMemoryBroker(() => nowMs++);
  await broker.ensureTopics(
    [...lineTopics("flights"), ...Object.values(flights.streams).map((s) => sourceTopic(s.topic))],
    1,
  );
  const draw = random(seed * 7_919 + 1);
  const records = produced(seed);
  const steps = [accept, compute].map((define) => live(broker, define, draw, fates));
  try {
    // Writing in portions keeps the two topics advancing together, as a real producer does.
    for (let i = 0; i < records.length; i += CHUNK) {
      broker.write(records.slice(i, i + CHUNK));
      await sleep(4);
    }
    for (const step of steps) step.spare();
    await settle(broker, steps, records.length);
  } finally {
    await Promise.all(steps.map((step) => step.stop()));
  }
  throwFailures(steps);
  for (const kind of ["events", "rejected", "features", "examples"] as const) {
    exactLog(broker, lineTopic("flights", kind));
  }
  return {
    accepted: broker.records("flights.events"),
    rejected: broker.records("flights.rejected").map(textOf),
    features: broker.records("flights.features").map(contentOf),
    examples: broker.records("flights.examples").map(contentOf),
    crashes: steps.reduce((sum, step) => sum + step.crashes(), 0),
    zombies: steps.reduce((sum, step) => sum + step.zombies(), 0),
  };
}

/** Until every record sent is accepted or rejected, and what was accepted is computed. */
async function settle(broker: MemoryBroker, steps: readonly Lives[], sent: number): Promise<void> {
  const count = (topic: string): number => broker.records(`flights.${topic}`).length;
  for (const endMs = Date.now() + SETTLE_MS; ; await sleep(5)) {
    const settled = count("events") + count("rejected");
    const wanted = computed(broker.records("flights.events"));
    const isComputed =
      count("features") >= wanted.features.length && count("examples") >= wanted.examples.length;
    if (settled >= sent && isComputed) return;
    if (steps.some((step) => step.failures().length > 0)) return;
    if (Date.now() > endMs)
      throw new Error(`not settled: ${settled} of ${sent}, ${count("features")} vectors`);
  }
}

/** Key and value, each in a form that shows every byte. */
const contentOf = ({ key, value }: Pick<OutputRecord, "key" | "value">): string =>
  [key, value].map((one) => Buffer.from((one ?? "") as Uint8Array).toString("latin1")).join("\n");
const textOf = ({ value }: StreamRecord): string => Buffer.from(value as Uint8Array).toString();

/** What a clean replay of the accepted events gives (I7). */
function computed(accepted: readonly StreamRecord[]): { features: string[]; examples: string[] } {
  const found: Record<string, string[]> = { "flights.features": [], "flights.examples": [] };
  const task = createComputeTask(flights, DIGEST, null);
  void task.process(accepted, (_cause, topic, output) => found[topic]?.push(contentOf(output)));
  return { features: found["flights.features"] as string[], examples: found["flights.examples"] as string[] };
}

describe("kill and restart", () => {
  it.each<[string, number]>([
    ["crashes", 0],
    ["crashes and zombies", 0.5],
  ])(`gives the outcome of a clean run over %s, for ${SEEDS} seeds`, async (_what, zombies) => {
    const counts = { crashes: 0, zombies: 0 };
    for (let seed = 1; seed <= SEEDS; seed++) {
      const at = `seed ${seed}`;
      const clean = await run(seed, { killing: false, zombies: 0 });
      const killed = await run(seed, { killing: true, zombies });
      counts.crashes += killed.crashes;
      counts.zombies += killed.zombies;
      expect(killed.accepted.map(textOf).toSorted(), at).toEqual(clean.accepted.map(textOf).toSorted());
      expect(killed.rejected.toSorted(), at).toEqual(clean.rejected.toSorted());
      expect(killed.features.length, at).toBeGreaterThan(FLIGHTS / 2);
      expect(killed.accepted.length + killed.rejected.length, at).toBe(produced(seed).length);
      expect({ features: killed.features, examples: killed.examples }, at).toEqual(computed(killed.accepted));
    }
    expect(counts.crashes).toBeGreaterThan(SEEDS * (zombies > 0 ? 1 : 3));
    if (zombies > 0) expect(counts.zombies).toBeGreaterThan(SEEDS);
    process.stdout.write(`simulation: ${SEEDS} seeds, ${JSON.stringify(counts)}, 0 lost, 0 twice\n`);
  });
});
