/**
 * Local: the real servers and the five services on one machine. `builds.ts` and `cache.ts` get the servers,
 * `kafka.ts`, `nats.ts`, `s3.ts` say how each runs, `process.ts` keeps one process running, `supervisor.ts` holds
 * an instance folder, `test-servers.ts` serves tests.
 */

export * from "./builds.ts";
export { type CacheOptions, type CacheProgress, progressLine } from "./cache.ts";
export { cacheFolder, instanceFolder } from "./config.ts";
export * from "./connections.ts";
export { type ProcessState, type ProcessStatus, StartError } from "./process.ts";
export { RunningError } from "./supervisor.ts";
export * from "./test-servers.ts";
