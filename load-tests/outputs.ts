import { randomUUID } from "node:crypto";
import type { Consumer, Kafka } from "kafkajs";
import { paymentNumber, payments, type W1Parameters } from "./w1.ts";
import { type Decimals, naiveOutputs, type Output } from "./w1-features.ts";

/** What a system has written, or should have. */
export interface Outputs {
  readonly records: number;
  /** Sampled ids that came more than once. */
  readonly repeated: number;
  /** By id, every 20th payment. */
  readonly sampled: ReadonlyMap<string, Output>;
}

/** Values compared; fields that one side lacks count as different. */
export interface Comparison {
  readonly compared: number;
  readonly different: number;
}

const SAMPLE_EVERY = 20;
const READ_SECONDS_MAX = 300;

function isSampled(id: string): boolean {
  return paymentNumber(id) % SAMPLE_EVERY === 0;
}

/** By the definition. Some seconds for a million payments. */
export function oracleOutputs(parameters: W1Parameters, decimals: Decimals): Outputs {
  const ids = new Set<string>();
  for (const { id } of payments(parameters)) ids.add(id);
  const sampled = new Map<string, Output>();
  for (const output of naiveOutputs(payments(parameters), decimals, isSampled)) {
    sampled.set(String(output["id"]), output);
  }
  return { records: ids.size, repeated: 0, sampled };
}

/**
 * All committed records of the topic up to its present end, as a consumer with `read_committed` sees them. About 10 s
 * for a million. Throws when the end is not reached in 300 s, as before an open transaction.
 */
export async function readOutputs(
  kafka: Kafka,
  topic: string,
  stop: AbortSignal,
  parse: (text: string) => Output = (text) => JSON.parse(text) as Output,
): Promise<Outputs> {
  const sampled = new Map<string, Output>();
  let [records, repeated] = [0, 0];
  const ends = await endOffsets(kafka, topic);
  const consumer = kafka.consumer({
    groupId: `read.${randomUUID()}`,
    readUncommitted: false,
    allowAutoTopicCreation: false,
  });
  const limit = AbortSignal.any([stop, AbortSignal.timeout(READ_SECONDS_MAX * 1_000)]);
  const atEnd = untilEnd(consumer, topic, ends, limit);
  try {
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        for (const { value } of batch.messages) {
          const text = value?.toString("utf8") ?? "";
          records++;
          const id = /"id"\s*:\s*"([^"]*)"/.exec(text)?.[1] ?? "";
          if (!isSampled(id)) continue;
          if (sampled.has(id)) repeated++;
          sampled.set(id, parse(text));
        }
      },
    });
    await atEnd;
    return { records, repeated, sampled };
  } finally {
    await consumer.disconnect();
  }
}

/** A vector of `LINE.features` as an output: its values beside id and time. */
export function vectorOutput(text: string): Output {
  const { id, time, values } = JSON.parse(text) as { id: string; time: number; values: Output };
  return { id, time, ...values };
}

/** Field by field, numbers by their bits; a vector of ours does not repeat the account, its key. */
export function compareOutputs(a: Outputs, b: Outputs): Comparison {
  let [compared, different] = [0, 0];
  for (const id of new Set([...a.sampled.keys(), ...b.sampled.keys()])) {
    const [one, other] = [a.sampled.get(id) ?? {}, b.sampled.get(id) ?? {}];
    for (const name of new Set([...Object.keys(one), ...Object.keys(other)])) {
      if (name === "account") continue;
      compared++;
      if (one[name] !== other[name]) different++;
    }
  }
  return { compared, different };
}

async function endOffsets(kafka: Kafka, topic: string): Promise<Map<number, number>> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const partitions = await admin.fetchTopicOffsets(topic);
    return new Map(partitions.map(({ partition, high }) => [partition, Number(high)]));
  } finally {
    await admin.disconnect();
  }
}

/** Resolves when the consumer has passed the end of each partition, also where only a commit marker is left there. */
function untilEnd(
  consumer: Consumer,
  topic: string,
  ends: ReadonlyMap<number, number>,
  limit: AbortSignal,
): Promise<void> {
  const open = new Map([...ends].filter(([, end]) => end > 0));
  return new Promise((resolve, reject) => {
    if (open.size === 0) resolve();
    consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload: { partition, lastOffset } }) => {
      if (Number(lastOffset) >= (open.get(partition) ?? 0) - 1) open.delete(partition);
      if (open.size === 0) resolve();
    });
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    limit.addEventListener("abort", () =>
      reject(new Error(`${topic} was not read to its end: is a transaction open?`, { cause: limit.reason })),
    );
  });
}
