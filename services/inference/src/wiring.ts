import { GRPCInferenceService, Health, REGISTRY_SUBJECT, registryApi } from "@millrace/contracts";
import { createKafkaBroker, kafkaSettings } from "@millrace/kafka";
import { createAnnouncer } from "@millrace/nats";
import { createObjectStore } from "@millrace/objects";
import { loadModel } from "@millrace/onnx";
import {
  createRpcClient,
  type Handlers,
  RpcError,
  type RpcServer,
  serve,
  startRpcServer,
} from "@millrace/rpc";
import { type Fail, type Log, type Service, systemClock, withDeadline } from "@millrace/runtime";
import type { InferenceConfig } from "./config.ts";
import { buildInference, type InferenceHandlers, Refusal } from "./service.ts";

/** 4,096 rows of 1,000 FP32 values fit. */
const REQUEST_BYTES_MAX = 16 * 1024 * 1024;
const REGISTRY_MS = 3_000;
const CLOSE_MS = 1_500;

/** The inference service on real servers. */
export function wire(config: InferenceConfig, log: Log, _fail: Fail): Service {
  const registry = createRpcClient(registryApi.RegistryService, config.MILLRACE_REGISTRY_URL, {
    token: config.MILLRACE_TOKEN,
    timeoutMs: REGISTRY_MS,
  });
  const announcer = createAnnouncer({
    url: config.MILLRACE_NATS_URL,
    token: config.MILLRACE_NATS_TOKEN,
    log,
  });
  const broker = createKafkaBroker(kafkaSettings("inference", config, log));
  return buildInference(config, {
    source: {
      lines: async () => (await registry.listLines({})).lines,
      sets: async () => (await registry.getAspiredSet({ line: "" })).sets,
      onChange: (look) => announcer.subscribe(REGISTRY_SUBJECT, look),
    },
    objects: createObjectStore({
      url: config.MILLRACE_S3_URL,
      accessKey: config.MILLRACE_S3_ACCESS_KEY,
      secretKey: config.MILLRACE_S3_SECRET_KEY,
      bucket: config.MILLRACE_S3_BUCKET,
      log,
    }),
    broker,
    loadModel: (bytes) => loadModel(bytes, { threads: 1 }),
    serve: (handlers) =>
      serveInference(handlers, {
        host: config.MILLRACE_HOST,
        port: config.MILLRACE_INFERENCE_PORT,
        token: config.MILLRACE_INFERENCE_TOKEN ?? null,
        log,
      }),
    clock: systemClock,
    now: () => performance.now(),
    log,
    close: async () => {
      registry.close();
      const closing = Promise.all([announcer.stop(), broker.stop()]);
      await withDeadline(CLOSE_MS, "closing NATS and Kafka", closing);
    },
  });
}

/** Serves the handlers over gRPC. `port` 0 picks a free one, which the answer and the log name. */
export async function serveInference(
  handlers: InferenceHandlers,
  options: {
    readonly host: string;
    readonly port: number;
    /** null: open, which only loopback may be. */
    readonly token: string | null;
    readonly log: Log;
  },
): Promise<RpcServer> {
  const { host, port, token, log } = options;
  const server = await startRpcServer({
    host,
    port,
    token,
    requestBytesMax: REQUEST_BYTES_MAX,
    onDefect: (method, error) => log.error({ err: error, method }, "call failed"),
    services: [
      serve(GRPCInferenceService, mapRefusals(handlers.inference)),
      serve(Health, mapRefusals(handlers.health)),
    ],
  });
  log.info({ host, port: server.port, open: token === null }, "gRPC is bound");
  return server;
}

/** The one place where a Refusal becomes a gRPC status. */
function mapRefusals<H extends Handlers<typeof GRPCInferenceService> | Handlers<typeof Health>>(
  handlers: H,
): H {
  const mapped = Object.entries(handlers).map(([name, handler]) => [
    name,
    async (request: never) => {
      try {
        return await (handler as (request: never) => unknown)(request);
      } catch (error) {
        if (error instanceof Refusal) throw new RpcError(error.code, error.message, { cause: error });
        throw error;
      }
    },
  ]);
  return Object.fromEntries(mapped) as H;
}
