import { spawn } from "node:child_process";
import { join } from "node:path";
import { BlockFiles } from "@millrace/archive";
import { featureApi, GRPCInferenceService, registryApi } from "@millrace/contracts";
import { createKafkaBroker } from "@millrace/kafka";
import {
  downMesh,
  existingServers,
  instanceFolder,
  progressLine,
  REPOSITORY,
  RunningError,
  readPorts,
  readSecrets,
  readSigningKey,
  resetMesh,
  StartError,
  startMesh,
} from "@millrace/local";
import { createObjectStore } from "@millrace/objects";
import { loadModel, madeUpSamples } from "@millrace/onnx";
import { openParquet, PARQUET_MODULE, type Parquet, TableFileError } from "@millrace/parquet";
import { createRpcClient } from "@millrace/rpc";
import { createLog } from "@millrace/runtime";
import { signingKey } from "@millrace/signing";
import { blockOf } from "@millrace/stream";
import type { CliConfig } from "./config.ts";
import { Failure } from "./failure.ts";
import type { Clients, Local, MeshAddress } from "./mesh.ts";

export type { RpcClient } from "@millrace/rpc";

/** The bucket of a local mesh: the services' default. */
const BUCKET = "millrace";
const PARQUET_MEMORY_MB = 512;
/** For sorting what is replayed, in all threads together. */
const REPLAY_MEMORY_MB = 1_024;

/** The repository's root folder. */
export const repository: string = REPOSITORY;

/** The mesh on this machine: where it lives, how it is reached, started and stopped. */
export function localMesh(config: CliConfig): Local {
  const home = instanceFolder(config.environment);
  return {
    home,
    address: () => findMesh(home, config),
    signingKey: async () => {
      const text = config.environment["MILLRACE_SIGNING_KEY"] || (await readSigningKey(home))?.privatePem;
      return text === undefined ? null : signingKey(text);
    },
    start: (onChange, onProgress) =>
      startMesh({ home, onChange, onProgress: (progress) => onProgress(progressLine(progress)) }),
    down: () => downMesh(home),
    reset: () => resetMesh(home),
    missingPrerequisites,
  };
}

async function findMesh(home: string, config: CliConfig): Promise<MeshAddress | null> {
  const ports = await readPorts(home);
  const secrets = await readSecrets(home);
  if (ports === undefined || secrets === undefined) return null;
  const at = (port: number): string => `127.0.0.1:${port}`;
  const existing = existingServers(config.environment);
  return {
    home,
    kafka: existing.kafka ?? {
      brokers: at(ports.kafka),
      username: secrets.kafkaUsername,
      password: secrets.kafkaPassword,
    },
    nats: existing.nats ?? { url: at(ports.nats), token: secrets.natsToken },
    s3: existing.s3 ?? {
      url: `http://${at(ports.s3)}`,
      accessKey: secrets.s3AccessKey,
      secretKey: secrets.s3SecretKey,
    },
    registry: at(ports.registry),
    feature: at(ports.feature),
    inference: at(ports.inference),
    inferenceHttp: `http://${at(ports.inferenceHttp)}`,
    token: secrets.token,
    ops: {
      registry: `http://${at(ports.registryOps)}`,
      ingest: `http://${at(ports.ingestOps)}`,
      feature: `http://${at(ports.featureOps)}`,
      inference: `http://${at(ports.inferenceOps)}`,
      trainer: `http://${at(ports.trainerOps)}`,
    },
  };
}

/** Clients of a mesh; nothing connects before its first use. */
export function connectMesh(address: MeshAddress, config: CliConfig): Clients {
  const { kafka, token } = address;
  const registry = createRpcClient(registryApi.RegistryService, address.registry, { token });
  const feature = createRpcClient(featureApi.FeatureService, address.feature, { token });
  const inference = createRpcClient(GRPCInferenceService, address.inference, { token: null });
  const log = createLog("cli", config.logLevel);
  const broker = createKafkaBroker({
    clientId: "millrace-cli",
    brokers: kafka.brokers.split(","),
    sasl:
      kafka.username === undefined || kafka.password === undefined
        ? null
        : { username: kafka.username, password: kafka.password },
    log,
  });
  const objects = createObjectStore({ ...address.s3, bucket: BUCKET, log });
  const scratch = join(address.home, "cache");
  let opened: Promise<Parquet> | undefined;
  const parquet = (): Promise<Parquet> => {
    opened ??= openParquet({ memoryMb: PARQUET_MEMORY_MB, threads: 1, scratch: join(scratch, "spill") });
    return opened;
  };
  return {
    registry,
    feature,
    inference,
    broker,
    objects,
    archivedBlocks: async (topic) =>
      (await registry.listBlocks({ topic, sinceTimeMs: 0n })).blocks.map(blockOf),
    archive: {
      files: new BlockFiles(join(scratch, "blocks"), objects),
      parquet: {
        scan: async function* (files, schema) {
          yield* (await parquet()).scan(files, schema);
        },
      },
    },
    tables: {
      scan: { module: PARQUET_MODULE, memoryMb: REPLAY_MEMORY_MB, scratch: join(scratch, "replay") },
      openTable: async (file, texts) => (await parquet()).openTable(file, texts),
      write: async (file, columns) => (await parquet()).write(file, columns),
    },
    loadModel: (bytes, { threads, optimisation, providers }) =>
      loadModel(bytes, { threads, optimisation, providers, compile: true }),
    madeUpRequests: madeUpSamples,
    close: async () => {
      registry.close();
      feature.close();
      inference.close();
      await broker.stop();
      (await opened)?.close();
    },
  };
}

/** Refusals of the mesh, and of files, as something the user can act on; null: none of them. */
export function meshFailure(error: unknown): Failure | null {
  if (error instanceof RunningError) {
    return new Failure(
      "a mesh already runs in this folder",
      "Use it (`npx millrace status`), stop it with `npx millrace down`, or choose another folder with --home.",
      { cause: error },
    );
  }
  if (error instanceof TableFileError) {
    return new Failure(error.message, "Name a Parquet file, or a CSV file with a header.", { cause: error });
  }
  if (error instanceof StartError) {
    return new Failure(error.message, "`npx millrace doctor` says what is missing.", { cause: error });
  }
  return null;
}

/** The bootstrap knows what the machine needs; it runs before anything is installed, so it is asked as a program. */
async function missingPrerequisites(): Promise<readonly string[]> {
  const bootstrap = join(REPOSITORY, "deploy/local/bootstrap.mjs");
  const child = spawn(process.execPath, [bootstrap, "prerequisites"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let text = "";
  child.stderr.on("data", (chunk: Buffer) => {
    text += chunk.toString("utf8");
  });
  const code = await new Promise<number>((resolve) => {
    child.once("error", () => resolve(127));
    child.once("close", (exit) => resolve(exit ?? 1));
  });
  if (code === 0) return [];
  const lines = text.split("\n").filter((line) => line.startsWith("  "));
  return lines.length > 0 ? lines.map((line) => line.trim()) : [text.trim()];
}
