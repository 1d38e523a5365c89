import { expect, it } from "vitest";
import { libraryError } from "./library-error.ts";
import { ConnectionError, isRetriable, KafkaError, UnsupportedVersionError } from "./wire/errors.ts";

/** As kafkajs makes them. */
function thrown(name: string, fields: object = {}, message = "words"): Error {
  return Object.assign(new Error(message), { name, ...fields });
}

it("finds the broker's answer under what kafkajs wraps around it", () => {
  const answer = thrown("KafkaJSProtocolError", { type: "LEADER_NOT_AVAILABLE", code: 5 });
  const wrapped = thrown("KafkaJSNumberOfRetriesExceeded", {
    cause: thrown("KafkaJSError", { cause: answer }),
  });
  const error = libraryError(wrapped, "asking");
  expect(error).toBeInstanceOf(KafkaError);
  expect(error).toMatchObject({
    kind: "LEADER_NOT_AVAILABLE",
    message: "asking: Kafka answers LEADER_NOT_AVAILABLE",
  });
});

it("reads the codes that kafkajs has no name for", () => {
  const error = libraryError(
    thrown("KafkaJSProtocolError", { code: -99 }, "Unknown error code 89"),
    "creating",
  );
  expect([(error as KafkaError).kind, isRetriable(error)]).toEqual(["THROTTLING_QUOTA_EXCEEDED", true]);
});

it("passes over what is fine among several refusals, and tells of the first that is not", () => {
  const refusal = (code: number): Error => thrown("KafkaJSCreateTopicError", { code });
  const several = (...codes: number[]): Error =>
    thrown("KafkaJSAggregateError", { errors: codes.map(refusal) });
  expect(libraryError(several(36, 40, 44), "creating", [36])).toMatchObject({ kind: "INVALID_CONFIG" });
  expect(libraryError(several(36, 36), "creating", [36])).toBeNull();
  expect(libraryError(refusal(37), "adding", [37])).toBeNull();
});

it("knows what may be in reach later from what never will be", () => {
  for (const name of [
    "KafkaJSConnectionError",
    "KafkaJSGroupCoordinatorNotFound",
    "KafkaJSRequestTimeoutError",
  ]) {
    expect(libraryError(thrown(name, { code: "ECONNREFUSED" }), "asking")).toBeInstanceOf(ConnectionError);
  }
  const old = libraryError(thrown("KafkaJSServerDoesNotSupportApiKey"), "asking");
  expect(old).toBeInstanceOf(UnsupportedVersionError);
});

it("leaves errors of another origin as they are", () => {
  const error = new TypeError("x is not a function");
  expect(libraryError(error, "asking")).toBe(error);
  expect(libraryError("words", "asking")).toMatchObject({ message: "words" });
});
