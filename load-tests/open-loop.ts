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

if (import.meta.main) {
  const { brokers, sasl, topic, partitions, workload, from, perSecond } = JSON.parse(
    process.argv[2] ?? "{}",
  ) as OpenLoop;
  const log = createLog("open-loop", "warn");
  const broker = createKafkaBroker({ clientId: "open-loop", brokers, sasl, log });
  const records: OutputRecord[] = [];
  let skipped = 0;
  for (const payment of payments(workload)) {
    if (skipped++ < from) continue;
    const { account } = payment;
    const partition = partitionOf(account, partitions);
    records.push({ topic, partition, key: account, value: paymentJson(payment) });
  }
  const startMs = Date.now() + 500;
  process.stdout.write(`${JSON.stringify({ startMs })}\n`);
  const underWay = new Set<Promise<void>>();
  for (let sent = 0; sent < records.length; await sleep(TICK_MS)) {
    const due = Math.min(records.length, Math.floor(((Date.now() - startMs) * perSecond) / 1_000));
    if (due <= sent || underWay.size >= UNDER_WAY_MAX) continue;
    const sending = broker.send(records.slice(sent, due)).finally(() => underWay.delete(sending));
    underWay.add(sending);
    sent = due;
  }
  await Promise.all(underWay);
  await broker.stop();
}
