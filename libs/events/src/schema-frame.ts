import type { IncomingRecord } from "./read-event.ts";
import { describeBytes, quote, type Rejection, rejection } from "./reasons.ts";

/** The schema of a record as its producer named it: a number, or a UUID in small letters with dashes. */
export type SchemaName =
  | { readonly kind: "id"; readonly id: number }
  | { readonly kind: "guid"; readonly guid: string };

/** A record that a serialiser of a schema registry has written. */
export interface SchemaFrame {
  readonly schema: SchemaName;
  /** The value without the schema's name. */
  readonly payload: Uint8Array;
  /**
   * Protobuf only: where the message indexes stand. null: at the payload's beginning; else these bytes, which may be
   * empty.
   */
  readonly indexes: Uint8Array | null;
}

/** Where newer serialisers put what older ones write in front of the value. */
const HEADER = "__value_schema_id";
const MAGIC_ID = 0;
const MAGIC_GUID = 1;
const ID_END = 5;
const GUID_END = 17;

/**
 * Finds out by which schema a record is written: the wire format of Confluent's schema registry. Version 0 is byte 0
 * and a 4-byte number, big-endian; version 1 is byte 1 and a GUID of 16 bytes. Either stands in front of the value or
 * in the header `__value_schema_id`, which wins.
 */
export function readSchemaFrame({ value, headers }: IncomingRecord): SchemaFrame | Rejection {
  if (value === null || value.length === 0) return rejection("empty-value", "the record has no value");
  const header = headers[HEADER];
  const where = header === undefined ? "the value" : `header ${quote(HEADER)}`;
  const bytes = header ?? value;
  const named = readName(bytes);
  if (named === null) {
    return rejection("bad-schema-frame", `${where} begins with ${describeBytes(bytes)}`);
  }
  const rest = bytes.subarray(named.end);
  return header === undefined
    ? { schema: named.schema, payload: rest, indexes: null }
    : { schema: named.schema, payload: value, indexes: rest };
}

function readName(bytes: Uint8Array): { readonly schema: SchemaName; readonly end: number } | null {
  if (bytes[0] === MAGIC_ID && bytes.length >= ID_END) {
    const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
    return { schema: { kind: "id", id }, end: ID_END };
  }
  if (bytes[0] === MAGIC_GUID && bytes.length >= GUID_END) {
    const hex = Array.from(bytes.subarray(1, GUID_END), (byte) => byte.toString(16).padStart(2, "0")).join(
      "",
    );
    const guid = [
      hex.slice(0, 8),
      hex.slice(8, 12),
      hex.slice(12, 16),
      hex.slice(16, 20),
      hex.slice(20),
    ].join("-");
    return { schema: { kind: "guid", guid }, end: GUID_END };
  }
  return null;
}
