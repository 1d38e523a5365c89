import { ConnectionError, KafkaError, UnsupportedVersionError } from "./wire/errors.ts";

/**
 * What kafkajs throws where something was out of reach, or not known yet. It takes a connection that breaks while it
 * shows our credentials for their refusal; our own connections, which are asked first, know the difference.
 */
const OUT_OF_REACH: readonly string[] = [
  "KafkaJSBrokerNotFound",
  "KafkaJSConnectionClosedError",
  "KafkaJSConnectionError",
  "KafkaJSGroupCoordinatorNotFound",
  "KafkaJSLockTimeout",
  "KafkaJSMetadataNotLoaded",
  "KafkaJSNoBrokerAvailableError",
  "KafkaJSRequestTimeoutError",
  "KafkaJSSASLAuthenticationError",
  "KafkaJSTimeout",
  "KafkaJSTopicMetadataNotLoaded",
];

/**
 * What an error of kafkajs means, as one of ours. Of several (topics created together) it is the first that is not
 * `fine`; where all are fine it is null. An error of another origin is answered as it is.
 */
export function libraryError(error: unknown, what: string, fine: readonly number[] = []): Error | null {
  const causes = originsOf(error).map((origin) => ours(origin, what));
  return causes.find((one) => !(one instanceof KafkaError && fine.includes(one.code))) ?? null;
}

/** The errors inside the wrappings: those of a list, and what was tried too often. */
function originsOf(error: unknown): unknown[] {
  if (!(error instanceof Error)) return [error];
  const { errors } = error as { readonly errors?: unknown };
  if (Array.isArray(errors)) return errors.flatMap(originsOf);
  return error.cause instanceof Error ? originsOf(error.cause) : [error];
}

function ours(error: unknown, what: string): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const { name, message } = error;
  const { code } = error as { readonly code?: unknown };
  if (name === "KafkaJSServerDoesNotSupportApiKey") return new UnsupportedVersionError(`${what}: ${message}`);
  if (typeof code === "number") {
    // kafkajs knows the codes up to 88; others it tells in words only.
    const unknown = /^Unknown error code (\d+)$/.exec(message)?.[1];
    return new KafkaError(unknown === undefined ? code : Number(unknown), what);
  }
  if (OUT_OF_REACH.includes(name)) return new ConnectionError(`${what}: ${message}`, { cause: error });
  return error;
}
