import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type { Connections } from "./connections.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** The repository's root folder. */
export const REPOSITORY: string = resolve(import.meta.dirname, "../../..");

/** This package's folder, where the pinned build inputs lie. */
export const PACKAGE: string = resolve(import.meta.dirname, "..");

/** The user's cache folder for built servers: MILLRACE_CACHE, else XDG_CACHE_HOME/millrace, else ~/.cache/millrace. */
export function cacheFolder(environment: Environment = process.env): string {
  return (
    environment["MILLRACE_CACHE"] ||
    join(environment["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "millrace")
  );
}

/** The instance folder: MILLRACE_HOME, else `.millrace` in the repository. */
export function instanceFolder(environment: Environment = process.env): string {
  return resolve(environment["MILLRACE_HOME"] || join(REPOSITORY, ".millrace"));
}

/**
 * The existing servers that the environment names by MILLRACE_KAFKA_BROKERS, MILLRACE_NATS_URL and MILLRACE_S3_URL,
 * with their credentials. Throws when an S3 store is named without keys.
 */
export function existingServers(environment: Environment = process.env): Partial<Connections> {
  const brokers = environment["MILLRACE_KAFKA_BROKERS"];
  const username = environment["MILLRACE_KAFKA_USERNAME"];
  const password = environment["MILLRACE_KAFKA_PASSWORD"];
  const natsUrl = environment["MILLRACE_NATS_URL"];
  const natsToken = environment["MILLRACE_NATS_TOKEN"];
  const s3Url = environment["MILLRACE_S3_URL"];
  const accessKey = environment["MILLRACE_S3_ACCESS_KEY"];
  const secretKey = environment["MILLRACE_S3_SECRET_KEY"];
  if (s3Url && !(accessKey && secretKey)) {
    throw new Error("MILLRACE_S3_URL is set: set MILLRACE_S3_ACCESS_KEY and MILLRACE_S3_SECRET_KEY, too");
  }
  return {
    ...(brokers && { kafka: { brokers, ...(username && { username }), ...(password && { password }) } }),
    ...(natsUrl && { nats: { url: natsUrl, ...(natsToken && { token: natsToken }) } }),
    ...(s3Url && accessKey && secretKey && { s3: { url: s3Url, accessKey, secretKey } }),
  };
}

/**
 * The part of the environment that services and servers may see: PATH, HOME, LANG, TZ, JAVA_HOME, MILLRACE_* but the
 * signing key, and OTEL_*. Whatever else the user's shell holds (cloud keys, tokens) is none of their business.
 */
export function passedOn(environment: Environment = process.env): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).filter(
      (entry): entry is [string, string] =>
        entry[1] !== undefined &&
        entry[0] !== "MILLRACE_SIGNING_KEY" &&
        /^(PATH|HOME|LANG|TZ|JAVA_HOME|MILLRACE_.*|OTEL_.*)$/.test(entry[0]),
    ),
  );
}
