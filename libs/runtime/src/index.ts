/**
 * Runtime: what every process needs. `config.ts` environment to frozen config, `log.ts` pino, `telemetry.ts`
 * traces and metrics, `ops.ts` the HTTP port for probes, metrics and status, `service.ts` start, drain and stop,
 * `time.ts` clock and sleeps, `files.ts` durable writes, `digest.ts` SHA-256, `objects.ts` the port to the object
 * store.
 */

export * from "./config.ts";
export * from "./digest.ts";
export * from "./files.ts";
export * from "./log.ts";
export * from "./objects.ts";
export * from "./ops.ts";
export * from "./rpc-error.ts";
export * from "./service.ts";
export * from "./telemetry.ts";
export * from "./time.ts";
