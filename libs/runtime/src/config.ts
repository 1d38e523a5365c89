import { z } from "zod";

/** The start stops here: a setting is missing, unknown or wrong. The message names each and its remedy. */
export class ConfigError extends Error {
  constructor(problems: readonly string[]) {
    super(`wrong configuration:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
    this.name = "ConfigError";
  }
}

/** The value that a shape of settings reads. */
export type Config<S extends z.ZodRawShape> = Readonly<z.infer<z.ZodObject<S>>>;

/**
 * Reads the settings that the schema names from environment variables into one frozen value. A setting in the
 * schema named `MILLRACE_X` is read from the variable of that name; an empty variable counts as absent.
 * Throws a ConfigError that lists every problem.
 */
export function readConfig<S extends z.ZodRawShape>(
  shape: S,
  environment: Readonly<Record<string, string | undefined>>,
): Config<S> {
  const present = Object.fromEntries(
    Object.keys(shape)
      .map((name) => [name, environment[name]] as const)
      .filter(([, value]) => value !== undefined && value !== ""),
  );
  const parsed = z.object(shape).safeParse(present);
  if (!parsed.success) {
    throw new ConfigError(
      parsed.error.issues.map((issue) => {
        const name = issue.path.join(".");
        return name in present ? `${name}: ${issue.message}` : `${name} is not set: ${describe(shape, name)}`;
      }),
    );
  }
  return Object.freeze(parsed.data);
}

function describe(shape: z.ZodRawShape, name: string): string {
  const found = shape[name] as z.ZodType | undefined;
  return found?.description ?? "see the service's README";
}

const port = (text: string): z.ZodType<number> =>
  z.coerce.number<number>().int().min(0).max(65_535).describe(text);

/** Settings that every service has. Spread into the service's own shape. */
export const COMMON_SETTINGS: {
  MILLRACE_KAFKA_BROKERS: z.ZodString;
  MILLRACE_KAFKA_USERNAME: z.ZodOptional<z.ZodString>;
  MILLRACE_KAFKA_PASSWORD: z.ZodOptional<z.ZodString>;
  MILLRACE_REGISTRY_URL: z.ZodDefault<z.ZodString>;
  MILLRACE_TOKEN: z.ZodString;
  MILLRACE_NATS_URL: z.ZodString;
  MILLRACE_NATS_TOKEN: z.ZodOptional<z.ZodString>;
  MILLRACE_S3_URL: z.ZodString;
  MILLRACE_S3_ACCESS_KEY: z.ZodString;
  MILLRACE_S3_SECRET_KEY: z.ZodString;
  MILLRACE_S3_BUCKET: z.ZodDefault<z.ZodString>;
  MILLRACE_HOST: z.ZodDefault<z.ZodString>;
  MILLRACE_OPS_PORT: z.ZodType<number>;
  MILLRACE_DATA: z.ZodString;
  MILLRACE_LOG_LEVEL: z.ZodDefault<z.ZodEnum<{ debug: "debug"; info: "info"; warn: "warn"; error: "error" }>>;
  OTEL_EXPORTER_OTLP_ENDPOINT: z.ZodOptional<z.ZodString>;
} = {
  MILLRACE_KAFKA_BROKERS: z.string().describe("host:port of the Kafka brokers, separated by commas"),
  MILLRACE_KAFKA_USERNAME: z.string().optional().describe("SASL/PLAIN user, where the brokers ask for one"),
  MILLRACE_KAFKA_PASSWORD: z.string().optional().describe("SASL/PLAIN password"),
  MILLRACE_REGISTRY_URL: z.string().default("127.0.0.1:9101").describe("host:port of the registry's gRPC"),
  MILLRACE_TOKEN: z
    .string()
    .min(16, "a token has at least 16 characters")
    .describe("the bearer token between services"),
  MILLRACE_NATS_URL: z.string().describe("host:port of NATS"),
  MILLRACE_NATS_TOKEN: z.string().optional().describe("NATS token"),
  MILLRACE_S3_URL: z.string().describe("URL of the S3 store, for example http://127.0.0.1:9000"),
  MILLRACE_S3_ACCESS_KEY: z.string().describe("S3 access key"),
  MILLRACE_S3_SECRET_KEY: z.string().describe("S3 secret key"),
  MILLRACE_S3_BUCKET: z.string().default("millrace").describe("S3 bucket"),
  MILLRACE_HOST: z.string().default("127.0.0.1").describe("address to listen on"),
  MILLRACE_OPS_PORT: port("port for /livez, /readyz, /metrics and /status"),
  MILLRACE_DATA: z.string().describe("folder for this service's local state"),
  MILLRACE_LOG_LEVEL: z.enum(["debug", "info", "warn", "error"]).default("info").describe("log level"),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.string().optional().describe("OTLP/HTTP endpoint; unset: no export"),
};

/** A port setting for a service's own shape. */
export const portSetting: (text: string) => z.ZodType<number> = port;

/** A setting in whole seconds, at least 1, for a service's own shape. */
export function secondsSetting(fallback: number, text: string): z.ZodType<number> {
  return z.coerce.number<number>().int().min(1).max(31_536_000).default(fallback).describe(text);
}

/** The configuration for the log, without secrets. */
export function withoutSecrets(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(config).map(([name, value]) => [
      name,
      /TOKEN|SECRET|PASSWORD|ACCESS_KEY/.test(name) && value !== undefined ? "(secret)" : value,
    ]),
  );
}
