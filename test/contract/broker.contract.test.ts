import { HEADERS } from "@millrace/contracts";
import { createKafkaBroker } from "@millrace/kafka";
import { startTestServers } from "@millrace/local";
import { createLog, sleep } from "@millrace/runtime";
import {
  type Batch,
  type Broker,
  type Consumption,
  FencedError,
  headerText,
  type OutputRecord,
  passingMember,
  RecordTooLargeError,
  type StreamRecord,
  type Writer,
} from "@millrace/stream";
import { createMemoryBroker, readTopic } from "@millrace/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

/** One promise, kept by the broker in memory and by the client of a real Kafka. */
interface Scene {
  readonly broker: Broker;
  /** A second process's view of the same broker. */
  readonly other: () => Broker;
  /** Kills the broker process, whose supervisor starts it anew; null where there is none. */
  readonly killBroker: (() => void) | null;
  stop(): Promise<void>;
}

const log = createLog("test", "silent");

async function memoryScene(): Promise<Scene> {
  const broker = createMemoryBroker();
  return { broker, other: () => broker, killBroker: null, stop: async () => {} };
}

async function kafkaScene(): Promise<Scene> {
  const servers = await startTestServers({ kafka: true });
  const { brokers, username, password } = servers.kafka;
  const sasl = username === undefined || password === undefined ? null : { username, password };
  const opened: Broker[] = [];
  const open = (): Broker => {
    const broker = createKafkaBroker({ clientId: "test", brokers: brokers.split(","), sasl, log });
    opened.push(broker);
    return broker;
  };
  return {
    broker: open(),
    other: open,
    killBroker: () => {
      const kafka = servers.status().find((one) => one.name === "kafka");
      process.kill(kafka?.pid as number, "SIGKILL");
    },
    stop: async () => {
      await Promise.all(opened.map((broker) => broker.stop()));
      await servers.stop();
    },
  };
}

let topics = 0;

async function createTopic(
  broker: Broker,
  partitions = 1,
  config: Record<string, string> = {},
): Promise<string> {
  const name = `topic-${++topics}`;
  await broker.ensureTopics([{ name, key: "", owner: "", readers: [], config }], partitions);
  return name;
}

const record = (topic: string, value: string, partition = 0): OutputRecord => ({
  topic,
  partition,
  key: "k",
  value,
  headers: { h: value },
});

const send = (broker: Broker, topic: string, values: readonly string[], partition = 0): Promise<void> =>
  broker.send(values.map((value) => record(topic, value, partition)));

const textOf = ({ value }: Pick<StreamRecord, "value">): string => Buffer.from(value ?? []).toString();
const valuesOf = async (broker: Broker, topic: string): Promise<string[]> =>
  (await readTopic(broker, topic)).map(textOf);

interface Reader {
  readonly values: string[];
  readonly records: StreamRecord[];
  readonly batches: Batch[];
  /** `+p` where partition p was assigned, `-p` where it was revoked. */
  readonly moves: string[];
  owned(): number[];
  readonly consumption: Consumption;
}

async function read(
  broker: Broker,
  topic: string,
  options: { from?: number; group?: string; onBatch?: (batch: Batch) => Promise<void> } = {},
): Promise<Reader> {
  const records: StreamRecord[] = [];
  const values: string[] = [];
  const batches: Batch[] = [];
  const moves: string[] = [];
  const owned = new Set<number>();
  const consumption = await broker.consume({
    group: options.group ?? `group-${Math.random()}`,
    topics: [topic],
    member: passingMember(),
    onAssigned: async (partition) => {
      moves.push(`+${partition}`);
      owned.add(partition);
      return new Map([[topic, options.from ?? null]]);
    },
    onRevoked: async (partition) => {
      moves.push(`-${partition}`);
      owned.delete(partition);
    },
    onBatch: async (batch) => {
      await options.onBatch?.(batch);
      if (!owned.has(batch.partition)) throw new Error(`a batch of partition ${batch.partition}, not owned`);
      batches.push(batch);
      for (const one of batch.records) {
        records.push(one);
        values.push(textOf(one));
      }
    },
    onFailed: (error) => log.error({ err: error }),
  });
  return { values, records, batches, moves, owned: () => [...owned].sort((a, b) => a - b), consumption };
}

async function until(what: () => boolean, ms = 30_000): Promise<void> {
  const end = Date.now() + ms;
  while (!what() && Date.now() < end) await sleep(20);
  expect(what()).toBe(true);
}

const numbers = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => String(from + i));

/** Appends values, caused by records of a topic "in" with the values' numbers as offsets. */
function append(writer: Writer, topic: string, values: readonly string[]): void {
  for (const value of values) {
    writer.append(
      topic,
      { key: null, value },
      { topic: "in", partition: 0, offset: Number(value), index: 0 },
    );
  }
}

describe.each([
  ["memory", memoryScene],
  ["Kafka", kafkaScene],
])("broker contract: %s", (_name, createScene) => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await createScene();
  });
  afterAll(() => scene.stop());

  describe("consuming", () => {
    it("delivers what was written, in order, with key, headers and offsets, as views that stay valid", async () => {
      const topic = await createTopic(scene.broker);
      await send(scene.broker, topic, numbers(0, 3_000));
      const reader = await read(scene.broker, topic);
      await until(() => reader.values.length === 3_000);
      expect(reader.values).toEqual(numbers(0, 3_000));
      expect(reader.records.map((one) => one.offset)).toEqual(numbers(0, 3_000).map(Number));
      const seventh = reader.records[7] as StreamRecord;
      expect(Buffer.from(seventh.key as Uint8Array).toString()).toBe("k");
      expect(Buffer.from(seventh.headers["h"] as Uint8Array).toString()).toBe("7");
      expect(headerText(seventh, "h")).toBe("7");
      expect(seventh.header("other")).toBeUndefined();
      const { bytes, valueStart, valueEnd } = seventh;
      expect(Buffer.from(bytes.subarray(valueStart, valueEnd)).toString()).toBe("7");
      await reader.consumption.stop();
    });

    it("tells a record without key, value and headers from an empty one", async () => {
      const topic = await createTopic(scene.broker);
      await scene.broker.send([
        { topic, partition: 0, key: null, value: null },
        { topic, partition: 0, key: "", value: "", headers: { empty: "" } },
      ]);
      const [nothing, empty] = await readTopic(scene.broker, topic);
      expect([nothing?.key, nothing?.value, nothing?.valueStart, nothing?.headers]).toEqual([
        null,
        null,
        -1,
        {},
      ]);
      expect([empty?.key?.length, empty?.value?.length, empty?.header("empty")?.length]).toEqual([0, 0, 0]);
    });

    it("begins where the reader says, whatever the group has read before", async () => {
      const topic = await createTopic(scene.broker);
      await send(scene.broker, topic, numbers(0, 100));
      for (const from of [40, 0, 99]) {
        const reader = await read(scene.broker, topic, { from, group: `again-${topic}` });
        await until(() => reader.values.length >= 100 - from);
        expect(reader.values).toEqual(numbers(from, 100 - from));
        await reader.consumption.stop();
      }
    });

    it("gives the next batch only when the one before is taken", async () => {
      const topic = await createTopic(scene.broker);
      await send(scene.broker, topic, numbers(0, 50));
      let release: () => void = () => {};
      let batches = 0;
      const reader = await read(scene.broker, topic, {
        onBatch: async () => {
          batches++;
          await new Promise<void>((resolve) => {
            release = resolve;
          });
        },
      });
      await until(() => batches === 1);
      await send(scene.broker, topic, numbers(50, 50));
      await sleep(500);
      expect(batches).toBe(1);
      while (reader.values.length < 100) {
        release();
        await sleep(20);
      }
      expect(reader.values).toEqual(numbers(0, 100));
      const stopping = reader.consumption.stop();
      release();
      await stopping;
    });

    it("brings a reader of everything to the partition's end, where a writer was opened too", async () => {
      const topic = await createTopic(scene.broker);
      await send(scene.broker, topic, numbers(0, 10));
      await scene.broker.writer(`w-${topic}`, 0, [topic]);
      const reader = await read(scene.broker, topic);
      const [range] = await scene.broker.offsets(topic);
      expect(range?.end).toBeGreaterThan(10);
      await until(() => reader.batches.at(-1)?.nextOffset === range?.end);
      await scene.broker.writer(`w-${topic}`, 0, [topic]);
      const [later] = await scene.broker.offsets(topic);
      await until(() => reader.batches.at(-1)?.nextOffset === later?.end);
      expect(reader.values).toEqual(numbers(0, 10));
      for (const [i, batch] of reader.batches.entries()) {
        expect(batch.nextOffset).toBeLessThanOrEqual(batch.endOffset);
        for (const one of batch.records) {
          expect(one.offset).toBeLessThan(batch.nextOffset);
          expect(one.offset).toBeGreaterThanOrEqual(reader.batches[i - 1]?.nextOffset ?? 0);
        }
      }
      await reader.consumption.stop();
    });

    it("hands the partition over to a second member, one owner at a time", async () => {
      const topic = await createTopic(scene.broker);
      await send(scene.broker, topic, numbers(0, 10));
      const first = await read(scene.broker, topic, { group: `pair-${topic}` });
      await until(() => first.values.length === 10);
      const second = await read(scene.other(), topic, { group: `pair-${topic}`, from: 10 });
      await first.consumption.stop();
      await send(scene.broker, topic, numbers(10, 10));
      await until(() => second.values.length === 10);
      expect(first.values.length + second.values.length).toBe(20);
      await second.consumption.stop();
    });

    it("shares partitions among members, and leaves those alone that need not move", async () => {
      const topic = await createTopic(scene.broker, 4);
      const group = `share-${topic}`;
      const first = await read(scene.broker, topic, { group, from: 0 });
      await until(() => first.owned().length === 4);
      const second = await read(scene.other(), topic, { group, from: 0 });
      await until(() => second.owned().length === 2 && first.owned().length === 2);
      expect([...first.owned(), ...second.owned()].sort((a, b) => a - b)).toEqual([0, 1, 2, 3]);
      expect(first.moves.filter((move) => move.startsWith("-"))).toHaveLength(2);
      const kept = first.owned();
      await second.consumption.stop();
      await until(() => first.owned().length === 4);
      expect(first.moves.filter((move) => kept.some((partition) => move === `-${partition}`))).toEqual([]);
      for (let partition = 0; partition < 4; partition++) {
        await send(scene.broker, topic, numbers(100 * partition, 10), partition);
      }
      await until(() => first.values.length === 40);
      await first.consumption.stop();
    });
  });

  describe("topics", () => {
    it("tell first and end offset", async () => {
      const topic = await createTopic(scene.broker, 2);
      await send(scene.broker, topic, numbers(0, 5), 1);
      expect(await scene.broker.offsets(topic)).toEqual([
        { partition: 0, first: 0, end: 0 },
        { partition: 1, first: 0, end: 5 },
      ]);
      await expect(scene.broker.offsets("no-such-topic")).rejects.toThrow();
    });

    it("are created where they are missing, get the partitions that they lack, and lose none", async () => {
      const topic = await createTopic(scene.broker, 3);
      await send(scene.broker, topic, numbers(0, 5), 1);
      const spec = { name: topic, key: "", owner: "", readers: [], config: {} };
      await scene.broker.ensureTopics([spec], 2);
      expect(await scene.broker.offsets(topic)).toHaveLength(3);
      await scene.broker.ensureTopics([spec], 5);
      await send(scene.broker, topic, numbers(0, 5), 4);
      expect((await scene.broker.offsets(topic)).map(({ end }) => end)).toEqual([0, 5, 0, 0, 5]);
    });

    it("refuse a record that is larger than they allow, and take others", async () => {
      const topic = await createTopic(scene.broker, 1, { "max.message.bytes": "10000" });
      const one = (value: string): Promise<void> => scene.broker.send([record(topic, value)]);
      await expect(one("x".repeat(20_000))).rejects.toBeInstanceOf(RecordTooLargeError);
      await one("small");
      expect(await valuesOf(scene.broker, topic)).toEqual(["small"]);
    });
  });

  describe("reading a range", () => {
    it("gives the records from one offset up to another, over gaps", async () => {
      const topic = await createTopic(scene.broker, 2);
      await send(scene.broker, topic, numbers(0, 2_000), 1);
      const writer = await scene.broker.writer(`w-${topic}`, 1, [topic]);
      append(writer, topic, numbers(2_000, 100));
      await writer.flush();
      await scene.broker.writer(`w-${topic}`, 1, [topic]);
      const range = async (from: number, end: number): Promise<string[]> => {
        const found: string[] = [];
        for await (const records of scene.broker.read(topic, 1, from, end))
          found.push(...records.map(textOf));
        return found;
      };
      const end = (await scene.broker.offsets(topic))[1]?.end as number;
      expect(await range(0, end)).toEqual(numbers(0, 2_100));
      expect(await range(1_500, 1_510)).toEqual(numbers(1_500, 10));
      expect(await range(end - 1, end)).toEqual([]);
      expect(await range(5, 5)).toEqual([]);
      expect(await range(0, 0)).toEqual([]);
    });
  });

  describe("writers", () => {
    it("append in order, with the cause in a header beside their own, and count what is pending", async () => {
      const topic = await createTopic(scene.broker);
      const writer = await scene.broker.writer(`w-${topic}`, 0, [topic]);
      expect(writer.pendingBytes).toBe(0);
      const scratch = Buffer.from("first");
      const cause = { topic: "in", partition: 0, offset: 7, index: 0 };
      writer.append(topic, { key: scratch, value: scratch, headers: { own: scratch } }, cause);
      scratch.write("other");
      cause.index = 1;
      writer.append(topic, { key: "k", value: null }, cause);
      expect(writer.pendingBytes).toBeGreaterThan(0);
      await writer.flush();
      expect(writer.pendingBytes).toBe(0);
      await writer.flush();
      const records = await readTopic(scene.broker, topic);
      expect(records.map((one) => headerText(one, HEADERS.source))).toEqual(["in/0/7/0", "in/0/7/1"]);
      expect([textOf(records[0] as StreamRecord), headerText(records[0] as StreamRecord, "own")]).toEqual([
        "first",
        "first",
      ]);
      expect(records[1]?.value).toBeNull();
      await writer.stop();
    });

    it("write more than a request holds, while a flush is under way too", async () => {
      const topic = await createTopic(scene.broker);
      const writer = await scene.broker.writer(`w-${topic}`, 0, [topic]);
      const flushes: Promise<void>[] = [];
      const padding = "x".repeat(500);
      for (let i = 0; i < 10_000; i++) {
        const cause = { topic: "in", partition: 0, offset: i, index: 0 };
        writer.append(topic, { key: null, value: `${i} ${padding}` }, cause);
        if (i === 2_000) flushes.push(writer.flush());
      }
      flushes.push(writer.flush());
      await Promise.all(flushes);
      const values = await valuesOf(scene.broker, topic);
      expect(values.map((value) => value.split(" ")[0])).toEqual(numbers(0, 10_000));
      await writer.stop();
    });

    it("end the power of the former one of the same name, whose records all lie before their ends", async () => {
      const [one, two] = [await createTopic(scene.broker, 2), await createTopic(scene.broker, 2)];
      const name = `w-${one}`;
      const old = await scene.broker.writer(name, 1, [one, two]);
      append(old, one, numbers(0, 5));
      append(old, two, numbers(0, 3));
      await old.flush();
      append(old, one, numbers(5, 5));
      append(old, two, numbers(3, 3));
      const [flushed, next] = await Promise.all([
        old.flush().then(
          () => null,
          (error: unknown) => error,
        ),
        scene.other().writer(name, 1, [one, two]),
      ]);
      if (flushed !== null) expect(flushed).toBeInstanceOf(FencedError);
      for (const [topic, end] of next.ends) {
        const records = (await readTopic(scene.broker, topic)).filter(({ partition }) => partition === 1);
        expect(records.every(({ offset }) => offset < end)).toBe(true);
        expect(records.map(textOf)).toEqual(numbers(0, records.length));
      }
      append(old, one, ["98"]);
      await expect(old.flush()).rejects.toBeInstanceOf(FencedError);
      const before = (await valuesOf(scene.broker, one)).length;
      append(next, one, ["99"]);
      await next.flush();
      const records = await readTopic(scene.broker, one);
      expect(records).toHaveLength(before + 1);
      expect(textOf(records.at(-1) as StreamRecord)).toBe("99");
      expect(records.at(-1)?.offset).toBe(next.ends.get(one));
      await Promise.all([old.stop(), next.stop()]);
    });

    it("leave those of other names and partitions alone", async () => {
      const topic = await createTopic(scene.broker, 2);
      const open = (name: string, partition: number): Promise<Writer> =>
        scene.broker.writer(`${name}-${topic}`, partition, [topic]);
      const [a0, a1, b0] = await Promise.all([open("a", 0), open("a", 1), open("b", 0)]);
      await open("a", 1).then((writer) => writer.stop());
      for (const writer of [a0, b0]) {
        append(writer, topic, ["1"]);
        await writer.flush();
      }
      append(a1, topic, ["2"]);
      await expect(a1.flush()).rejects.toBeInstanceOf(FencedError);
      expect(await valuesOf(scene.broker, topic)).toEqual(["1", "1"]);
    });

    it("can be opened again and again", async () => {
      const topic = await createTopic(scene.broker);
      for (let i = 0; i < 8; i++) {
        const writer = await scene.other().writer(`w-${topic}`, 0, [topic]);
        append(writer, topic, [String(i)]);
        await writer.flush();
        if (i % 2 === 0) await writer.stop();
      }
      expect(await valuesOf(scene.broker, topic)).toEqual(numbers(0, 8));
    });

    it("write nothing behind a record that the broker refuses, which would then be missing for ever", async () => {
      const topic = await createTopic(scene.broker, 1, { "max.message.bytes": "10000" });
      const writer = await scene.broker.writer(`w-${topic}`, 0, [topic]);
      append(writer, topic, ["1"]);
      await writer.flush();
      const cause = { topic: "in", partition: 0, offset: 2, index: 0 };
      writer.append(topic, { key: null, value: "x".repeat(20_000) }, cause);
      append(writer, topic, ["3"]);
      await expect(writer.flush()).rejects.toBeInstanceOf(RecordTooLargeError);
      append(writer, topic, ["4"]);
      await expect(writer.flush()).rejects.toThrow();
      await writer.stop();
      expect(await valuesOf(scene.broker, topic)).toEqual(["1"]);
    });
  });

  describe("a broker that is killed", () => {
    it("makes the log neither longer nor shorter, whoever was writing", async ({ skip }) => {
      if (scene.killBroker === null) skip("memory has no broker process");
      const [topic, plain] = [await createTopic(scene.broker), await createTopic(scene.broker)];
      const reader = await read(scene.broker, topic);
      const writer = await scene.broker.writer(`w-${topic}`, 0, [topic]);
      for (let i = 0; i < 40; i++) {
        if (i === 15) scene.killBroker?.();
        append(writer, topic, numbers(i * 100, 100));
        await Promise.all([writer.flush(), send(scene.broker, plain, numbers(i * 100, 100))]);
      }
      await until(() => reader.values.length >= 4_000, 90_000);
      expect(reader.values).toEqual(numbers(0, 4_000));
      expect(await valuesOf(scene.broker, topic)).toEqual(numbers(0, 4_000));
      expect(await valuesOf(scene.broker, plain)).toEqual(numbers(0, 4_000));
      await writer.stop();
      await reader.consumption.stop();
    });
  });
});
