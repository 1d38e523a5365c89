import { join } from "node:path";
import { REGISTRY_SUBJECT, registryApi } from "@millrace/contracts";
import type { SchemaReader } from "@millrace/events";
import { createKafkaBroker, kafkaSettings } from "@millrace/kafka";
import { createAnnouncer } from "@millrace/nats";
import { createObjectStore } from "@millrace/objects";
import { openParquet, type Parquet } from "@millrace/parquet";
import { createRpcClient, type RpcClient, RpcError } from "@millrace/rpc";
import { type Fail, type Log, type Service, systemClock } from "@millrace/runtime";
import { createSchemaReader, createSchemaRegistryClient } from "@millrace/schemas";
import {
  type Block,
  type BlockIndex,
  BlockIndexUnavailableError,
  blockMessage,
  blockOf,
} from "@millrace/stream";
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
  const openedParquet = (): Promise<Parquet> => {
    parquet ??= openParquet({
      memoryMb: PARQUET_MEMORY_MB,
      threads: 1,
      scratch: join(config.MILLRACE_DATA, "spill"),
    });
    return parquet;
  };
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
    blocks: (topic, partition) => listBlocks(registry, topic, partition),
    readRows: async (file) => {
      const { columns } = await (await openedParquet()).read([file], { id: "text", time: "float64" });
      return { ids: columns.id as string[], times: columns.time };
    },
    writeParquet: async (file, columns) => (await openedParquet()).write(file, columns),
    schemas: schemaReader(config),
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

/** null: no schema registry is set. */
function schemaReader(config: IngestConfig): SchemaReader | null {
  const url = config.MILLRACE_SCHEMA_REGISTRY_URL;
  if (url === undefined) return null;
  const username = config.MILLRACE_SCHEMA_REGISTRY_USERNAME;
  const password = config.MILLRACE_SCHEMA_REGISTRY_PASSWORD;
  return createSchemaReader({
    client: createSchemaRegistryClient({ url, username, password }),
    now: () => systemClock.now(),
  });
}

type Registry = RpcClient<typeof registryApi.RegistryService>;

async function listBlocks(registry: Registry, topic: string, partition: number): Promise<readonly Block[]> {
  const { blocks } = await registry.listBlocks({ topic, sinceTimeMs: 0n }).catch(throwKind);
  return blocks.filter((block) => block.partition === partition).map(blockOf);
}

/** The registry as the index of blocks. */
function blockIndex(registry: Registry): BlockIndex {
  return {
    nextOffset: async (topic, partition) => {
      const blocks = await listBlocks(registry, topic, partition);
      return blocks.length === 0 ? null : Math.max(...blocks.map((block) => block.nextOffset));
    },
    add: async (block) => {
      await registry.addBlock({ block: blockMessage(block) }).catch(throwKind);
    },
  };
}

/** Tells a registry that is away, which passes, from one that refuses. */
function throwKind(error: unknown): never {
  const isAway =
    error instanceof RpcError && (error.code === "unavailable" || error.code === "deadlineExceeded");
  throw isAway ? new BlockIndexUnavailableError("the registry is away", { cause: error }) : error;
}
