/**
 * Reads feature vectors as they come and notes how old each payment is when its vector can be read: a process of its
 * own, told by one JSON argument. It says `{"ready":true}`, takes `{"startMs":T}` (`open-loop.ts`) on standard input, and
 * with the end of that says the ages.
 */
import { createInterface } from "node:readline";
import { createKafkaBroker } from "@millrace/kafka";
import { createLog } from "@millrace/runtime";
import { passingMember } from "@millrace/stream";
import type { OpenLoop } from "./open-loop.ts";
import { paymentNumber, payments } from "./w1.ts";

export interface AgeReader extends Pick<OpenLoop, "brokers" | "sasl" | "workload" | "perSecond"> {
  /** Of the vectors. */
  readonly topic: string;
  /** Payments that were due in the first so many ms are left out: the systems were starting. */
  readonly leftOutMs: number;
}

/** ms from when a payment was due to when its vector was in the reader's hands. */
export interface Ages {
  readonly read: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
}

const ID = Buffer.from('{"id":"');
const ID_BYTES = "pay-000000000000".length;

if (import.meta.main) {
  const { brokers, sasl, topic, workload, perSecond, leftOutMs } = JSON.parse(
    process.argv[2] ?? "{}",
  ) as AgeReader;
  const dueAt = dueOrder();
  const ages = new Float64Array(workload.events);
  let count = 0;
  let startMs = Number.NaN;
  const broker = createKafkaBroker({ clientId: "ages", brokers, sasl, log: createLog("ages", "warn") });
  await broker.consume({
    group: `ages.${topic}`,
    topics: [topic],
    member: passingMember(),
    onAssigned: async () => new Map(),
    onRevoked: async () => {},
    onBatch: async ({ records }) => {
      const nowMs = performance.timeOrigin + performance.now();
      for (const { value } of records) {
        if (value === null) continue;
        const id = Buffer.from(value.buffer, value.byteOffset + ID.length, ID_BYTES).toString("latin1");
        const dueMs = ((dueAt[paymentNumber(id)] as number) * 1_000) / perSecond;
        if (dueMs >= leftOutMs) ages[count++] = nowMs - startMs - dueMs;
      }
    },
    onFailed: (error) => {
      throw error;
    },
  });
  process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
  for await (const told of createInterface({ input: process.stdin })) {
    ({ startMs } = JSON.parse(told) as { startMs: number });
  }
  const sorted = ages.subarray(0, count).sort();
  const at = (share: number): number => sorted[Math.min(count - 1, Math.floor(share * count))] ?? Number.NaN;
  const said: Ages = { read: count, p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999) };
  process.stdout.write(`${JSON.stringify(said)}\n`, () => process.exit(0));

  /** By payment: how many records come before its first delivery. */
  function dueOrder(): Int32Array {
    const order = new Int32Array(workload.events).fill(-1);
    let record = 0;
    for (const { id } of payments(workload)) {
      const number = paymentNumber(id);
      if ((order[number] as number) < 0) order[number] = record;
      record++;
    }
    return order;
  }
}
