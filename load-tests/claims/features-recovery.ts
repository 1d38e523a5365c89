import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startTestServers } from "@millrace/local";
import { sleep } from "@millrace/runtime";
import type { Admin } from "kafkajs";
import { startChild } from "../child.ts";
import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import { kafkaClient } from "../kafka-client.ts";
import type { OpenLoop } from "../open-loop.ts";
import { compareOutputs, oracleOutputs, readOutputs, vectorOutput } from "../outputs.ts";
import { type RunningFeature, runFeature } from "../run-feature.ts";
import { W1 } from "../w1.ts";
import { createTopic, produceW1 } from "../w1-input.ts";
import { w1Line } from "../w1-line.ts";

const PARTITIONS = 4;
const ACCOUNTS = 200_000;
const PRELOADED = 1_500_000;
const PER_SECOND = 5_000;
const KILLS = 5;
/** Between two kills: each partition saves a checkpoint. */
const BETWEEN_MS = 15_000;
const SECONDS_MAX = 2;
const NAME = "recovery";
const INPUT = `${NAME}.input`;
const OUTPUT = `${NAME}.features`;

async function run({ say, stop }: Context): Promise<Measurement> {
  const servers = await startTestServers({ kafka: true });
  const folder = await mkdtemp(join(tmpdir(), "millrace-recovery-"));
  const kafka = kafkaClient(servers.kafka);
  const admin = kafka.admin();
  let feature: RunningFeature | undefined;
  try {
    await admin.connect();
    const preloaded = { ...W1, events: PRELOADED, accounts: ACCOUNTS };
    say(`producing ${PRELOADED} events of ${ACCOUNTS} accounts`);
    const input = await produceW1(kafka, INPUT, PARTITIONS, preloaded);
    await createTopic(kafka, OUTPUT, PARTITIONS);
    const line = w1Line(NAME, INPUT, "declared", PARTITIONS);
    const start = (): Promise<RunningFeature> => runFeature(line, folder, servers.kafka);
    feature = await start();
    await until(async () => (await endOf(admin, OUTPUT)) >= input.payments, stop);
    say("all vectors are there; killing under load");

    const workload = {
      ...preloaded,
      events: PRELOADED + PER_SECOND * Math.ceil((KILLS + 1) * (BETWEEN_MS / 1_000 + 3)),
    };
    const { brokers, username, password } = servers.kafka;
    const load: OpenLoop = {
      brokers: brokers.split(","),
      sasl: username === undefined ? null : { username, password: password ?? "" },
      topic: INPUT,
      partitions: PARTITIONS,
      workload,
      from: PRELOADED,
      perSecond: PER_SECOND,
    };
    const loader = startChild("open-loop.ts", load, stop);
    await loader.said();
    const seconds: number[] = [];
    for (let i = 1; i <= KILLS; i++) {
      await sleep(BETWEEN_MS, stop);
      stop.throwIfAborted();
      await feature.kill();
      const killedAt = performance.now();
      const stoodAt = await movedIn(admin);
      feature = await start();
      // Moving again: every partition has new vectors. Opening a writer adds one offset itself.
      await until(
        async () => (await movedIn(admin)).every((end, p) => end > (stoodAt[p] as number) + 1),
        stop,
      );
      seconds.push((performance.now() - killedAt) / 1_000);
      say(`kill ${i}: moving again after ${seconds.at(-1)?.toFixed(2)} s`);
    }
    await loader.end();
    say("comparing with the definition");
    const right = oracleOutputs(workload, "declared");
    await until(async () => (await endOf(admin, OUTPUT)) >= right.records, stop);
    await sleep(3_000, stop);
    await feature.stop();
    const ours = await readOutputs(kafka, OUTPUT, stop, vectorOutput);
    const { compared, different } = compareOutputs(ours, right);
    return {
      value: median(seconds),
      baseline: null,
      faults: [
        ...(ours.records === right.records && ours.repeated === 0
          ? []
          : [
              `${ours.records} vectors for ${right.records} payments, ${ours.repeated} of the sampled ones again`,
            ]),
        ...(different === 0 ? [] : [`${different} of ${compared} values are not those of a clean run`]),
      ],
      parts: {
        accounts: ACCOUNTS,
        perSecond: PER_SECOND,
        seconds,
        vectors: ours.records,
        values: { compared, different },
      },
    };
  } finally {
    await feature?.kill();
    await admin.disconnect();
    await rm(folder, { recursive: true, force: true });
    await servers.stop();
  }
}

async function movedIn(admin: Admin): Promise<number[]> {
  const offsets = await admin.fetchTopicOffsets(OUTPUT);
  return offsets.sort((a, b) => a.partition - b.partition).map(({ high }) => Number(high));
}

async function endOf(admin: Admin, topic: string): Promise<number> {
  return (await admin.fetchTopicOffsets(topic)).reduce((sum, { high }) => sum + Number(high), 0);
}

async function until(what: () => Promise<boolean>, stop: AbortSignal): Promise<void> {
  while (!(await what())) {
    await sleep(10, stop);
    stop.throwIfAborted();
  }
}

const claim: Claim = {
  name: "features-recovery",
  statement:
    "Killed with kill -9 while it holds the state of 200,000 keys, the feature service computes new vectors of every " +
    "partition within 2 s of its end, and all vectors are those of a clean run, each once.",
  unit: "s",
  target: { atMost: SECONDS_MAX },
  limitSeconds: 900,
  run,
};
export default claim;
