import type { JsonObject, Rejection } from "@millrace/events";

/** A schema as a registry holds it, with all that it refers to. */
export interface RegisteredSchema {
  readonly type: "AVRO" | "PROTOBUF" | "JSON";
  readonly text: string;
  /** What it refers to, directly or through others; each after what it refers to itself. */
  readonly references: readonly SchemaReference[];
}

export interface SchemaReference {
  /** The name by which schemas refer to it: an Avro name, a Protobuf import, a JSON Schema `$ref`. */
  readonly name: string;
  readonly text: string;
}

/**
 * Opens what was written by one schema. `indexes` are Protobuf's message indexes where they stand apart from the
 * payload. The data hold what `readField` of `@millrace/events` takes. Throws a `PayloadError`, or answers a refusal that
 * says more.
 */
export type Decode = (payload: Uint8Array, indexes: Uint8Array | null) => JsonObject | Rejection;

/** The schema itself cannot be used. */
export class SchemaError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "SchemaError";
  }
}

/** The bytes are not what the schema says. */
export class PayloadError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "PayloadError";
  }
}
