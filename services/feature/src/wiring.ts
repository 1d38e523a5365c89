import { join } from "node:path";
import { BlockFiles } from "@millrace/archive";
import { REGISTRY_SUBJECT, registryApi } from "@millrace/contracts";
import { createKafkaBroker, kafkaSettings } from "@millrace/kafka";
import { createAnnouncer } from "@millrace/nats";
import { createObjectStore } from "@millrace/objects";
import { openParquet, type Parquet } from "@millrace/parquet";
import { createRpcClient, type RpcClient, RpcError, serve, startRpcServer } from "@millrace/rpc";
import { bearerTokens, type Fail, type Log, type Service, systemClock } from "@millrace/runtime";
import {
  blockOf,
  type CheckpointIndex,
  CheckpointIndexUnavailableError,
  type CheckpointPointer,
  FencedError,
} from "@millrace/stream";
import type { FeatureConfig } from "./config.ts";
import { buildFeature } from "./service.ts";

const PARQUET_MEMORY_MB = 256;

type Registry = RpcClient<typeof registryApi.RegistryService>;

/** The feature service on real servers. */
export function wire(config: FeatureConfig, log: Log, fail: Fail): Service {
  const registry = createRpcClient(registryApi.RegistryService, config.MILLRACE_REGISTRY_URL, {
    token: config.MILLRACE_TOKEN,
  });
  const announcer = createAnnouncer({
    url: config.MILLRACE_NATS_URL,
    token: config.MILLRACE_NATS_TOKEN,
    log,
  });
  const broker = createKafkaBroker(kafkaSettings("feature", config, log));
  const objects = createObjectStore({
    url: config.MILLRACE_S3_URL,
    accessKey: config.MILLRACE_S3_ACCESS_KEY,
    secretKey: config.MILLRACE_S3_SECRET_KEY,
    bucket: config.MILLRACE_S3_BUCKET,
    log,
  });
  let opened: Promise<Parquet> | undefined;
  const parquet = (): Promise<Parquet> => {
    const scratch = join(config.MILLRACE_DATA, "spill");
    opened ??= openParquet({ memoryMb: PARQUET_MEMORY_MB, threads: 1, scratch });
    return opened;
  };
  return buildFeature(config, {
    broker,
    lines: {
      list: async () => (await registry.listLines({})).lines,
      onChange: (look) => announcer.subscribe(REGISTRY_SUBJECT, look),
    },
    objects,
    checkpointIndex: (line, step) => checkpointIndex(registry, line, step),
    blocks: async (topic) => (await registry.listBlocks({ topic, sinceTimeMs: 0n })).blocks.map(blockOf),
    files: new BlockFiles(join(config.MILLRACE_DATA, "blocks"), objects),
    parquet: {
      scan: async function* (files, schema) {
        yield* (await parquet()).scan(files, schema);
      },
    },
    serveOnline: (service, handlers) =>
      startRpcServer({
        host: config.MILLRACE_HOST,
        port: config.MILLRACE_FEATURE_PORT,
        authorise: bearerTokens([config.MILLRACE_TOKEN]),
        services: [serve(service, handlers)],
        requestBytesMax: 1_048_576,
        onDefect: (method, error) => log.error({ err: error, method }, "defect in a handler"),
      }),
    verifyEveryMs: config.MILLRACE_VERIFY_SECONDS * 1_000,
    clock: systemClock,
    log,
    fail,
    close: async () => {
      registry.close();
      await announcer.stop();
      await broker.stop();
      (await opened)?.close();
    },
  });
}

/** The registry as the index of shared checkpoints. */
function checkpointIndex(registry: Registry, line: string, step: string): CheckpointIndex {
  return {
    acquire: async (partition) => {
      const { epoch, checkpoints } = await registry
        .acquireCheckpoints({ line, step, partition })
        .catch(throwKind);
      return { epoch: Number(epoch), newest: checkpoints.map(pointerOf) };
    },
    put: async (partition, epoch, { manifest, version, offsets, bytes }) => {
      const checkpoint = {
        line,
        step,
        partition,
        manifestDigest: manifest,
        bytes: BigInt(bytes),
        version,
        offsets: Object.fromEntries(
          Object.entries(offsets).map(([topic, offset]) => [topic, BigInt(offset)]),
        ),
        epoch: BigInt(epoch),
      };
      const answer = await registry.putCheckpoint({ checkpoint }).catch(throwKind);
      return { kept: answer.keptManifestDigests, dropped: answer.droppedManifestDigests };
    },
  };
}

function pointerOf({ manifestDigest, version, offsets, bytes }: registryApi.Checkpoint): CheckpointPointer {
  return {
    manifest: manifestDigest,
    version,
    offsets: Object.fromEntries(Object.entries(offsets).map(([topic, offset]) => [topic, Number(offset)])),
    bytes: Number(bytes),
  };
}

function throwKind(error: unknown): never {
  if (!(error instanceof RpcError)) throw error;
  if (error.code === "failedPrecondition") throw new FencedError(error.message, { cause: error });
  const isAway = error.code === "unavailable" || error.code === "deadlineExceeded";
  throw isAway ? new CheckpointIndexUnavailableError("the registry is away", { cause: error }) : error;
}
