import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { REGISTRY_SUBJECT, registryApi } from "@millrace/contracts";
import { createKafkaBroker, kafkaSettings } from "@millrace/kafka";
import { createAnnouncer } from "@millrace/nats";
import { createObjectStore } from "@millrace/objects";
import { loadModel } from "@millrace/onnx";
import { openParquet, type Parquet } from "@millrace/parquet";
import { createRpcClient, RpcError } from "@millrace/rpc";
import { type Fail, type Log, type Service, systemClock } from "@millrace/runtime";
import type { Config } from "./config.ts";
import { buildTrainer } from "./service.ts";

const PARQUET_MEMORY_MB = 512;
const PARQUET_THREADS = 2;

/** The trainer on real servers. */
export function wire(config: Config, log: Log, fail: Fail): Service {
  const registry = createRpcClient(registryApi.RegistryService, config.MILLRACE_REGISTRY_URL, {
    token: config.MILLRACE_TOKEN,
  });
  const announcer = createAnnouncer({
    url: config.MILLRACE_NATS_URL,
    token: config.MILLRACE_NATS_TOKEN,
    log,
  });
  const broker = createKafkaBroker(kafkaSettings("trainer", config, log));
  let opened: Promise<Parquet> | undefined;
  const parquet = (): Promise<Parquet> => {
    opened ??= openParquet({
      memoryMb: PARQUET_MEMORY_MB,
      threads: PARQUET_THREADS,
      scratch: join(config.MILLRACE_DATA, "spill"),
    });
    return opened;
  };
  const lightgbm = config.MILLRACE_LIGHTGBM_LIBRARY;
  return buildTrainer(
    {
      data: config.MILLRACE_DATA,
      recipes: fileURLToPath(new URL("../recipes", import.meta.url)),
      recipeEnvironment: {
        PATH: config.PATH,
        ...(lightgbm === undefined ? {} : { MILLRACE_LIGHTGBM_LIBRARY: lightgbm }),
      },
      threads: config.MILLRACE_TRAINER_THREADS,
      seconds: config.MILLRACE_TRAINER_SECONDS,
      signingKey: config.MILLRACE_SIGNING_KEY,
    },
    {
      registry,
      codeOf: (error) => (error instanceof RpcError ? error.code : null),
      broker,
      objects: createObjectStore({
        url: config.MILLRACE_S3_URL,
        accessKey: config.MILLRACE_S3_ACCESS_KEY,
        secretKey: config.MILLRACE_S3_SECRET_KEY,
        bucket: config.MILLRACE_S3_BUCKET,
        log,
      }),
      parquet: {
        write: async (file, columns) => (await parquet()).write(file, columns),
        read: async (files, schema, options) => (await parquet()).read(files, schema, options),
      },
      loadModel,
      onRegistryChange: (look) => announcer.subscribe(REGISTRY_SUBJECT, look),
      clock: systemClock,
      log,
      fail,
      close: async () => {
        registry.close();
        await announcer.stop();
        await broker.stop();
        (await opened)?.close();
      },
    },
  );
}
