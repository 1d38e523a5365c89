import { join } from "node:path";
import { REGISTRY_SUBJECT, registryApi } from "@millrace/contracts";
import { createKafkaBroker, kafkaSettings } from "@millrace/kafka";
import { createAnnouncer } from "@millrace/nats";
import { createObjectStore } from "@millrace/objects";
import { openParquet, type Parquet } from "@millrace/parquet";
import { createRpcClient, type RpcClient, RpcError } from "@millrace/rpc";
import { type Fail, type Log, type Service, systemClock } from "@millrace/runtime";
import { type BlockIndex, BlockIndexUnavailableError, type SeenPositions } from "@millrace/stream";
import type { IngestConfig } from "./config.ts";
import { buildIngest } from "./service.ts";

const PARQUET_MEMORY_MB = 256;

/** Ingest on real servers. */
export function wire(config: IngestConfig, log: Log, fail: Fail): Service {
  const registry = createRpcClient(registryApi.RegistryService, config.MILLRACE_REGISTRY_URL, {
    token: config.MILLRACE_TOKEN,
  });
  const announcer = createAnnouncer({
    url: config.MILLRACE_NATS_URL,
    token: config.MILLRACE_NATS_TOKEN,
    log,
  });
  const broker = createKafkaBroker(kafkaSettings("ingest", config, log));
  let parquet: Promise<Parquet> | undefined;
  return buildIngest(config, {
    broker,
    lines: {
      list: async () => (await registry.listLines({})).lines,
      onChange: (look) => announcer.subscribe(REGISTRY_SUBJECT, look),
    },
    index: blockIndex(registry),
    objects: createObjectStore({
      url: config.MILLRACE_S3_URL,
      accessKey: config.MILLRACE_S3_ACCESS_KEY,
      secretKey: config.MILLRACE_S3_SECRET_KEY,
      bucket: config.MILLRACE_S3_BUCKET,
      log,
    }),
    writeParquet: async (file, columns) => {
      const scratch = join(config.MILLRACE_DATA, "spill");
      parquet ??= openParquet({ memoryMb: PARQUET_MEMORY_MB, threads: 1, scratch });
      await (await parquet).write(file, columns);
    },
    clock: systemClock,
    log,
    fail,
    close: async () => {
      registry.close();
      await announcer.stop();
      await broker.stop();
      (await parquet)?.close();
    },
  });
}

/** The registry as the index of blocks. */
function blockIndex(registry: RpcClient<typeof registryApi.RegistryService>): BlockIndex {
  return {
    newest: async (topic, partition) => {
      const { blocks } = await registry.listBlocks({ topic, sinceTimeMs: 0n }).catch(throwKind);
      const ends = blocks.filter((block) => block.partition === partition);
      const newest = ends.sort((a, b) => Number(b.nextOffset - a.nextOffset))[0];
      return newest === undefined
        ? null
        : { nextOffset: Number(newest.nextOffset), seen: JSON.parse(newest.seenJson) as SeenPositions };
    },
    add: async (block) => {
      const { firstOffset, nextOffset, rows, bytes, minTimeMs, maxTimeMs, maxKnownAtMs, seen, ...rest } =
        block;
      await registry
        .addBlock({
          block: {
            ...rest,
            firstOffset: BigInt(firstOffset),
            nextOffset: BigInt(nextOffset),
            rows: BigInt(rows),
            bytes: BigInt(bytes),
            minTimeMs: BigInt(minTimeMs),
            maxTimeMs: BigInt(maxTimeMs),
            maxKnownAtMs: BigInt(maxKnownAtMs),
            seenJson: JSON.stringify(seen),
          },
        })
        .catch(throwKind);
    },
  };
}

/** Tells a registry that is away, which passes, from one that refuses. */
function throwKind(error: unknown): never {
  const isAway =
    error instanceof RpcError && (error.code === "unavailable" || error.code === "deadlineExceeded");
  throw isAway ? new BlockIndexUnavailableError("the registry is away", { cause: error }) : error;
}
