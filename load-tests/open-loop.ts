/**
 * Sends W1 payments at a steady rate, whatever becomes of them: `open-loop.ts` is a process of its own, told by one JSON
 * argument. It says `{"startMs":T}` when it begins: payment i was due at T + i / rate, wall clock, so that whoever sees
 * it knows how old it is, however late it was sent. Ends by itself.
 */
import { createKafkaBroker } from "@millrace/kafka";
import { createLog, sleep } from "@millrace/runtime";
import { type OutputRecord, partitionOf } from "@millrace/stream";
import { paymentJson, payments, type W1Parameters } from "./w1.ts";

export interface OpenLoop {
  readonly brokers: readonly string[];
  readonly sasl: { readonly username: string; readonly password: string } | null;
  readonly topic: string;
  readonly partitions: number;
  readonly workload: W1Parameters;
  /** The first so many payments were sent before. */
  readonly from: number;
  readonly perSecond: number;
}

const TICK_MS = 5;
/** Sends under way; beyond it what is due goes with the next one. */
const UNDER_WAY_MAX = 4;
const RECORD_BYTES_MAX = 256;
const ACCOUNT = '"account":"';

if (import.meta.main) {
  const { brokers, sasl, topic, partitions, workload, from, perSecond } = JSON.parse(
    process.argv[2] ?? "{}",
  ) as OpenLoop;
  const log = createLog("open-loop", "warn");
  const broker = createKafkaBroker({ clientId: "open-loop", brokers, sasl, log });
  const records = laidOut();
  const total = records.partitions.length;
  const startMs = Date.now() + 500;
  process.stdout.write(`${JSON.stringify({ startMs })}\n`);
  const underWay = new Set<Promise<void>>();
  for (let sent = 0; sent < total; await sleep(TICK_MS)) {
    const due = Math.min(total, Math.floor(((Date.now() - startMs) * perSecond) / 1_000));
    if (due <= sent || underWay.size >= UNDER_WAY_MAX) continue;
    const sending = broker.send(recordsOf(sent, due)).finally(() => underWay.delete(sending));
    underWay.add(sending);
    sent = due;
  }
  await Promise.all(underWay);
  await broker.stop();

  /** The payments as bytes, made beforehand: as objects they would let the collector of garbage stop the clock. */
  function laidOut(): { bytes: Buffer; ends: Int32Array; partitions: Uint8Array } {
    const count = workload.events - from;
    const bytes = Buffer.alloc(count * RECORD_BYTES_MAX);
    const ends = new Int32Array(count);
    const partitionsOf = new Uint8Array(count);
    let [skipped, i, at] = [0, 0, 0];
    for (const payment of payments(workload)) {
      if (skipped++ < from) continue;
      at += bytes.write(paymentJson(payment), at, "latin1");
      ends[i] = at;
      partitionsOf[i++] = partitionOf(payment.account, partitions);
    }
    return { bytes, ends: ends.subarray(0, i), partitions: partitionsOf.subarray(0, i) };
  }

  function recordsOf(first: number, behind: number): OutputRecord[] {
    const { bytes, ends } = records;
    const list: OutputRecord[] = [];
    for (let i = first; i < behind; i++) {
      const value = bytes.subarray(i === 0 ? 0 : ends[i - 1], ends[i]);
      const keyAt = value.indexOf(ACCOUNT) + ACCOUNT.length;
      const key = value.subarray(keyAt, value.indexOf('"', keyAt));
      list.push({ topic, partition: records.partitions[i] as number, key, value });
    }
    return list;
  }
}
