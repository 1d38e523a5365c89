import { join } from "node:path";
import { cacheFolder, passedOn } from "./config.ts";
import type { Connections } from "./connections.ts";
import type { Ports } from "./ports.ts";
import type { Secrets } from "./secrets.ts";
import type { SigningKey } from "./signing-key.ts";

/** The five services, in the order of their start. */
export const SERVICES = ["registry", "ingest", "feature", "trainer", "inference"] as const;

/** One of the five services. */
export type ServiceName = (typeof SERVICES)[number];

/**
 * How Node runs a service. Nearly all that a service makes is garbage at once: a smaller nursery costs no time, and each
 * service 70 MB less. The Kafka client sets timers in the past, and SQLite is said to be experimental.
 */
export const SERVICE_NODE_FLAGS: readonly string[] = [
  "--max-semi-space-size=8",
  "--disable-warning=TimeoutNegativeWarning",
  "--disable-warning=ExperimentalWarning",
];

/** What allocators are told: the weights of a model that was let go are given back to the system. */
export const SERVICE_ALLOCATOR: Readonly<Partial<Record<ServiceName, Readonly<Record<string, string>>>>> = {
  inference: { MALLOC_TRIM_THRESHOLD_: String(16 * 1024 * 1024) },
};

/** Where Node keeps the compiled code of services; it keys it by its own version and by the sources. */
export const compileCache = (): string => join(cacheFolder(), "compiled");

/** What a running instance consists of, as its services and clients need it. */
export interface Surroundings {
  readonly home: string;
  readonly ports: Ports;
  readonly secrets: Secrets;
  readonly signingKey: SigningKey;
  readonly connections: Connections;
}

/**
 * The environment of a client of the instance (a command, a test, a recipe): the passed-on part of this process's
 * own, the servers, and the services' addresses, all under the names that the services' settings have.
 */
export function clientEnvironment({ ports, secrets, connections }: Surroundings): Record<string, string> {
  const { kafka, nats, s3 } = connections;
  return {
    ...passedOn(),
    MILLRACE_KAFKA_BROKERS: kafka.brokers,
    MILLRACE_KAFKA_USERNAME: kafka.username ?? "",
    MILLRACE_KAFKA_PASSWORD: kafka.password ?? "",
    MILLRACE_NATS_URL: nats.url,
    MILLRACE_NATS_TOKEN: nats.token ?? "",
    MILLRACE_S3_URL: s3.url,
    MILLRACE_S3_ACCESS_KEY: s3.accessKey,
    MILLRACE_S3_SECRET_KEY: s3.secretKey,
    MILLRACE_TOKEN: secrets.token,
    MILLRACE_REGISTRY_URL: `127.0.0.1:${ports.registry}`,
    MILLRACE_FEATURE_URL: `127.0.0.1:${ports.feature}`,
    MILLRACE_INFERENCE_URL: `127.0.0.1:${ports.inference}`,
    MILLRACE_INFERENCE_HTTP_URL: `http://127.0.0.1:${ports.inferenceHttp}`,
  };
}

/** The environment of one service of the instance. `lightgbm` is the path of its shared library. */
export function serviceEnvironment(
  service: ServiceName,
  surroundings: Surroundings,
  lightgbm: string | undefined,
): Record<string, string> {
  const { home, ports, signingKey } = surroundings;
  return {
    ...clientEnvironment(surroundings),
    MILLRACE_HOST: "127.0.0.1",
    MILLRACE_OPS_PORT: String(ports[`${service}Ops`]),
    MILLRACE_DATA: join(home, "data", service),
    MILLRACE_REGISTRY_PORT: String(ports.registry),
    MILLRACE_FEATURE_PORT: String(ports.feature),
    MILLRACE_INFERENCE_PORT: String(ports.inference),
    MILLRACE_INFERENCE_HTTP_PORT: String(ports.inferenceHttp),
    MILLRACE_TRUSTED_KEYS: signingKey.publicSpki,
    // Only who makes models signs them.
    ...(service === "trainer" && { MILLRACE_SIGNING_KEY: signingKey.privatePem }),
    // A service that was killed is back a third of a second sooner when its code need not be compiled again.
    NODE_COMPILE_CACHE: compileCache(),
    ...SERVICE_ALLOCATOR[service],
    ...(lightgbm !== undefined && { MILLRACE_LIGHTGBM_LIBRARY: lightgbm }),
  };
}
