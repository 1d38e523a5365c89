import { rm } from "node:fs/promises";
import { join } from "node:path";
import { ensureLightgbm } from "./builds.ts";
import type { CacheOptions } from "./cache.ts";
import { existingServers, REPOSITORY } from "./config.ts";
import type { Connections } from "./connections.ts";
import {
  clientEnvironment,
  SERVICE_NODE_FLAGS,
  SERVICES,
  type ServiceName,
  type Surroundings,
  serviceEnvironment,
} from "./environment.ts";
import { ensurePorts, type Ports } from "./ports.ts";
import { answersOk } from "./probes.ts";
import type { ProcessSpec, ProcessStatus } from "./process.ts";
import { ensureSecrets } from "./secrets.ts";
import { prepareServers } from "./servers.ts";
import { ensureSigningKey } from "./signing-key.ts";
import { closeInstance, openInstance } from "./supervisor.ts";

/** A mesh that this process runs. */
export interface Mesh {
  readonly home: string;
  readonly ports: Ports;
  readonly connections: Connections;
  /** For clients: the servers, the services' addresses and the token, as MILLRACE_* variables. */
  readonly environment: Readonly<Record<string, string>>;
  /** Servers and services in the order of their start. */
  status(): readonly ProcessStatus[];
  /** Stops everything that was started, in reverse order; may be called more than once. */
  stop(): Promise<void>;
}

/** What to run and whom to tell. */
export interface MeshOptions extends Partial<CacheOptions> {
  /** The instance folder; see `instanceFolder`. */
  readonly home: string;
  /** The services to start; all five unless said. */
  readonly services?: readonly ServiceName[];
  /** Servers of others to use instead of own ones; those that the environment names unless said. */
  readonly existing?: Partial<Connections>;
  /** Random ports instead of the preferred ones, for an instance beside others. */
  readonly ports?: "preferred" | "random";
  /** The program of a service, relative to the repository; `services/NAME/src/main.ts` unless said. */
  readonly program?: (service: ServiceName) => string;
  /** Told after every change of a process, with the status of all. */
  readonly onChange?: (all: readonly ProcessStatus[]) => void;
}

/**
 * Starts the servers, then the services, and resolves when all of them serve. From then on a process that dies is
 * started again until `stop`. The caller handles SIGINT and SIGTERM by `stop`. Throws a RunningError when another
 * process runs the instance, and a StartError when something does not come up; then nothing is left running.
 */
export async function startMesh(options: MeshOptions): Promise<Mesh> {
  const { home, services = SERVICES, existing = existingServers(), program = defaultProgram } = options;
  const instance = await openInstance(home, options.onChange ?? (() => {}));
  try {
    const ports = await ensurePorts(home, options.ports);
    const secrets = await ensureSecrets(home);
    const signingKey = await ensureSigningKey(home);
    const [own, lightgbm] = await Promise.all([
      prepareServers(home, serversBeside(existing), ports, secrets, options),
      services.includes("trainer") ? ensureLightgbm(options) : undefined,
    ]);
    const connections = { ...own.connections, ...existing } as Connections;
    const surroundings: Surroundings = { home, ports, secrets, signingKey, connections };
    await instance.start(own.processes);
    await instance.start(services.map((name) => serviceProcess(name, program(name), surroundings, lightgbm)));
    return {
      home,
      ports,
      connections,
      environment: clientEnvironment(surroundings),
      status: instance.status,
      stop: instance.stop,
    };
  } catch (error) {
    await instance.stop();
    throw error;
  }
}

const defaultProgram = (service: ServiceName): string => `services/${service}/src/main.ts`;

const serversBeside = (existing: Partial<Connections>): { kafka: boolean; nats: boolean; s3?: "minio" } => ({
  kafka: existing.kafka === undefined,
  nats: existing.nats === undefined,
  ...(existing.s3 === undefined && { s3: "minio" }),
});

/** A service ends by itself within 12 s of SIGTERM. */
const SERVICE_STOP_MS = 15_000;

function serviceProcess(
  service: ServiceName,
  program: string,
  surroundings: Surroundings,
  lightgbm: string | undefined,
): ProcessSpec {
  return {
    name: service,
    kind: "service",
    program: process.execPath,
    args: [...SERVICE_NODE_FLAGS, join(REPOSITORY, program)],
    cwd: REPOSITORY,
    env: serviceEnvironment(service, surroundings, lightgbm),
    ready: () => answersOk(`http://127.0.0.1:${surroundings.ports[`${service}Ops`]}/readyz`),
    stopMs: SERVICE_STOP_MS,
  };
}

const DOWN_MS = 120_000;

/** Stops a mesh that another process runs, or what a killed one left. Answers the names of what it stopped. */
export async function downMesh(home: string): Promise<readonly string[]> {
  return closeInstance(home, DOWN_MS);
}

/**
 * Stops the mesh and removes its data and logs; keeps credentials, ports and the caches. Data in servers of others
 * stays. Answers the names of what it stopped.
 */
export async function resetMesh(home: string): Promise<readonly string[]> {
  return closeInstance(home, DOWN_MS, async () => {
    await rm(join(home, "data"), { recursive: true, force: true });
    await rm(join(home, "logs"), { recursive: true, force: true });
  });
}
