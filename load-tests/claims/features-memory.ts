import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createKafkaBroker } from "@millrace/kafka";
import { startTestServers } from "@millrace/local";
import { createLog, sleep } from "@millrace/runtime";
import { type Broker, type OutputRecord, partitionOf } from "@millrace/stream";
import { random } from "@millrace/testkit";
import type { Claim, Context, Measurement } from "../claim.ts";
import { kafkaClient } from "../kafka-client.ts";
import { usageOf } from "../process-usage.ts";
import { type RunningFeature, runFeature } from "../run-feature.ts";
import { type Payment, paymentJson, payments, W1 } from "../w1.ts";
import { createTopic } from "../w1-input.ts";
import { w1Line } from "../w1-line.ts";

const PARTITIONS = 4;
const FEW = { keys: 20_000, mbMax: 250 } as const;
const MANY = { keys: 1_000_000, events: 3_000_000, mbMax: 2_500 } as const;
/** Accounts come and go: each is used for a day; windows of 24 h forget one for each that comes, up to an eighth of that later. */
const CHURN = { keys: 50_000, paceMs: 100, steadyHours: 30, hours: 1 } as const;
const GROWTH_MAX = 1.02;
const HOUR_MS = 3_600_000;
const START_MS = Date.UTC(2024, 0, 1);
const SEND_RECORDS = 5_000;

/** Every account in turn, at random merchants. */
function* roundRobin(keys: number, events: number): Generator<Payment> {
  const draw = random(3);
  for (let i = 0; i < events; i++) yield payment(i, i % keys, START_MS + i * 5, draw);
}

/** Accounts of a window that moves on by all its keys in a day; from hour `from` to hour `until`. */
function* churn(from: number, until: number): Generator<Payment> {
  const { keys, paceMs } = CHURN;
  const draw = random(5 + from);
  const perDay = (24 * HOUR_MS) / paceMs;
  for (let i = (from * HOUR_MS) / paceMs; i < (until * HOUR_MS) / paceMs; i++) {
    const account = Math.floor((i / perDay) * keys + draw() * keys);
    yield payment(i, account, START_MS + i * paceMs, draw);
  }
}

function payment(i: number, account: number, timeMs: number, draw: () => number): Payment {
  return {
    id: `pay-${String(i).padStart(12, "0")}`,
    account: `acct-${String(account).padStart(7, "0")}`,
    merchant: `shop-${String(Math.floor(3_430 * draw())).padStart(4, "0")}`,
    cents: 100 + Math.floor(19_900 * draw() ** 2),
    timeMs,
    currency: "EUR",
    country: "DE",
    channel: "chip",
  };
}

async function run({ say, stop }: Context): Promise<Measurement> {
  const servers = await startTestServers({ kafka: true });
  const folder = await mkdtemp(join(tmpdir(), "millrace-memory-"));
  const { brokers, username = "", password = "" } = servers.kafka;
  const broker = createKafkaBroker({
    clientId: "memory",
    brokers: brokers.split(","),
    sasl: { username, password },
    log: createLog("memory", "warn"),
  });
  /** A process of its own per workload; answers what `work` does with it. */
  const withFeature = async <T>(name: string, work: (feature: Fed) => Promise<T>): Promise<T> => {
    await createTopic(kafkaClient(servers.kafka), `${name}.input`, PARTITIONS);
    await createTopic(kafkaClient(servers.kafka), `${name}.features`, PARTITIONS);
    const line = w1Line(name, `${name}.input`, "declared", PARTITIONS);
    const feature = await runFeature(line, join(folder, name), servers.kafka);
    const both = AbortSignal.any([stop, feature.failed]);
    try {
      return await work({ feature, feed: (events) => feed(broker, name, events, both) });
    } finally {
      await feature.stop();
    }
  };
  try {
    const few = await withFeature("few", async ({ feature, feed: give }) => {
      await give(payments(W1));
      return peakMb(feature);
    });
    say(`${FEW.keys} keys: ${Math.round(few)} MB`);
    const many = await withFeature("many", async ({ feature, feed: give }) => {
      await give(roundRobin(MANY.keys, MANY.events));
      return peakMb(feature);
    });
    say(`${MANY.keys} keys: ${Math.round(many)} MB`);
    const [before, after] = await withFeature("churn", async ({ feature, feed: give }) => {
      await give(churn(0, CHURN.steadyHours));
      const steady = await peakMb(feature);
      await give(churn(CHURN.steadyHours, CHURN.steadyHours + CHURN.hours));
      return [steady, await peakMb(feature)];
    });
    const growth = (after as number) / (before as number);
    say(
      `after ${CHURN.steadyHours} h of keys that come and go: ${Math.round(before as number)} MB; an hour later ${Math.round(after as number)} MB`,
    );
    return {
      value: many,
      baseline: null,
      faults: [
        ...(few <= FEW.mbMax ? [] : [`${Math.round(few)} MB with ${FEW.keys} keys, more than ${FEW.mbMax}`]),
        ...(growth <= GROWTH_MAX ? [] : [`memory grew ${growth.toFixed(3)} times in an hour of expiry`]),
      ],
      parts: {
        [`peakMbWith${FEW.keys}Keys`]: few,
        [`peakMbWith${MANY.keys}Keys`]: many,
        expiry: { keysADay: CHURN.keys, peakMbBefore: before, peakMbAfterAnHour: after, growth },
      },
    };
  } finally {
    await broker.stop();
    await rm(folder, { recursive: true, force: true });
    await servers.stop();
  }
}

interface Fed {
  readonly feature: RunningFeature;
  /** Sends the events and waits until their vectors are there. */
  readonly feed: (events: Iterable<Payment>) => Promise<void>;
}

async function feed(
  broker: Broker,
  name: string,
  events: Iterable<Payment>,
  stop: AbortSignal,
): Promise<void> {
  const topic = `${name}.input`;
  let records: OutputRecord[] = [];
  for (const one of events) {
    const partition = partitionOf(one.account, PARTITIONS);
    records.push({ topic, partition, key: one.account, value: paymentJson(one) });
    if (records.length < SEND_RECORDS) continue;
    stop.throwIfAborted();
    await broker.send(records);
    records = [];
  }
  await broker.send(records);
  const ends = async (of: string): Promise<number> =>
    (await broker.offsets(of)).reduce((sum, { end }) => sum + end, 0);
  // No duplicates but W1's: the vectors are all there when nothing more comes.
  for (let seen = -1, still = 0; still < 10; await sleep(500, stop)) {
    stop.throwIfAborted();
    const now = await ends(`${name}.features`);
    still = now === seen ? still + 1 : 0;
    seen = now;
  }
}

async function peakMb({ pid }: RunningFeature): Promise<number> {
  return (await usageOf([pid]))?.peakRssMb ?? Number.NaN;
}

const claim: Claim = {
  name: "features-memory",
  statement:
    "The feature service holds 22 features of 1,000,000 keys in 2.5 GB and of 20,000 keys in 250 MB, and does not grow while " +
    "keys come and go.",
  unit: "MB",
  target: { atMost: MANY.mbMax },
  limitSeconds: 1_200,
  run,
};
export default claim;
