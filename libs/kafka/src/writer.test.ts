import { createLog, sleep } from "@millrace/runtime";
import { FencedError, RecordTooLargeError, type Writer } from "@millrace/stream";
import fc from "fast-check";
import { afterEach, expect, it } from "vitest";
import { FakeCluster } from "../test/fake-broker.ts";
import { BuilderPool } from "./builder-pool.ts";
import { Cluster, TopicRecreatedError } from "./cluster.ts";
import { Outbox } from "./outbox.ts";
import { PatienceError } from "./patience.ts";
import { Sender } from "./sender.ts";
import { KafkaError } from "./wire/errors.ts";
import { openWriter } from "./writer.ts";

const HOUR_MS = 3_600_000;
const log = createLog("test", "silent");
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

interface Scene {
  readonly kafka: FakeCluster;
  readonly open: (...topics: string[]) => Promise<Writer>;
  readonly sender: Sender;
  /** Time passes for the writers. */
  age(ms: number): void;
}

async function scene(brokers = 1, patienceMs = 10_000): Promise<Scene> {
  const kafka = await new FakeCluster().start(brokers);
  for (const topic of ["a", "b"]) kafka.addTopic(topic);
  const cluster = new Cluster(kafka.addresses, { clientId: "test", sasl: null, tls: null }, patienceMs);
  let ageMs = 1_000;
  const age = (): number => ageMs;
  const outbox = new Outbox(cluster, log, age);
  const builders = new BuilderPool();
  const now = (): number => 1_764_000_000_000;
  cleanups.push(
    () => kafka.stop(),
    () => cluster.stop(),
    () => outbox.stop(),
  );
  return {
    kafka,
    open: (...topics) => openWriter({ cluster, outbox, builders, now, age }, "step", 0, topics),
    sender: new Sender(cluster, outbox, builders, now),
    age: (ms) => {
      ageMs += ms;
    },
  };
}

function append(writer: Writer, topic: string, from: number, count: number, size = 0): string[] {
  const values = Array.from({ length: count }, (_, i) => String(from + i).padEnd(size, "x"));
  values.forEach((value, i) => {
    writer.append(topic, { key: null, value }, { topic: "in", partition: 0, offset: from + i, index: 0 });
  });
  return values;
}

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "no failure",
    (error: unknown) => error,
  );

it("writes what was appended, each topic's in order, and counts what is not acknowledged", async () => {
  const { kafka, open } = await scene();
  const writer = await open("a", "b");
  const [a, b] = [append(writer, "a", 0, 100), append(writer, "b", 0, 50)];
  expect(writer.pendingBytes).toBeGreaterThan(150 * 10);
  expect(kafka.values("a")).toEqual([]);
  await writer.flush();
  expect([kafka.values("a"), kafka.values("b")]).toEqual([a, b]);
  expect(writer.pendingBytes).toBe(0);
  await writer.flush();
});

it("takes records for the next flush while one is under way, and keeps the order", async () => {
  const { kafka, open } = await scene();
  const writer = await open("a");
  const flushes = [];
  for (let i = 0; i < 20; i++) {
    append(writer, "a", i * 10, 10);
    flushes.push(writer.flush());
  }
  await Promise.all(flushes);
  expect(kafka.values("a")).toEqual(Array.from({ length: 200 }, (_, i) => String(i)));
});

it("writes once what is sent again, whatever happened to it, and in order", async () => {
  const faults = fc.array(fc.constantFrom(3, 5, 6, 7, 19, 20, 2, 56, "lose the acknowledgement" as const), {
    maxLength: 5,
  });
  const { kafka, open } = await scene();
  const writer = await open("a");
  let written = 0;
  await fc.assert(
    fc.asyncProperty(faults, async (refusals) => {
      kafka.refusals.push(...refusals);
      append(writer, "a", written, 10);
      const first = writer.flush();
      append(writer, "a", written + 10, 10);
      await Promise.all([first, writer.flush()]);
      written += 20;
      expect(kafka.values("a")).toEqual(Array.from({ length: written }, (_, i) => String(i)));
    }),
    { numRuns: 8 },
  );
});

it("follows a leader that moves, and waits for one while there is none", async () => {
  const { kafka, open } = await scene(2);
  const writer = await open("a");
  append(writer, "a", 0, 10);
  await writer.flush();
  kafka.addTopic("a", 1);
  append(writer, "a", 10, 10);
  await writer.flush();
  expect(kafka.values("a")).toHaveLength(10);
  kafka.topics.set("a", { ...(kafka.topics.get("a") as { id: string; leader: number }), leader: -1 });
  kafka.refusals.push(6);
  append(writer, "a", 20, 10);
  const flushed = writer.flush();
  await sleep(300);
  kafka.topics.set("a", { ...(kafka.topics.get("a") as { id: string; leader: number }), leader: 0 });
  await flushed;
  expect(kafka.values("a")).toHaveLength(20);
});

it("waits for a broker that is started anew", async () => {
  const { kafka, open } = await scene();
  const writer = await open("a");
  const [broker] = kafka.brokers;
  const port = broker?.port;
  await broker?.stop();
  append(writer, "a", 0, 10);
  const flushed = writer.flush();
  await sleep(300);
  await broker?.start(port);
  await flushed;
  expect(kafka.values("a")).toHaveLength(10);
});

it("cuts batches that are larger than the topic allows, and from then on makes them smaller", async () => {
  const { kafka, open } = await scene();
  kafka.bytesMax = 5_000;
  const writer = await open("a");
  const first = append(writer, "a", 0, 100, 200);
  await writer.flush();
  expect(kafka.values("a")).toEqual(first);
  const asked = kafka.brokers[0]?.asked.length ?? 0;
  const second = append(writer, "a", 100, 100, 200);
  await writer.flush();
  expect(kafka.values("a")).toEqual([...first, ...second]);
  const batches = kafka.log.get("a")?.length ?? 0;
  expect((kafka.brokers[0]?.asked.length ?? 0) - asked).toBeLessThan(batches);
});

it("writes nothing behind a record that is too large, and nothing more", async () => {
  const { kafka, open } = await scene();
  kafka.bytesMax = 2_000;
  const writer = await open("a", "b");
  const before = append(writer, "a", 0, 7);
  append(writer, "a", 7, 1, 3_000);
  append(writer, "a", 8, 7);
  expect(await failure(writer.flush())).toBeInstanceOf(RecordTooLargeError);
  append(writer, "b", 15, 3);
  expect(await failure(writer.flush())).toBeInstanceOf(RecordTooLargeError);
  expect([kafka.values("a"), kafka.values("b")]).toEqual([before, []]);
});

it("ends when another writer of its name was opened", async () => {
  const { kafka, open } = await scene();
  const writer = await open("a");
  kafka.refusals.push(47);
  append(writer, "a", 0, 10);
  expect(await failure(writer.flush())).toBeInstanceOf(FencedError);
  append(writer, "a", 10, 10);
  expect(await failure(writer.flush())).toBeInstanceOf(FencedError);
  expect(kafka.values("a")).toEqual([]);
});

it.each([45, 59, 29, -1])("ends when nobody knows how far it came (code %i)", async (code) => {
  const { kafka, open } = await scene();
  const writer = await open("a");
  kafka.refusals.push(code);
  append(writer, "a", 0, 10);
  expect(await failure(writer.flush())).toMatchObject({ name: "KafkaError", code });
  append(writer, "a", 10, 10);
  expect(await failure(writer.flush())).toBeInstanceOf(KafkaError);
  expect(kafka.values("a")).toEqual([]);
});

it("gives up when its patience is at an end", async () => {
  const { kafka, open } = await scene(1, 400);
  const writer = await open("a");
  kafka.refusals.push(...new Array<number>(100).fill(19));
  append(writer, "a", 0, 10);
  const error = await failure(writer.flush());
  expect(error).toBeInstanceOf(PatienceError);
  expect((error as Error).message).toContain("NOT_ENOUGH_REPLICAS");
});

it("does not write to a topic that was made anew under it", async () => {
  const { kafka, open } = await scene();
  const writer = await open("a");
  kafka.topics.set("a", { id: "f".repeat(32), leader: 0 });
  append(writer, "a", 0, 10);
  expect(await failure(writer.flush())).toBeInstanceOf(TopicRecreatedError);
  expect(kafka.values("a")).toEqual([]);
});

it("opens with an empty transaction that it aborts, then with the next epoch, and knows where the topics end", async () => {
  const { kafka, open } = await scene();
  const first = await open("a");
  expect(kafka.initialized).toEqual([
    { epoch: 0, expected: -1 },
    { epoch: 1, expected: 0 },
  ]);
  append(first, "a", 0, 10);
  await first.flush();
  expect(kafka.log.get("a")?.[0]).toMatchObject({ epoch: 1, sequence: 0 });
  const second = await open("a");
  expect(second.ends).toEqual(new Map([["a", 10]]));
});

it("shows every six hours that it is still the newest of its name, and then counts anew", async () => {
  const { kafka, open, age } = await scene();
  const writer = await open("a");
  append(writer, "a", 0, 10);
  await writer.flush();
  age(5.9 * HOUR_MS);
  append(writer, "a", 10, 10);
  await writer.flush();
  expect(kafka.initialized).toHaveLength(2);
  age(0.2 * HOUR_MS);
  append(writer, "a", 20, 10);
  const flushed = writer.flush();
  append(writer, "a", 30, 10);
  await Promise.all([flushed, writer.flush()]);
  expect(kafka.initialized.at(-1)).toEqual({ epoch: 2, expected: 1 });
  expect(kafka.log.get("a")?.map(({ epoch, sequence }) => [epoch, sequence])).toEqual([
    [1, 0],
    [1, 10],
    [2, 0],
    [2, 10],
  ]);
  expect(kafka.values("a")).toEqual(Array.from({ length: 40 }, (_, i) => String(i)));
});

it("writes nothing more after it slept for days and another was opened", async () => {
  const { kafka, open, age } = await scene();
  const sleeper = await open("a");
  kafka.epoch += 2; // another opened
  age(48 * HOUR_MS);
  append(sleeper, "a", 0, 10);
  expect(await failure(sleeper.flush())).toBeInstanceOf(FencedError);
  expect(kafka.values("a")).toEqual([]);
});

it("does not send again after it slept for days in the middle of sending", async () => {
  const { kafka, open, age } = await scene();
  const sleeper = await open("a");
  kafka.refusals.push(19);
  append(sleeper, "a", 0, 10);
  const flushed = failure(sleeper.flush());
  age(48 * HOUR_MS);
  expect(await flushed).toBeInstanceOf(FencedError);
  expect(kafka.values("a")).toEqual([]);
});

it("drops what is not acknowledged when it is stopped", async () => {
  const { kafka, open } = await scene();
  const writer = await open("a");
  kafka.refusals.push(19);
  append(writer, "a", 0, 10);
  const flushed = failure(writer.flush());
  await writer.stop();
  expect(String(await flushed)).toContain("was stopped");
  expect(String(await failure(writer.flush()))).toContain("was stopped");
  await sleep(300);
  expect(kafka.values("a")).toEqual([]);
});

it("throws when a record is for a topic that it was not opened for", async () => {
  const { open } = await scene();
  const writer = await open("a");
  expect(() => append(writer, "b", 0, 1)).toThrow("was not opened for topic b");
});

it("sends for nobody in particular: once, in order, and after a failure as another producer", async () => {
  const { kafka, sender } = await scene();
  const record = (value: string): { topic: string; partition: number; key: null; value: string } => ({
    topic: "a",
    partition: 0,
    key: null,
    value,
  });
  kafka.refusals.push("lose the acknowledgement");
  await Promise.all([sender.send([record("0"), record("1")]), sender.send([record("2")])]);
  expect(kafka.values("a")).toEqual(["0", "1", "2"]);
  kafka.bytesMax = 500;
  const refused = failure(sender.send([record("x".repeat(600))]));
  await sender.send([record("2b")]);
  expect(await refused).toBeInstanceOf(RecordTooLargeError);
  kafka.refusals.push(45);
  expect(await failure(sender.send([record("lost")]))).toMatchObject({ code: 45 });
  await sender.send([record("3")]);
  expect(kafka.values("a")).toEqual(["0", "1", "2", "2b", "3"]);
  await sender.send([]);
  expect(await failure(sender.send([{ ...record("x"), topic: "missing" }]))).toBeInstanceOf(PatienceError);
}, 20_000);
