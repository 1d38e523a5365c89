import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  GRPCInferenceService,
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
  ModelRepositoryService,
  ModelStreamInferResponseSchema,
} from "@millrace/contracts";
import { decodeInferRequest, encodeInferResponse, type InferLimits } from "@millrace/open-inference";
import {
  type GrpcCall,
  type GrpcMethod,
  type Handlers,
  methodsOf,
  RpcError,
  serve,
  sleep,
} from "@millrace/runtime";
import { asRpcError } from "./failure.ts";
import type { Models } from "./models.ts";
import type { Predictor } from "./predict.ts";

export interface GrpcPorts {
  readonly predictor: Predictor;
  readonly models: Models;
  readonly limits: InferLimits;
  readonly ready: () => boolean;
  /** Whether callers may unload models. */
  readonly modelControl: boolean;
  /** Aborts when the node begins to stop. */
  readonly stopping: AbortSignal;
}

const PACKAGE = "inference.GRPCInferenceService";
export const MODEL_INFER: string = `/${PACKAGE}/ModelInfer`;
/** Requests of one stream that are answered at the same time. */
const STREAM_IN_FLIGHT_MAX = 256;
const WATCH_MS = 250;
export const SERVER = {
  name: "millrace",
  version: "0.1.0",
  extensions: [
    "model_repository",
    "binary_tensor_data",
    "statistics",
    "model_configuration",
    "parameters",
    "generate",
  ],
} as const;

/** The Open Inference Protocol, the health protocol and MLServer's repository service, for whichever transport. */
export function inferenceMethods(ports: GrpcPorts): readonly GrpcMethod[] {
  const repository = repositoryHandlers(ports);
  return [
    modelInfer(ports),
    modelStreamInfer(ports),
    ...methodsOf({ service: GRPCInferenceService, handlers: handlers(ports, repository) }, { spans: false }),
    ...methodsOf({ service: ModelRepositoryService, handlers: repository }, { spans: false }),
    ...methodsOf(serve(Health, { check: ({ service }) => ({ status: health(ports, service) }) }), {
      spans: false,
    }),
    healthWatch(ports),
  ];
}

function modelInfer({ predictor, limits }: GrpcPorts): GrpcMethod {
  return {
    kind: "unary",
    path: MODEL_INFER,
    handle: (bytes, call, reply) => {
      let request: ReturnType<typeof decodeInferRequest>;
      try {
        request = decodeInferRequest(bytes, limits, "owned");
      } catch (error) {
        return reply(asRpcError(error));
      }
      predictor.infer(request, call, (error, response) => {
        if (response === null) return reply(error);
        reply(null, encodeInferResponse(response, request.raw ? "raw" : "typed"));
      });
    },
  };
}

/** Triton's stream: answers come as they are ready, each with its request's id; a failed request fails alone. */
function modelStreamInfer({ predictor, limits }: GrpcPorts): GrpcMethod {
  const answer = (bytes: Uint8Array, call: GrpcCall): Promise<Uint8Array> =>
    new Promise((resolve) => {
      let id = "";
      const failed = (error: unknown): void => {
        const message = { errorMessage: asRpcError(error).message, inferResponse: { id } };
        const schema = ModelStreamInferResponseSchema;
        resolve(toBinary(schema, create(schema, message)));
      };
      try {
        const request = decodeInferRequest(bytes, limits, "owned");
        id = request.id;
        predictor.infer(request, call, (error, response) => {
          if (response === null) return failed(error);
          resolve(asStreamResponse(encodeInferResponse(response, request.raw ? "raw" : "typed")));
        });
      } catch (error) {
        failed(error);
      }
    });
  return {
    kind: "stream",
    path: `/${PACKAGE}/ModelStreamInfer`,
    handle: (requests, call) =>
      concurrently(requests, STREAM_IN_FLIGHT_MAX, (bytes) => answer(bytes.slice(), call)),
  };
}

/** A ModelInferResponse as the field `infer_response` (2) of a ModelStreamInferResponse. */
function asStreamResponse(response: Uint8Array): Uint8Array {
  const head = [0x12];
  let length = response.length;
  for (; length > 0x7f; length = Math.floor(length / 128)) head.push((length & 0x7f) | 0x80);
  head.push(length);
  return Buffer.concat([Uint8Array.from(head), response]);
}

/** The results of `work` on each item, as they come, with at most `max` under way. */
async function* concurrently<T, R>(
  items: AsyncIterable<T>,
  max: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const done: R[] = [];
  let underWay = 0;
  let ended = false;
  const failures: Error[] = [];
  let wake = Promise.withResolvers<void>();
  const poke = (): void => {
    wake.resolve();
    wake = Promise.withResolvers();
  };
  const read = async (): Promise<void> => {
    for await (const item of items) {
      underWay++;
      void work(item).then((result) => {
        underWay--;
        done.push(result);
        poke();
      });
      // Who does not read his answers is not read from.
      while (underWay + done.length >= max) await wake.promise;
    }
  };
  void read()
    .catch((error: unknown) => {
      failures.push(error instanceof Error ? error : new Error(String(error)));
    })
    .finally(() => {
      ended = true;
      poke();
    });
  for (;;) {
    for (let result = done.shift(); result !== undefined; result = done.shift()) {
      yield result;
      poke();
    }
    const [failure] = failures;
    if (failure !== undefined) throw failure;
    if (ended && underWay === 0) return;
    await wake.promise;
  }
}

function handlers(
  { models, ready }: GrpcPorts,
  repository: Handlers<typeof ModelRepositoryService>,
): Omit<Handlers<typeof GRPCInferenceService>, "modelInfer"> {
  return {
    serverLive: () => ({ live: true }),
    serverReady: () => ({ ready: ready() }),
    modelReady: ({ name, version }) => ({ ready: models.isReady(name, version) }),
    serverMetadata: () => ({ ...SERVER, extensions: [...SERVER.extensions] }),
    modelMetadata: ({ name, version }) => models.metadata(name, version),
    modelConfig: async ({ name, version }) => ({ config: await models.configMessage(name, version) }),
    modelStatistics: ({ name, version }) => ({ modelStats: models.statistics(name, version) }),
    ...repository,
  };
}

/** Triton's clients name the model in `model_name`, KServe's in what Triton reads as `repository_name`. */
function repositoryHandlers({ models, modelControl }: GrpcPorts): Handlers<typeof ModelRepositoryService> {
  const nameOf = (request: { readonly repositoryName: string; readonly modelName: string }): string =>
    request.modelName === "" ? request.repositoryName : request.modelName;
  return {
    repositoryIndex: ({ ready }) => ({ models: models.index(ready) }),
    repositoryModelLoad: async (request) => {
      requireNoFiles(request.parameters);
      await models.load(nameOf(request));
      return { modelName: nameOf(request), isLoaded: true };
    },
    repositoryModelUnload: async (request) => {
      requireControl(modelControl);
      await models.unload(nameOf(request));
      return { modelName: nameOf(request), isUnloaded: true };
    },
  };
}

/** Throws invalidArgument where a caller that loads a model sends files or a configuration along. */
export function requireNoFiles(parameters: unknown): void {
  if (Object.keys(parameters ?? {}).length === 0) return;
  throw new RpcError(
    "invalidArgument",
    "parameters: a model's files and configuration come from the registry, not from a caller",
  );
}

/** Throws permissionDenied where callers may not unload models. */
export function requireControl(modelControl: boolean): void {
  if (modelControl) return;
  throw new RpcError(
    "permissionDenied",
    "the registry decides what is served; set MILLRACE_INFERENCE_MODEL_CONTROL=on to let callers unload models",
  );
}

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;
const isHealthService = (service: string): boolean => service === "" || service === PACKAGE;

function health({ ready }: GrpcPorts, service: string): HealthCheckResponse_ServingStatus {
  if (!isHealthService(service)) {
    throw new RpcError("notFound", `service: expected "" or "${PACKAGE}"`);
  }
  return ready() ? SERVING : NOT_SERVING;
}

/** Says the state now and whenever it changes, until the caller goes or the node stops. */
function healthWatch({ ready, stopping }: GrpcPorts): GrpcMethod {
  return {
    kind: "stream",
    path: "/grpc.health.v1.Health/Watch",
    handle: async function* (requests, call) {
      const first = await requests[Symbol.asyncIterator]().next();
      const service = first.done === true ? "" : fromBinary(HealthCheckRequestSchema, first.value).service;
      let last: HealthCheckResponse_ServingStatus | null = null;
      while (!call.isCancelled()) {
        const status = !isHealthService(service) ? SERVICE_UNKNOWN : ready() ? SERVING : NOT_SERVING;
        if (status !== last) {
          last = status;
          yield toBinary(HealthCheckResponseSchema, create(HealthCheckResponseSchema, { status }));
        }
        if (stopping.aborted) return;
        await sleep(WATCH_MS, stopping);
      }
    },
  };
}
