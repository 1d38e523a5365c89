import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  canonicalJson,
  type FeatureVector,
  GRPCInferenceService,
  HEADERS,
  lineTopic,
  type Prediction,
  registryApi,
  type ServiceStatus,
} from "@millrace/contracts";
import { createKafkaBroker } from "@millrace/kafka";
import flights from "@millrace/line-flights";
import { featureNames, featurePart } from "@millrace/lines";
import { REPOSITORY, startTestServers } from "@millrace/local";
import { createObjectStore } from "@millrace/objects";
import { constantModel } from "@millrace/onnx-graph";
import { createRpcClient, type RpcClient } from "@millrace/rpc";
import { createLog, type ObjectStore, sha256Hex, sleep } from "@millrace/runtime";
import type { Broker, OutputRecord } from "@millrace/stream";
import { readTopic } from "@millrace/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

/** The inference service as a process, beside a real registry, Kafka, NATS and MinIO. */
const log = createLog("test", "silent");
const TOKEN = "0123456789abcdef";
const NAMES = featureNames(flights);
const FEATURE_DIGEST = sha256Hex(canonicalJson(featurePart(flights)));

let folder: string;
let servers: Awaited<ReturnType<typeof startAll>>;
let environment: Record<string, string>;
let broker: Broker;
let objects: ObjectStore;
let registry: RpcClient<typeof registryApi.RegistryService>;
let registryProcess: ChildProcess;
let inference: ChildProcess;
let ports: { readonly registry: number; readonly inference: number; readonly ops: number };
const children: ChildProcess[] = [];

const startAll = () => startTestServers({ kafka: true, nats: true, s3: "minio" });

function run(service: "registry" | "inference", opsPort: number): ChildProcess {
  const child = spawn(process.execPath, [join(REPOSITORY, "services", service, "src/main.ts")], {
    env: {
      ...environment,
      MILLRACE_OPS_PORT: String(opsPort),
      MILLRACE_DATA: join(folder, service),
      MILLRACE_LOG_LEVEL: "error",
    },
    stdio: ["ignore", "inherit", "inherit"],
  });
  children.push(child);
  return child;
}

async function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exit = once(child, "exit");
  child.kill(signal);
  await exit;
  return child.exitCode;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function status(): Promise<ServiceStatus["lines"][string] | undefined> {
  const response = await fetch(`http://127.0.0.1:${ports.ops}/status`).catch(() => null);
  if (response === null) return undefined;
  return ((await response.json()) as ServiceStatus).lines["flights"];
}

async function until(what: () => Promise<boolean>, ms = 30_000): Promise<void> {
  const end = Date.now() + ms;
  while (Date.now() < end) {
    if (await what()) return;
    await sleep(20);
  }
  expect(await what()).toBe(true);
}

/** Registers and promotes a model that answers `score`; resolves with its version. */
async function promote(score: number): Promise<number> {
  const { epoch } = await registry.acquireLease({ line: "flights", holder: "test", ttlMs: 60_000n });
  const recipe = "constant";
  const bytes = constantModel({ features: NAMES, featureDigest: FEATURE_DIGEST, recipe }, score);
  const { version } = await registry.registerVersion({
    version: {
      line: "flights",
      artifactDigest: await objects.put(bytes),
      artifactBytes: BigInt(bytes.length),
      recipe,
      featureDigest: FEATURE_DIGEST,
      featureNames: NAMES,
      epoch,
      passed: true,
      trainedUntilMs: 1n,
    },
  });
  const { sets } = await registry.getAspiredSet({ line: "flights" });
  await registry.promote({
    line: "flights",
    version: version?.version ?? 0n,
    expectedGeneration: sets[0]?.generation ?? 0n,
    epoch,
    reason: "test",
  });
  return Number(version?.version);
}

let sent = 0;
/** Writes feature vectors as the feature service would. */
async function sendVectors(count: number): Promise<void> {
  const topic = lineTopic("flights", "features");
  const records: OutputRecord[] = Array.from({ length: count }, () => {
    const vector: FeatureVector = {
      id: `flight-${sent}`,
      time: 1_000_000 + sent,
      values: NAMES.map((_, i) => (i % 3 === 0 ? null : i)),
      features: FEATURE_DIGEST,
    };
    return {
      topic,
      partition: 0,
      key: vector.id,
      value: JSON.stringify(vector),
      headers: { [HEADERS.source]: `flights.events/0/${sent++}/0` },
    };
  });
  await broker.send(records);
}

/** All predictions of the stream, as any reader finds them; answers to direct calls stand beside them. */
async function readPredictions(): Promise<Prediction[]> {
  const records = await readTopic(broker, lineTopic("flights", "predictions"));
  return records
    .map(({ value }) => JSON.parse(Buffer.from(value ?? []).toString()) as Prediction)
    .filter(({ origin }) => origin === "stream");
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-inference-"));
  servers = await startAll();
  const { kafka, nats, s3 } = servers;
  ports = { registry: await freePort(), inference: await freePort(), ops: await freePort() };
  environment = {
    PATH: process.env["PATH"] ?? "",
    MILLRACE_KAFKA_BROKERS: kafka.brokers,
    MILLRACE_KAFKA_USERNAME: kafka.username ?? "",
    MILLRACE_KAFKA_PASSWORD: kafka.password ?? "",
    MILLRACE_NATS_URL: nats.url,
    MILLRACE_NATS_TOKEN: nats.token ?? "",
    MILLRACE_S3_URL: s3.url,
    MILLRACE_S3_ACCESS_KEY: s3.accessKey,
    MILLRACE_S3_SECRET_KEY: s3.secretKey,
    MILLRACE_TOKEN: TOKEN,
    MILLRACE_REGISTRY_URL: `127.0.0.1:${ports.registry}`,
    MILLRACE_REGISTRY_PORT: String(ports.registry),
    MILLRACE_INFERENCE_PORT: String(ports.inference),
    MILLRACE_INFERENCE_HTTP_PORT: "0",
  };
  const { username, password } = kafka;
  broker = createKafkaBroker({
    clientId: "test",
    brokers: kafka.brokers.split(","),
    sasl: username === undefined || password === undefined ? null : { username, password },
    log,
  });
  objects = createObjectStore({ ...s3, bucket: "millrace", log });
  await objects.ensureBucket();
  registry = createRpcClient(registryApi.RegistryService, `127.0.0.1:${ports.registry}`, { token: TOKEN });
  registryProcess = run("registry", await freePort());
  await until(() =>
    registry.applyLine({ definitionJson: canonicalJson(flights) }).then(
      () => true,
      () => false,
    ),
  );
  inference = run("inference", ports.ops);
}, 300_000);

afterAll(async () => {
  for (const child of children) await kill(child, "SIGKILL");
  registry?.close();
  await broker?.stop();
  await servers?.stop();
  await rm(folder, { recursive: true, force: true });
});

const infer = async (): Promise<{ version: string; score: number | undefined }> => {
  const client = createRpcClient(GRPCInferenceService, `127.0.0.1:${ports.inference}`, { token: null });
  try {
    const answer = await client.modelInfer({
      modelName: "flights",
      inputs: [{ name: "features", datatype: "FP32", shape: [1n, BigInt(NAMES.length)] }],
      rawInputContents: [new Uint8Array(NAMES.length * 4)],
    });
    const [bytes] = answer.rawOutputContents;
    const score = bytes === undefined ? undefined : Buffer.from(bytes).readFloatLE(0);
    return { version: answer.modelVersion, score };
  } finally {
    client.close();
  }
};

describe("inference on real servers", () => {
  it("holds the stream until there is a champion, then scores every vector and answers requests", async () => {
    await until(async () => (await status())?.details["held"] !== undefined);
    await sendVectors(300);
    await until(async () => (await status())?.details["held"] === "there is no champion yet");
    const version = await promote(0.25);
    await until(async () => (await status())?.details["champion"] === version);
    expect(await infer()).toEqual({ version: String(version), score: 0.25 });
    await until(async () => (await status())?.counts["predictions"] === 300);
    await until(async () => (await readPredictions()).length >= 300);
    const predictions = await readPredictions();
    expect(predictions.map((prediction) => prediction.id)).toEqual(
      Array.from({ length: 300 }, (_, i) => `flight-${i}`),
    );
    expect(predictions[0]).toMatchObject({ score: 0.25, version, features: FEATURE_DIGEST });
    expect((await fetch(`http://127.0.0.1:${ports.ops}/readyz`)).status).toBe(200);
  });

  it("swaps on the announcement, with the first trained version as shadow, and measures it", async () => {
    const version = await promote(0.75);
    const promotedAt = Date.now();
    await until(async () => (await status())?.details["champion"] === version);
    expect(Date.now() - promotedAt).toBeLessThan(1_500);
    expect((await infer()).score).toBe(0.75);
    await until(async () => (await status())?.details["lastSwap"] !== null);
    await sendVectors(10);
    await until(async () => (await readPredictions()).length >= 310);
    const last = (await readPredictions()).at(-1);
    expect(last).toMatchObject({ score: 0.75, version, shadows: { "1": 0.25 } });
    const metrics = await (await fetch(`http://127.0.0.1:${ports.ops}/metrics`)).text();
    for (const name of [
      'millrace_inference_requests_total{line="flights"',
      "millrace_inference_duration_seconds_bucket",
      "millrace_inference_in_flight",
      "millrace_swap_seconds_count",
      'millrace_inference_predictions_total{line="flights"',
    ]) {
      expect(metrics).toContain(name);
    }
  });

  it("scores each vector once when it is killed again and again", async () => {
    for (let kills = 0; kills < 3; kills++) {
      await sendVectors(200);
      await sleep(kills * 200);
      await kill(inference, "SIGKILL");
      inference = run("inference", ports.ops);
      await until(async () => (await status())?.details["champion"] === 2);
    }
    await until(async () => (await readPredictions()).length >= 910);
    const ids = (await readPredictions()).map((prediction) => prediction.id);
    expect(ids).toEqual(Array.from({ length: 910 }, (_, i) => `flight-${i}`));
  });

  it("drains on SIGTERM, and starts from its disk when everything else is down", async () => {
    expect(await kill(inference, "SIGTERM")).toBe(0);
    await kill(registryProcess, "SIGKILL");
    await broker.stop();
    await servers.stop();
    inference = run("inference", ports.ops);
    await until(
      () =>
        infer().then(
          ({ score }) => score === 0.75,
          () => false,
        ),
      10_000,
    );
    expect((await fetch(`http://127.0.0.1:${ports.ops}/readyz`)).status).toBe(200);
    const stoppedAt = Date.now();
    expect(await kill(inference, "SIGTERM")).toBe(0);
    expect(Date.now() - stoppedAt).toBeLessThan(9_000);
  });
});
