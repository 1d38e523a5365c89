/**
 * Schemas: opens records whose producers use a schema registry (Confluent's wire format and REST interface).
 *
 * - `schema-reader.ts` record in, data or a refusal out; remembers schemas.
 * - `registry-client.ts` asks the registry: deadlines, bounds, references.
 * - `avro.ts`, `avro-tap.ts`, `protobuf.ts`, `json-schema.ts` a decoder each.
 *
 * R1  Whatever a payload holds, decoding ends, in time and memory proportional to its bytes.
 * R2  A registry that is away costs time, never a record: only a registry's own "not found" refuses one.
 */

export {
  createSchemaRegistryClient,
  type SchemaRegistryClient,
  type SchemaRegistrySettings,
} from "./registry-client.ts";
export { type RegisteredSchema, SchemaError, type SchemaReference } from "./schema.ts";
export { createSchemaReader, type SchemaReaderOptions } from "./schema-reader.ts";
