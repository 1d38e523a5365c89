import { join } from "node:path";
import { createKafkaBroker } from "@millrace/kafka";
import { startTestServers } from "@millrace/local";
import { createLog, sleep, systemClock } from "@millrace/runtime";
import { type Broker, fileCheckpoints, startStep } from "@millrace/stream";
import kafkajs, { type Kafka } from "kafkajs";
import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import { flightEvents } from "../flight-events.ts";

const FLIGHTS = 100_000;
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

/** Records a second from the first batch taken until the last record is acknowledged in the output topic. */
async function measure(
  copy: Copier,
  broker: Broker,
  output: string,
  total: number,
  stop: AbortSignal,
): Promise<number> {
  await createTopic(broker, output);
  let startedAt = 0;
  let problem: unknown = null;
  const end = await copy(
    output,
    () => {
      startedAt ||= performance.now();
    },
    (error) => {
      problem = error;
    },
  );
  try {
    while ((await count(broker, output)) < total) {
      if (problem !== null) throw new Error("the copier failed", { cause: problem });
      stop.throwIfAborted();
      await sleep(WATCH_MS, stop);
    }
    return total / ((performance.now() - startedAt) / 1_000);
  } finally {
    await end();
  }
}

async function count(broker: Broker, topic: string): Promise<number> {
  return (await broker.offsets(topic)).reduce((sum, { end }) => sum + end, 0);
}

function createTopic(broker: Broker, name: string): Promise<void> {
  return broker.ensureTopics([{ name, key: "", owner: "", readers: [], config: {} }], PARTITIONS);
}

/** The events of the flights line as a producer writes them. */
async function fillInput(broker: Broker): Promise<number> {
  await createTopic(broker, INPUT);
  const records = flightEvents(FLIGHTS).map((event) => ({
    topic: INPUT,
    partition: Number(String(event.data["origin"]).slice(1)) % PARTITIONS,
    key: String(event.data["origin"]),
    value: JSON.stringify(event),
    headers: {},
  }));
  const producer = await broker.producer();
  for (let from = 0; from < records.length; from += SEND_RECORDS) {
    await producer.send(records.slice(from, from + SEND_RECORDS));
  }
  await producer.stop();
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
      plain: plainCopier(kafka),
      step: stepCopier(broker, join(servers.home, "checkpoints")),
    };
    const perSecond = { plain: [] as number[], step: [] as number[] };
    for (let i = 1; i <= RUNS; i++) {
      for (const which of ["plain", "step"] as const) {
        const figure = await measure(copiers[which], broker, `${which}-${i}`, total, stop);
        say(`${which === "plain" ? "kafkajs" : "step   "}   ${Math.round(figure)} records/s, run ${i}`);
        perSecond[which].push(figure);
      }
    }
    const surplus = (
      await Promise.all(perSecond.step.map(async (_, i) => (await count(broker, `step-${i + 1}`)) - total))
    ).reduce((sum, one) => sum + one, 0);
    return {
      value: median(perSecond.step),
      baseline: median(perSecond.plain),
      faults: surplus === 0 ? [] : [`${surplus} records were written more than once`],
      parts: {
        records: total,
        partitions: PARTITIONS,
        kafkajsPerSecond: perSecond.plain.map(Math.round),
        stepPerSecond: perSecond.step.map(Math.round),
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
