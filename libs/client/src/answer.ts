/**
 * Reads the answers of the protocol as JSON, which is also protobuf's JSON of its gRPC messages. What is left out is
 * empty or 0; a wrong kind throws.
 */
import { DATATYPES, type TensorSpec } from "@millrace/open-inference";
import { MillraceError } from "./error.ts";
import type { CountAndDuration, ModelIndexEntry, ModelMetadata, ModelStatistics } from "./models.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MillraceError("INTERNAL", "the server's answer is not JSON", { cause });
  }
}

export function metadataOf(answer: unknown): ModelMetadata {
  const { name, versions, platform, inputs, outputs, properties } = objectOf(answer);
  return {
    name: textOf(name),
    versions: listOf(versions).map(textOf),
    platform: textOf(platform),
    inputs: listOf(inputs).map(specOf),
    outputs: listOf(outputs).map(specOf),
    properties: Object.fromEntries(
      Object.entries(objectOf(properties ?? {})).map(([key, value]) => [key, textOf(value)]),
    ),
  };
}

export function indexOf(answer: unknown): readonly ModelIndexEntry[] {
  return listOf(answer).map((entry) => {
    const { name, version, state, reason } = objectOf(entry);
    return { name: textOf(name), version: textOf(version), state: textOf(state), reason: textOf(reason) };
  });
}

export function statisticsOf(answer: unknown): readonly ModelStatistics[] {
  return listOf(objectOf(answer)["model_stats"]).map((model) => {
    const { name, version, last_inference, inference_count, execution_count, inference_stats } =
      objectOf(model);
    const stats = objectOf(inference_stats ?? {});
    return {
      name: textOf(name),
      version: textOf(version),
      lastInferenceMs: numberOf(last_inference),
      inferenceCount: numberOf(inference_count),
      executionCount: numberOf(execution_count),
      success: countAndDuration(stats["success"]),
      fail: countAndDuration(stats["fail"]),
      queue: countAndDuration(stats["queue"]),
      computeInput: countAndDuration(stats["compute_input"]),
      computeInfer: countAndDuration(stats["compute_infer"]),
      computeOutput: countAndDuration(stats["compute_output"]),
    };
  });
}

/** Name, datatype and shape of a tensor. */
export function specOf(tensor: unknown): TensorSpec {
  const { name, datatype, shape } = objectOf(tensor);
  return {
    name: textOf(name),
    datatype: DATATYPES.find((known) => known === datatype) ?? refuse(datatype, "a datatype of the protocol"),
    shape: listOf(shape).map(numberOf),
  };
}

export function objectOf(value: unknown): JsonObject {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonObject;
  return refuse(value, "an object");
}

export function listOf(value: unknown = []): readonly unknown[] {
  return Array.isArray(value) ? value : refuse(value, "a list");
}

export function textOf(value: unknown = ""): string {
  return typeof value === "string" ? value : refuse(value, "a text");
}

/** 64-bit integers are texts in protobuf's JSON. */
export function numberOf(value: unknown = 0): number {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof number === "number" && !Number.isNaN(number) ? number : refuse(value, "a number");
}

function countAndDuration(value: unknown = {}): CountAndDuration {
  const { count, ns } = objectOf(value);
  return { count: numberOf(count), ns: numberOf(ns) };
}

/** `value` is of JSON; undefined: it was left out. */
function refuse(value: unknown, expected: string): never {
  const came = value === undefined ? "nothing" : JSON.stringify(value).slice(0, 80);
  throw new MillraceError("INTERNAL", `the server's answer has ${came} in place of ${expected}`);
}
