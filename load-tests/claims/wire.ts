import { join } from "node:path";
import { createKafkaBroker } from "@millrace/kafka";
import { startTestServers } from "@millrace/local";
import { createLog, sleep, systemClock } from "@millrace/runtime";
import { type Broker, fileCheckpoints, startStep } from "@millrace/stream";
import kafkajs, { type Kafka } from "kafkajs";
import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import { flightEvents } from "../flight-events.ts";

const FLIGHTS = 250_000;
const PARTITIONS = 4;
const RUNS = 3;
const INPUT = "wire.input";
const SEND_RECORDS = 2_000;
const WATCH_MS = 10;
const CHECKPOINT_EVERY_MS = 2_000;

/** Starts what copies the input topic to `output`; answers how to stop it. */
type Copier = (
  output: string,
  onFirst: () => void,
  fail: (error: unknown) => void,
) => Promise<() => Promise<void>>;

/** A plain kafkajs program, as its documentation writes it: each batch is sent on as one batch. */
function plainCopier(kafka: Kafka): Copier {
  return async (output, onFirst, fail) => {
    const producer = kafka.producer({ allowAutoTopicCreation: false });
    const consumer = kafka.consumer({
      groupId: `plain.${output}`,
      maxWaitTimeInMs: 100,
      allowAutoTopicCreation: false,
    });
    consumer.on(consumer.events.CRASH, ({ payload }) => fail(payload.error));
    await producer.connect();
    await consumer.connect();
    await consumer.subscribe({ topics: [INPUT], fromBeginning: true });
    await consumer.run({
      partitionsConsumedConcurrently: PARTITIONS,
      eachBatch: async ({ batch }) => {
        onFirst();
        const messages = batch.messages.map(({ key, value }) => ({ key, value, partition: batch.partition }));
        await producer.sendBatch({ acks: -1, topicMessages: [{ topic: output, messages }] });
      },
    });
    return async () => {
      await consumer.disconnect();
      await producer.disconnect();
    };
  };
}

/** The same as a step of ours: with source positions, checkpoints in files and an exactly-once effect. */
function stepCopier(broker: Broker, folder: string): Copier {
  return async (output, onFirst, fail) => {
    const step = await startStep(
      {
        name: `wire.${output}`,
        topics: [INPUT],
        outputs: [output],
        checkpoints: fileCheckpoints(join(folder, output)),
        checkpointEveryMs: CHECKPOINT_EVERY_MS,
        createTask: () => ({
          process: (records, emit) => {
            onFirst();
            for (const record of records) emit(record, output, { key: record.key, value: record.value });
          },
          snapshot: () => null,
        }),
      },
      { broker, clock: systemClock, log: createLog("wire", "silent"), fail },
    );
    return () => step.stop();
  };
}

interface Speed {
  readonly perSecond: number;
  /** CPU seconds of this process for a million records; the broker's are not among them. */
  readonly cpuSecondsPerMillion: number;
}

/** From the first batch taken until the last record is acknowledged in the output topic. */
async function measure(
  copy: Copier,
  broker: Broker,
  output: string,
  { total, ends }: { readonly total: number; readonly ends: number },
  stop: AbortSignal,
): Promise<Speed> {
  await createTopic(broker, output);
  let startedAt = 0;
  let usedBefore = process.cpuUsage();
  let problem: unknown = null;
  const end = await copy(
    output,
    () => {
      if (startedAt > 0) return;
      startedAt = performance.now();
      usedBefore = process.cpuUsage();
    },
    (error) => {
      problem = error;
    },
  );
  try {
    while ((await count(broker, output)) < ends) {
      if (problem !== null) throw new Error("the copier failed", { cause: problem });
      stop.throwIfAborted();
      await sleep(WATCH_MS, stop);
    }
    const seconds = (performance.now() - startedAt) / 1_000;
    const { user, system } = process.cpuUsage(usedBefore);
    return { perSecond: total / seconds, cpuSecondsPerMillion: (user + system) / total };
  } finally {
    await end();
  }
}

/** Offsets used; a step's writer uses one up in each partition when it is opened. */
async function count(broker: Broker, topic: string): Promise<number> {
  return (await broker.offsets(topic)).reduce((sum, { end }) => sum + end, 0);
}

/** Records that any reader finds. */
async function countRecords(broker: Broker, topic: string): Promise<number> {
  let found = 0;
  for (const { partition, first, end } of await broker.offsets(topic)) {
    for await (const records of broker.read(topic, partition, first, end)) found += records.length;
  }
  return found;
}

function createTopic(broker: Broker, name: string): Promise<void> {
  return broker.ensureTopics([{ name, key: "", owner: "", readers: [], config: {} }], PARTITIONS);
}

/** The events of the flights line as a producer writes them. */
async function fillInput(broker: Broker): Promise<number> {
  await createTopic(broker, INPUT);
  const records = flightEvents(FLIGHTS).map((event) => {
    const origin = event.data["origin"] as string;
    const partition = Number(origin.slice(1)) % PARTITIONS;
    return { topic: INPUT, partition, key: origin, value: JSON.stringify(event) };
  });
  for (let from = 0; from < records.length; from += SEND_RECORDS) {
    await broker.send(records.slice(from, from + SEND_RECORDS));
  }
  return records.length;
}

async function run({ say, stop }: Context): Promise<Measurement> {
  const servers = await startTestServers({ kafka: true });
  const { brokers, username = "", password = "" } = servers.kafka;
  const settings = { clientId: "wire", brokers: brokers.split(","), sasl: { username, password } };
  const log = createLog("wire", "silent");
  const broker = createKafkaBroker({ ...settings, log });
  try {
    const total = await fillInput(broker);
    const kafka = new kafkajs.Kafka({
      ...settings,
      sasl: { mechanism: "plain", username, password },
      logLevel: kafkajs.logLevel.NOTHING,
    });
    const copiers = {
      plain: { copy: plainCopier(kafka), ends: total },
      step: { copy: stepCopier(broker, join(servers.home, "checkpoints")), ends: total + PARTITIONS },
    };
    const speeds = { plain: [] as Speed[], step: [] as Speed[] };
    for (let i = 1; i <= RUNS; i++) {
      for (const which of ["plain", "step"] as const) {
        const { copy, ends } = copiers[which];
        const speed = await measure(copy, broker, `${which}-${i}`, { total, ends }, stop);
        say(
          `${which === "plain" ? "kafkajs" : "step   "}   ${Math.round(speed.perSecond)} records/s, ` +
            `${speed.cpuSecondsPerMillion.toFixed(1)} CPU s per million, run ${i}`,
        );
        speeds[which].push(speed);
      }
    }
    const surplus = (
      await Promise.all(
        speeds.step.map(async (_, i) => (await countRecords(broker, `step-${i + 1}`)) - total),
      )
    ).reduce((sum, one) => sum + one, 0);
    const perSecond = (all: readonly Speed[]): number[] => all.map((one) => Math.round(one.perSecond));
    const cpu = (all: readonly Speed[]): number => median(all.map((one) => one.cpuSecondsPerMillion));
    return {
      value: median(perSecond(speeds.step)),
      baseline: median(perSecond(speeds.plain)),
      faults: surplus === 0 ? [] : [`the output topics hold ${surplus} records more than the input`],
      parts: {
        records: total,
        partitions: PARTITIONS,
        kafkajsPerSecond: perSecond(speeds.plain),
        stepPerSecond: perSecond(speeds.step),
        kafkajsCpuSecondsPerMillion: cpu(speeds.plain),
        stepCpuSecondsPerMillion: cpu(speeds.step),
      },
    };
  } finally {
    await broker.stop();
    await servers.stop();
  }
}

const claim: Claim = {
  name: "wire",
  statement:
    "A step with an exactly-once effect moves at least 0.8 times as many records a second through a real Kafka as " +
    "plain kafkajs, which has none.",
  unit: "records/s",
  target: { atLeastTimesBaseline: 0.8 },
  limitSeconds: 300,
  run,
};
export default claim;
