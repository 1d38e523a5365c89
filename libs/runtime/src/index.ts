/**
 * Runtime: what every process needs. `config.ts` environment to frozen config, `log.ts` pino, `telemetry.ts`
 * traces and metrics, `ops.ts` the HTTP port for probes, metrics and status, `service.ts` start, drain and stop,
 * `time.ts` clock and sleeps, `files.ts` durable writes, `digest.ts` SHA-256, `objects.ts` the port to the object
 * store, `grpc-method.ts` a gRPC method whichever transport carries it, `methods.ts` a service's methods from typed
 * handlers, `rpc-error.ts` its errors, `bearer.ts` who may call.
 */

export * from "./bearer.ts";
export * from "./config.ts";
export * from "./digest.ts";
export * from "./files.ts";
export * from "./grpc-method.ts";
export * from "./log.ts";
export * from "./methods.ts";
export * from "./objects.ts";
export * from "./ops.ts";
export * from "./rpc-error.ts";
export * from "./service.ts";
export * from "./telemetry.ts";
export * from "./time.ts";
