import type { TopicSpec } from "@millrace/contracts";
import {
  type Broker,
  type ConsumeOptions,
  type Consumption,
  type OutputRecord,
  type Producer,
  partitionKey,
  RecordTooLargeError,
  type StreamRecord,
} from "@millrace/stream";

interface MemoryPartition {
  /** Offset of the first record kept. */
  first: number;
  records: StreamRecord[];
}

interface MemoryTopic {
  readonly partitions: readonly MemoryPartition[];
  readonly bytesMax: number;
}

export interface MemoryBroker extends Broker {
  /** All records of a topic, partition after partition. */
  records(topic: string): readonly StreamRecord[];
  /** Writes as a producer would. */
  write(records: readonly OutputRecord[]): void;
  /** The next send is written, then rejects: an acknowledgement lost on the way. */
  loseNextAck(): void;
}

const BATCH_MAX = 500;

/**
 * Kafka in memory, for one process. `retained` is how many records a partition keeps at least; none are dropped
 * without it. Gaps against the real one: one member per group (a second consumer of the same
 * group takes all partitions over), no time-outs.
 */
export function createMemoryBroker(
  now: () => number = () => 0,
  retained: number = Number.POSITIVE_INFINITY,
): MemoryBroker {
  const topics = new Map<string, MemoryTopic>();
  const groups = new Map<string, () => Promise<void>>();
  const waiting = new Set<() => void>();
  let loseAck = false;

  const topicOf = (name: string): MemoryTopic => {
    const topic = topics.get(name);
    if (topic === undefined) throw new Error(`there is no topic ${name}`);
    return topic;
  };

  const write = (records: readonly OutputRecord[]): void => {
    for (const { topic: name, partition, key, value, headers } of records) {
      const topic = topicOf(name);
      const log = topic.partitions[partition];
      if (log === undefined) throw new Error(`topic ${name} has no partition ${partition}`);
      const bytes = toBytes(value);
      if (bytes !== null && bytes.length > topic.bytesMax)
        throw new RecordTooLargeError(`a record of ${name} is too large`);
      log.records.push({
        topic: name,
        partition,
        offset: end(log),
        timestampMs: now(),
        key: toBytes(key),
        value: bytes,
        headers: Object.fromEntries(
          Object.entries(headers).map(([header, text]) => [header, toBytes(text) as Uint8Array]),
        ),
      });
      if (log.records.length > 2 * retained) {
        const dropped = log.records.length - retained;
        log.records.splice(0, dropped);
        log.first += dropped;
      }
    }
    for (const wake of waiting) wake();
  };

  const consume = async (options: ConsumeOptions): Promise<Consumption> => {
    await groups.get(options.group)?.();
    const assigned = options.topics.flatMap((topic) =>
      topicOf(topic).partitions.map((_, partition) => ({ topic, partition })),
    );
    const positions = await options.onAssigned(assigned);
    let running = true;
    const wakes = new Set<() => void>();
    const follow = async (topic: string, partition: number): Promise<void> => {
      const log = topicOf(topic).partitions[partition] as MemoryPartition;
      let next = positions.get(partitionKey(topic, partition)) ?? 0;
      while (running) {
        if (next < log.first) throw new Error(`${topic}/${partition}: records from ${next} on are gone`);
        const records = log.records.slice(next - log.first, next - log.first + BATCH_MAX);
        if (records.length === 0) {
          await new Promise<void>((resolve) => {
            const wake = (): void => {
              waiting.delete(wake);
              wakes.delete(wake);
              resolve();
            };
            waiting.add(wake);
            wakes.add(wake);
          });
          continue;
        }
        await options.onBatch({ topic, partition, records, endOffset: end(log) });
        next += records.length;
        await new Promise(setImmediate);
      }
    };
    const following = Promise.all(assigned.map(({ topic, partition }) => follow(topic, partition))).catch(
      options.onFailed,
    );
    const stop = async (): Promise<void> => {
      running = false;
      for (const wake of wakes) wake();
      await following;
    };
    groups.set(options.group, async () => {
      await stop();
      await options.onRevoked();
    });
    return {
      stop: async () => {
        groups.delete(options.group);
        await stop();
      },
    };
  };

  return {
    ensureTopics: async (specs: readonly TopicSpec[], partitions: number) => {
      for (const { name, config } of specs) {
        if (topics.has(name)) continue;
        const bytesMax = Number(config["max.message.bytes"] ?? 1_048_588);
        topics.set(name, {
          partitions: Array.from({ length: partitions }, () => ({ first: 0, records: [] })),
          bytesMax,
        });
      }
    },
    offsets: async (topic) =>
      topicOf(topic).partitions.map((log, partition) => ({ partition, first: log.first, end: end(log) })),
    consume,
    producer: async (): Promise<Producer> => ({
      send: async (records) => {
        write(records);
        await Promise.resolve();
        if (!loseAck) return;
        loseAck = false;
        throw new Error("the acknowledgement was lost");
      },
      stop: async () => {},
    }),
    stop: async () => {},
    records: (topic) => topicOf(topic).partitions.flatMap((log) => log.records),
    write,
    loseNextAck: () => {
      loseAck = true;
    },
  };
}

/** Offset that the next record gets. */
function end({ first, records }: MemoryPartition): number {
  return first + records.length;
}

function toBytes(data: Uint8Array | string | null): Uint8Array | null {
  return typeof data === "string" ? Buffer.from(data) : data;
}
