/**
 * Local: the real servers and the five services on one machine. `builds.ts` and `cache.ts` get the servers,
 * `kafka.ts`, `nats.ts` and `s3.ts` say how each runs, `process.ts` keeps one process running, `supervisor.ts`
 * holds an instance folder, `mesh.ts` runs the whole, `test-servers.ts` serves tests.
 */

export * from "./builds.ts";
export {
  type CacheEntry,
  type CacheOptions,
  type CacheProgress,
  ensureEntry,
  progressLine,
} from "./cache.ts";
export { runCommand } from "./command.ts";
export { cacheFolder, existingServers, instanceFolder, REPOSITORY } from "./config.ts";
export * from "./connections.ts";
export {
  compileCache,
  SERVICE_ALLOCATOR,
  SERVICE_NODE_FLAGS,
  SERVICES,
  type ServiceName,
} from "./environment.ts";
export * from "./mesh.ts";
export { type PortName, type Ports, readPorts } from "./ports.ts";
export { type ProcessState, type ProcessStatus, StartError } from "./process.ts";
export { readSecrets, type Secrets } from "./secrets.ts";
export { readSigningKey, type SigningKey } from "./signing-key.ts";
export { RunningError, supervisorPid } from "./supervisor.ts";
export * from "./test-servers.ts";
