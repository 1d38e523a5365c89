import { createKafkaBroker } from "@millrace/kafka";
import { startTestServers } from "@millrace/local";
import { createLog, sleep } from "@millrace/runtime";
import {
  type Batch,
  type Broker,
  type Consumption,
  partitionKey,
  RecordTooLargeError,
  type StreamRecord,
} from "@millrace/stream";
import { createMemoryBroker } from "@millrace/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

/** One promise, kept by the broker in memory and by kafkajs on a real Kafka. */
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

async function write(broker: Broker, topic: string, values: readonly string[], partition = 0): Promise<void> {
  const producer = await broker.producer();
  await producer.send(values.map((value) => ({ topic, partition, key: "k", value, headers: { h: value } })));
  await producer.stop();
}

interface Reader {
  readonly values: string[];
  readonly records: StreamRecord[];
  readonly consumption: Consumption;
}

async function read(
  broker: Broker,
  topic: string,
  options: {
    from?: number;
    group?: string;
    onBatch?: (batch: Batch) => Promise<void>;
    onFailed?: (error: unknown) => void;
  } = {},
): Promise<Reader> {
  const records: StreamRecord[] = [];
  const values: string[] = [];
  const consumption = await broker.consume({
    group: options.group ?? `group-${Math.random()}`,
    topics: [topic],
    onAssigned: async (partitions) =>
      new Map(partitions.map((one) => [partitionKey(one.topic, one.partition), options.from ?? null])),
    onRevoked: async () => {},
    onBatch: async (batch) => {
      await options.onBatch?.(batch);
      for (const record of batch.records) {
        records.push(record);
        values.push(Buffer.from(record.value as Uint8Array).toString());
      }
    },
    onFailed: options.onFailed ?? ((error) => log.error({ err: error })),
  });
  return { values, records, consumption };
}

async function until(what: () => boolean, ms = 30_000): Promise<void> {
  const end = Date.now() + ms;
  while (!what() && Date.now() < end) await sleep(20);
  expect(what()).toBe(true);
}

const numbers = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => String(from + i));

describe.each([
  ["memory", memoryScene],
  ["kafkajs", kafkaScene],
])("broker contract: %s", (_name, createScene) => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await createScene();
  });
  afterAll(() => scene.stop());

  it("delivers what was written, in order, with key, headers and offsets", async () => {
    const topic = await createTopic(scene.broker);
    await write(scene.broker, topic, numbers(0, 3_000));
    const reader = await read(scene.broker, topic);
    await until(() => reader.values.length === 3_000);
    expect(reader.values).toEqual(numbers(0, 3_000));
    expect(reader.records.map((one) => one.offset)).toEqual(numbers(0, 3_000).map(Number));
    const { key, headers } = reader.records[7] as StreamRecord;
    expect([
      Buffer.from(key as Uint8Array).toString(),
      Buffer.from(headers["h"] as Uint8Array).toString(),
    ]).toEqual(["k", "7"]);
    await reader.consumption.stop();
  });

  it("begins where the reader says, whatever the group has read before", async () => {
    const topic = await createTopic(scene.broker);
    await write(scene.broker, topic, numbers(0, 100));
    for (const from of [40, 0, 99]) {
      const reader = await read(scene.broker, topic, { from, group: `again-${topic}` });
      await until(() => reader.values.length >= 100 - from);
      expect(reader.values).toEqual(numbers(from, 100 - from));
      await reader.consumption.stop();
    }
  });

  it("tells first and end offset", async () => {
    const topic = await createTopic(scene.broker, 2);
    await write(scene.broker, topic, numbers(0, 5), 1);
    expect(await scene.broker.offsets(topic)).toEqual([
      { partition: 0, first: 0, end: 0 },
      { partition: 1, first: 0, end: 5 },
    ]);
  });

  it("creates missing topics and leaves existing ones alone", async () => {
    const topic = await createTopic(scene.broker, 3);
    await scene.broker.ensureTopics([{ name: topic, key: "", owner: "", readers: [], config: {} }], 9);
    expect(await scene.broker.offsets(topic)).toHaveLength(3);
  });

  it("gives the next batch only when the one before is taken", async () => {
    const topic = await createTopic(scene.broker);
    await write(scene.broker, topic, numbers(0, 50));
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
    await write(scene.broker, topic, numbers(50, 50));
    await sleep(500);
    expect(batches).toBe(1);
    while (reader.values.length < 100) {
      release();
      await sleep(20);
    }
    expect(reader.values).toEqual(numbers(0, 100));
    await reader.consumption.stop();
  });

  it("refuses a record larger than its topic allows, and goes on", async () => {
    const topic = await createTopic(scene.broker, 1, { "max.message.bytes": "10000" });
    const producer = await scene.broker.producer();
    const send = (value: string): Promise<void> =>
      producer.send([{ topic, partition: 0, key: null, value, headers: {} }]);
    await expect(send("x".repeat(20_000))).rejects.toBeInstanceOf(RecordTooLargeError);
    await send("small");
    expect((await scene.broker.offsets(topic))[0]?.end).toBe(1);
    await producer.stop();
  });

  it("hands the partition over to a second member, one owner at a time", async () => {
    const topic = await createTopic(scene.broker);
    await write(scene.broker, topic, numbers(0, 10));
    const first = await read(scene.broker, topic, { group: `pair-${topic}` });
    await until(() => first.values.length === 10);
    const second = await read(scene.other(), topic, { group: `pair-${topic}`, from: 10 });
    await first.consumption.stop();
    await write(scene.broker, topic, numbers(10, 10));
    await until(() => second.values.length === 10);
    expect(first.values.length + second.values.length).toBe(20);
    await second.consumption.stop();
  });

  it("loses nothing when the broker is killed in the middle of writing and reading", async ({ skip }) => {
    if (scene.killBroker === null) skip("memory has no broker process");
    const topic = await createTopic(scene.broker);
    const reader = await read(scene.broker, topic);
    const producer = await scene.broker.producer();
    for (let i = 0; i < 40; i++) {
      if (i === 15) scene.killBroker?.();
      await producer.send(
        numbers(i * 100, 100).map((value) => ({ topic, partition: 0, key: null, value, headers: {} })),
      );
    }
    await until(() => new Set(reader.values).size === 4_000, 90_000);
    // A retry may repeat a request; without its repetitions the order is the order of writing.
    expect([...new Set(reader.values)]).toEqual(numbers(0, 4_000));
    await producer.stop();
    await reader.consumption.stop();
  });
});
