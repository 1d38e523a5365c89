import type { Log } from "@millrace/runtime";
import {
  type ConsumeOptions,
  type Consumption,
  partitionKey,
  type StreamRecord,
  type TopicPartition,
} from "@millrace/stream";
import type { EachBatchPayload, IHeaders, Kafka, KafkaMessage } from "kafkajs";

/**
 * The shortest that a broker grants unless it is told otherwise (group.min.session.timeout.ms). A step that was killed
 * with SIGKILL and starts again waits so long for its partitions: until then they are its dead predecessor's.
 */
const SESSION_MS = 6_000;
const HEARTBEAT_MS = 1_500;

/** Records were deleted before they were read: retention is shorter than the consumer was away. */
export class RecordsLostError extends Error {
  constructor(topic: string, partition: number, expected: number, found: number) {
    super(
      `${topic}/${partition}: records ${expected} to ${found - 1} are gone before they were read: ` +
        "raise retention.ms of the topic, then remove the step's checkpoint to accept the loss",
    );
    this.name = "RecordsLostError";
  }
}

interface OwnedPartition {
  /** Next offset expected; null: the first batch decides. */
  next: number | null;
  /** Whether a batch has arrived since the assignment. */
  reached: boolean;
}

/** Joins a consumer group and delivers batches until stopped. See `ConsumeOptions` for the order of the callbacks. */
export async function consume(kafka: Kafka, options: ConsumeOptions, log: Log): Promise<Consumption> {
  const consumer = kafka.consumer({
    groupId: options.group,
    sessionTimeout: SESSION_MS,
    heartbeatInterval: HEARTBEAT_MS,
    rebalanceTimeout: 15_000,
    maxWaitTimeInMs: 100,
    maxBytesPerPartition: 1_048_576,
    allowAutoTopicCreation: false,
    retry: { initialRetryTime: 100, maxRetryTime: 2_000, retries: 60, restartOnFailure: async () => true },
  });
  let owned = new Map<string, OwnedPartition>();
  let assigned: Promise<void> = Promise.resolve();

  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    const partitions: TopicPartition[] = Object.entries(payload.memberAssignment).flatMap(
      ([topic, numbers]) => numbers.map((partition) => ({ topic, partition })),
    );
    assigned = (async () => {
      const positions = await options.onAssigned(partitions);
      owned = new Map();
      for (const { topic, partition } of partitions) {
        const next = positions.get(partitionKey(topic, partition)) ?? null;
        owned.set(partitionKey(topic, partition), { next, reached: false });
        if (next !== null) consumer.seek({ topic, partition, offset: String(next) });
      }
    })();
    assigned.catch(options.onFailed);
  });
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    log.warn(
      { err: payload.error, restart: payload.restart, group: options.group },
      "Kafka consumer crashed",
    );
    if (!payload.restart) options.onFailed(payload.error);
  });

  const deliver = async ({
    batch,
    resolveOffset,
    heartbeat,
    isRunning,
    isStale,
  }: EachBatchPayload): Promise<void> => {
    await assigned;
    if (!isRunning() || isStale()) return;
    const { topic, partition } = batch;
    const position = owned.get(partitionKey(topic, partition));
    if (position === undefined) return;
    const first = Number(batch.firstOffset() ?? 0);
    if (position.next !== null && first > position.next) {
      const available = await firstOffset(kafka, topic, partition);
      if (available > position.next) {
        return options.onFailed(new RecordsLostError(topic, partition, position.next, available));
      }
      if (!position.reached) {
        // The seek was lost between join and first fetch: ask again.
        position.reached = true;
        consumer.seek({ topic, partition, offset: String(position.next) });
        return;
      }
    }
    position.reached = true;
    const beating = setInterval(() => void heartbeat().catch(() => {}), HEARTBEAT_MS); // a rebalance shows at the next poll
    try {
      await options.onBatch({
        topic,
        partition,
        records: batch.messages.map((message) => toRecord(topic, partition, message)),
        endOffset: Number(batch.highWatermark),
      });
    } finally {
      clearInterval(beating);
    }
    const last = Number(batch.lastOffset());
    position.next = last + 1;
    resolveOffset(String(last));
  };

  await consumer.connect();
  await consumer.subscribe({ topics: [...options.topics], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    partitionsConsumedConcurrently: 64,
    eachBatch: deliver,
  });
  let stopping: Promise<void> | undefined;
  return {
    stop: () => {
      stopping ??= consumer.disconnect();
      return stopping;
    },
  };
}

async function firstOffset(kafka: Kafka, topic: string, partition: number): Promise<number> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const offsets = await admin.fetchTopicOffsets(topic);
    return Number(offsets.find((one) => one.partition === partition)?.low ?? 0);
  } finally {
    await admin.disconnect();
  }
}

function toRecord(topic: string, partition: number, message: KafkaMessage): StreamRecord {
  return {
    topic,
    partition,
    offset: Number(message.offset),
    timestampMs: Number(message.timestamp),
    key: message.key,
    value: message.value,
    headers: message.headers === undefined ? NO_HEADERS : plainHeaders(message.headers),
  };
}

const NO_HEADERS: Readonly<Record<string, Uint8Array>> = Object.freeze({});

/** kafkajs gives Buffers, and arrays of them where a name stands twice: the first one counts. */
function plainHeaders(headers: IHeaders): Record<string, Uint8Array> {
  const plain: Record<string, Uint8Array> = {};
  for (const name in headers) {
    const value = headers[name];
    const one = Array.isArray(value) ? value[0] : value;
    if (one !== undefined) plain[name] = typeof one === "string" ? Buffer.from(one) : one;
  }
  return plain;
}
