import type { JsonObject } from "@millrace/events";
import { AvroTap } from "./avro-tap.ts";
import { type Decode, PayloadError, type RegisteredSchema, SchemaError } from "./schema.ts";
import { decimalOf, SCALE_MAX } from "./two-complement.ts";

type Read = (tap: AvroTap) => unknown;
type Json = null | string | number | boolean | readonly Json[] | { readonly [name: string]: Json };

/** Types within each other in one schema. */
const DEPTH_MAX = 64;
const FIXED_BYTES_MAX = 16 * 1024 * 1024;
const DAY_MS = 86_400_000;

/**
 * The decoder for an Avro schema (specification 1.12). Records and maps become objects, enums texts, `bytes` and
 * `fixed` bytes, longs numbers (bigints beyond the safe integers), and of the logical types: `decimal` an
 * `ExactDecimal`; `timestamp-millis`, `-micros` and `-nanos` and `date` ms since the epoch, fractions cut; all others
 * what they are stored as. Throws a SchemaError.
 */
export function createAvroDecoder({ text, references }: RegisteredSchema): Decode {
  const names = new Names();
  for (const reference of references) compile(parse(reference.text, reference.name), names, "", 0);
  const read = compile(parse(text, "the schema"), names, "", 0);
  return (payload) => {
    const tap = new AvroTap(payload);
    const data = read(tap);
    if (!tap.isAtEnd) throw new PayloadError("bytes are left over");
    if (typeof data !== "object" || data === null || Array.isArray(data) || data instanceof Uint8Array) {
      throw new PayloadError("it is not a record");
    }
    return data as JsonObject;
  };
}

/** The named types seen so far. A type may refer to itself: its reader is looked up when it reads. */
class Names {
  readonly #readers = new Map<string, Read | null>();

  declare(fullName: string): void {
    if (this.#readers.has(fullName)) throw new SchemaError(`type ${fullName} is defined twice`);
    this.#readers.set(fullName, null);
  }

  define(fullName: string, read: Read): Read {
    this.#readers.set(fullName, read);
    return read;
  }

  reader(name: string, namespace: string): Read {
    const fullName = [qualified(name, namespace), name].find((one) => this.#readers.has(one));
    if (fullName === undefined) throw new SchemaError(`type ${name} is not defined`);
    const known = this.#readers.get(fullName);
    return known ?? ((tap) => (this.#readers.get(fullName) as Read)(tap));
  }
}

const PRIMITIVES: Readonly<Record<string, Read>> = {
  null: () => null,
  boolean: (tap) => tap.boolean(),
  int: (tap) => tap.int(),
  long: (tap) => tap.long(),
  float: (tap) => tap.float(),
  double: (tap) => tap.double(),
  bytes: (tap) => tap.bytes(),
  string: (tap) => tap.string(),
};

function compile(schema: Json, names: Names, namespace: string, depth: number): Read {
  if (depth > DEPTH_MAX) throw new SchemaError(`types are nested deeper than ${DEPTH_MAX}`);
  if (typeof schema === "string") {
    return Object.hasOwn(PRIMITIVES, schema) ? (PRIMITIVES[schema] as Read) : names.reader(schema, namespace);
  }
  if (isList(schema)) return compileUnion(schema, names, namespace, depth);
  if (typeof schema !== "object" || schema === null)
    throw new SchemaError(`${JSON.stringify(schema)} is no type`);
  const { type } = schema;
  switch (type) {
    case "record":
    case "error":
      return compileRecord(schema, names, namespace, depth);
    case "enum":
      return compileEnum(schema, names, namespace);
    case "fixed":
      return compileFixed(schema, names, namespace);
    case "array":
      return compileArray(compile(schema["items"] ?? null, names, namespace, depth + 1));
    case "map":
      return compileMap(compile(schema["values"] ?? null, names, namespace, depth + 1));
    case undefined:
      throw new SchemaError("a type has no name");
    default:
      return withLogicalType(schema, compile(type, names, namespace, depth + 1));
  }
}

function compileUnion(branches: readonly Json[], names: Names, namespace: string, depth: number): Read {
  const readers = branches.map((branch) => compile(branch, names, namespace, depth + 1));
  return (tap) => (readers[tap.index(readers.length)] as Read)(tap);
}

type JsonFields = { readonly [name: string]: Json };

function compileRecord(schema: JsonFields, names: Names, namespace: string, depth: number): Read {
  const fullName = fullNameOf(schema, namespace);
  names.declare(fullName);
  const inner = namespaceOf(fullName);
  const { fields } = schema;
  if (!isList(fields)) throw new SchemaError(`record ${fullName} has no fields`);
  const readers = fields.map((field) => {
    if (typeof field !== "object" || field === null || isList(field) || typeof field["name"] !== "string") {
      throw new SchemaError(`a field of record ${fullName} has no name`);
    }
    return [field["name"], compile(field["type"] ?? null, names, inner, depth + 1)] as const;
  });
  return names.define(fullName, (tap) =>
    tap.within(() => {
      const record = emptyObject();
      for (const [name, read] of readers) record[name] = read(tap);
      return record;
    }),
  );
}

function compileEnum(schema: JsonFields, names: Names, namespace: string): Read {
  const fullName = fullNameOf(schema, namespace);
  names.declare(fullName);
  const { symbols } = schema;
  if (!isList(symbols) || !symbols.every((symbol) => typeof symbol === "string")) {
    throw new SchemaError(`enum ${fullName} has no symbols`);
  }
  return names.define(fullName, (tap) => symbols[tap.index(symbols.length)]);
}

function compileFixed(schema: JsonFields, names: Names, namespace: string): Read {
  const fullName = fullNameOf(schema, namespace);
  names.declare(fullName);
  const size = wholeOf(schema, "size", FIXED_BYTES_MAX);
  return names.define(
    fullName,
    withLogicalType(schema, (tap) => tap.fixed(size)),
  );
}

function compileArray(read: Read): Read {
  return (tap) =>
    tap.within(() => {
      const values: unknown[] = [];
      tap.blocks(() => values.push(read(tap)));
      return values;
    });
}

function compileMap(read: Read): Read {
  return (tap) =>
    tap.within(() => {
      const values = emptyObject();
      tap.blocks(() => {
        const key = tap.string();
        values[key] = read(tap);
      });
      return values;
    });
}

/** A logical type that does not fit its type is ignored, as the specification asks. */
function withLogicalType(schema: JsonFields, read: Read): Read {
  switch (schema["logicalType"]) {
    case "decimal": {
      const scale = schema["scale"] === undefined ? 0 : wholeOf(schema, "scale", SCALE_MAX);
      return (tap) => {
        const value = read(tap);
        return value instanceof Uint8Array ? decimalOf(value, scale) : value;
      };
    }
    case "timestamp-micros":
      return (tap) => toMs(read(tap), 1_000);
    case "timestamp-nanos":
      return (tap) => toMs(read(tap), 1_000_000);
    case "date":
      return (tap) => {
        const days = read(tap);
        return typeof days === "number" ? days * DAY_MS : days;
      };
    default:
      return read;
  }
}

function toMs(value: unknown, unitsPerMs: number): unknown {
  if (typeof value === "number") return Math.floor(value / unitsPerMs);
  if (typeof value !== "bigint") return value;
  const units = BigInt(unitsPerMs);
  const rest = ((value % units) + units) % units;
  return Number((value - rest) / units);
}

/** Keys come from strangers: `__proto__` is one like any other. */
function emptyObject(): Record<string, unknown> {
  return Object.create(null) as Record<string, unknown>;
}

function parse(text: string, what: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    // A registry may hold the name of a primitive type without its quotes.
    if (Object.hasOwn(PRIMITIVES, text.trim())) return text.trim();
    throw new SchemaError(`${what} is not JSON`, { cause: error });
  }
}

function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

function wholeOf(schema: JsonFields, name: string, max: number): number {
  const value = schema[name];
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > max) {
    throw new SchemaError(`${name} is ${JSON.stringify(value)}, not a whole number from 0 to ${max}`);
  }
  return value;
}

function fullNameOf(schema: JsonFields, enclosing: string): string {
  const { name, namespace } = schema;
  if (typeof name !== "string" || name === "") throw new SchemaError("a record, enum or fixed has no name");
  return qualified(name, typeof namespace === "string" ? namespace : enclosing);
}

function qualified(name: string, namespace: string): string {
  return name.includes(".") || namespace === "" ? name : `${namespace}.${name}`;
}

function namespaceOf(fullName: string): string {
  return fullName.slice(0, Math.max(0, fullName.lastIndexOf(".")));
}
