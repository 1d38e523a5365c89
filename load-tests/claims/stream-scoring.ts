import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lineTopic, VectorWriter } from "@millrace/contracts";
import { createKafkaBroker } from "@millrace/kafka";
import { startTestServers } from "@millrace/local";
import { createLog } from "@millrace/runtime";
import type { Broker } from "@millrace/stream";
import { random } from "@millrace/testkit";
import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import { kafkaClient } from "../kafka-client.ts";
import { measureProcess, type ProcessFigures } from "../measure-process.ts";
import { FEATURE_DIGEST, type TestModel, treesModel } from "../models.ts";
import { LOADER_CORE, pin, SERVER_CORE } from "../pinned-process.ts";
import { inferenceSettings, layOut } from "../run-inference.ts";
import { runService } from "../run-service.ts";
import { createTopic } from "../w1-input.ts";

const VECTORS = 600_000;
const PARTITIONS = 4;
const SEND_RECORDS = 2_000;
const RUNS = 3;
const PER_SECOND_MIN = 60_000;
const SEED = 11;

/** Feature vectors as the feature service writes them, compact; the id of the i-th is `v` and i. */
async function produceVectors(broker: Broker, { name, features }: TestModel): Promise<void> {
  const draw = random(SEED);
  const decimals = features.map(() => "full" as const);
  const writer = new VectorWriter({ names: features, decimals, digest: FEATURE_DIGEST, format: "binary" });
  const values = new Float64Array(features.length);
  const text = new TextEncoder();
  for (let from = 0; from < VECTORS; from += SEND_RECORDS) {
    const records = Array.from({ length: Math.min(SEND_RECORDS, VECTORS - from) }, (_, i) => {
      const id = `v${from + i}`;
      const bytes = text.encode(id);
      for (let j = 0; j < values.length; j++) values[j] = 4 * draw() - 2;
      const value = writer.write({ bytes, start: 0, end: bytes.length }, 1_000 * (from + i), values);
      const partition = (from + i) % PARTITIONS;
      return { topic: lineTopic(name, "features"), partition, key: id, value: value.slice() };
    });
    await broker.send(records);
  }
}

/** How many predictions are there for ids that have one already, and for how many ids there is none. */
async function compare(broker: Broker, topic: string): Promise<{ repeated: number; missing: number }> {
  const seen = new Uint8Array(VECTORS);
  let [repeated, missing] = [0, VECTORS];
  for (const { partition, first, end } of await broker.offsets(topic)) {
    for await (const records of broker.read(topic, partition, first, end)) {
      for (const { value } of records) {
        const { id } = JSON.parse(Buffer.from(value ?? []).toString("utf8")) as { id: string };
        const number = Number(id.slice(1));
        if (seen[number] === 0) missing--;
        else repeated++;
        seen[number] = 1;
      }
    }
  }
  return { repeated, missing };
}

async function run({ say, stop }: Context): Promise<Measurement> {
  const servers = await startTestServers({ kafka: true });
  const folder = await mkdtemp(join(tmpdir(), "millrace-scoring-"));
  const { brokers, username = "", password = "" } = servers.kafka;
  const sasl = { username, password };
  const log = createLog("claim", "silent");
  const broker = createKafkaBroker({ clientId: "claim", brokers: brokers.split(","), sasl, log });
  try {
    await pin(servers.status(), LOADER_CORE);
    const kafka = kafkaClient(servers.kafka);
    const runs: (ProcessFigures & { readonly repeated: number; readonly missing: number })[] = [];
    for (let i = 1; i <= RUNS; i++) {
      const model = treesModel(`scored-${i}`, SEED);
      const topic = lineTopic(model.name, "predictions");
      await createTopic(kafka, lineTopic(model.name, "features"), PARTITIONS);
      await createTopic(kafka, topic, PARTITIONS);
      await produceVectors(broker, model);
      const own = join(folder, model.name);
      await layOut([model], own);
      const settings = {
        ...inferenceSettings("http2"),
        MILLRACE_KAFKA_BROKERS: brokers,
        MILLRACE_KAFKA_USERNAME: username,
        MILLRACE_KAFKA_PASSWORD: password,
      };
      const service = await runService(
        { service: "inference", folder: own, core: SERVER_CORE, settings },
        stop,
      );
      let figures: ProcessFigures;
      try {
        figures = await measureProcess({
          kafka,
          pids: [service.pid],
          topic,
          outputs: VECTORS,
          stop: AbortSignal.any([stop, service.failed]),
        });
      } finally {
        await service.stop();
      }
      const found = { ...figures, ...(await compare(broker, topic)) };
      say(`run ${i}: ${JSON.stringify(found)}`);
      runs.push(found);
    }
    return {
      value: median(runs.map(({ cpuSecondsPerMillion }) => 1e6 / cpuSecondsPerMillion)),
      baseline: null,
      faults: runs.flatMap(({ repeated, missing }, i) =>
        repeated + missing === 0
          ? []
          : [`run ${i + 1}: ${repeated} predictions came again, ${missing} never`],
      ),
      parts: {
        vectors: VECTORS,
        partitions: PARTITIONS,
        eventsPerSecond: median(runs.map(({ eventsPerSecond }) => eventsPerSecond)),
        secondHalfEventsPerSecond: median(runs.map((one) => one.secondHalfEventsPerSecond)),
        runs,
      },
    };
  } finally {
    await broker.stop();
    await rm(folder, { recursive: true, force: true });
    await servers.stop();
  }
}

const claim: Claim = {
  name: "stream-scoring",
  statement:
    "One core scores at least 60,000 feature vectors a second from Kafka to Kafka with a LightGBM model, each exactly once.",
  unit: "events/s per core",
  target: { atLeast: PER_SECOND_MIN },
  limitSeconds: 600,
  run,
};
export default claim;
