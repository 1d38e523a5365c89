import type { JsonObject } from "@millrace/events";
import protobuf from "protobufjs";
import descriptor from "protobufjs/ext/descriptor.js";
import { type Decode, PayloadError, type RegisteredSchema, SchemaError } from "./schema.ts";
import { decimalOf } from "./two-complement.ts";

/** Message indexes: how deep one message may lie in others. */
const INDEXES_MAX = 64;

/**
 * The decoder for a Protobuf schema: `.proto` text, or a serialised FileDescriptorProto in base64, as some serialisers
 * register it. Messages become objects with the names of the `.proto`, enums the names of their values, int64 numbers
 * (bigints beyond the safe integers), bytes bytes; of the well-known types: Timestamp ms since the epoch (fractions
 * cut), the wrappers their value, `confluent.type.Decimal` an `ExactDecimal`. A field that is absent is null where the
 * schema tells absence, else its default. Throws a SchemaError.
 */
export function createProtobufDecoder({ text, references }: RegisteredSchema): Decode {
  const files = new Map(references.map((reference) => [reference.name, reference.text]));
  let messages: readonly protobuf.Type[];
  let root: protobuf.Root;
  try {
    root = new protobuf.Root();
    load(root, text, files, new Set());
    root.resolveAll();
    // In a root of its own the file's messages are those of no other file, in their order.
    const alone = new protobuf.Root();
    addFile(alone, text);
    messages = messagesOf(alone, root);
  } catch (error) {
    if (error instanceof SchemaError) throw error;
    throw new SchemaError((error as Error).message, { cause: error });
  }
  if (messages.length === 0) throw new SchemaError("it has no message");

  return (payload, indexes) => {
    const named = readIndexes(indexes ?? payload);
    const type = messageAt(messages, named.path);
    const data = indexes === null ? payload.subarray(named.end) : payload;
    let message: protobuf.Message;
    try {
      message = type.decode(data);
    } catch (error) {
      throw new PayloadError((error as Error).message, { cause: error });
    }
    return valuesOf(type, message as unknown as JsonObject);
  };
}

/** Adds a file to a root, and answers what it imports. */
function addFile(root: protobuf.Root, text: string): readonly string[] {
  const bytes = descriptorBytes(text);
  if (bytes === null) {
    const { imports, weakImports } = protobuf.parse(text, root, { keepCase: true });
    return [...(imports ?? []), ...(weakImports ?? [])];
  }
  const file = descriptor.FileDescriptorProto.decode(bytes) as unknown as FileDescriptor;
  const features = file.options?.features;
  const context = { edition: editionOf(file), keepCase: true, ...(features == null ? {} : { features }) };
  const namespace = file.package ? root.define(file.package) : root;
  for (const one of file.messageType ?? []) namespace.add(protobuf.Type.fromDescriptor(one, context));
  for (const one of file.enumType ?? []) namespace.add(protobuf.Enum.fromDescriptor(one, context));
  return file.dependency ?? [];
}

/** What matters of a FileDescriptorProto; the library's own typings leave its imports out. */
type FileDescriptor = Pick<descriptor.IFileDescriptorProto, "package" | "messageType" | "enumType"> & {
  readonly syntax?: string;
  readonly edition?: number;
  readonly dependency?: readonly string[];
  readonly options?: { readonly features?: descriptor.IFeatureSet };
};

/** Numbers of `google.protobuf.Edition`. */
const EDITIONS: ReadonlyMap<number | undefined, string> = new Map([
  [1_000, "2023"],
  [1_001, "2024"],
]);

function editionOf({ syntax, edition }: FileDescriptor): string {
  if (syntax === "proto3") return "proto3";
  if (syntax !== "editions") return "proto2";
  const known = EDITIONS.get(edition);
  if (known === undefined) throw new SchemaError(`edition ${edition} is not known`);
  return known;
}

/** The bytes of a schema that is a descriptor in base64; null: it is text. `.proto` text has a space or a line in it. */
function descriptorBytes(text: string): Uint8Array | null {
  return /^[A-Za-z0-9+/]+={0,2}$/.test(text) ? Buffer.from(text, "base64") : null;
}

/** Adds a file to a root, and all that it imports. */
function load(
  root: protobuf.Root,
  text: string,
  files: ReadonlyMap<string, string>,
  loaded: Set<string>,
): void {
  for (const name of addFile(root, text)) {
    if (loaded.has(name)) continue;
    loaded.add(name);
    const imported = files.get(name);
    if (imported !== undefined) load(root, imported, files, loaded);
    else root.addJSON(wellKnown(name));
  }
}

/** Files that every serialiser knows. Options in them do not matter for what is written. */
function wellKnown(name: string): Readonly<Record<string, protobuf.AnyNestedObject>> {
  if (name === "google/protobuf/descriptor.proto" || name === "confluent/meta.proto") return {};
  if (name === "confluent/type/decimal.proto") return CONFLUENT_DECIMAL;
  const nested = protobuf.common.get(name)?.nested;
  if (nested === undefined) throw new SchemaError(`import "${name}" is not among the schema's references`);
  return nested;
}

const CONFLUENT_DECIMAL: Readonly<Record<string, protobuf.AnyNestedObject>> = {
  confluent: {
    nested: {
      type: {
        nested: {
          Decimal: {
            fields: {
              value: { type: "bytes", id: 1 },
              precision: { type: "uint32", id: 2 },
              scale: { type: "int32", id: 3 },
            },
          },
        },
      },
    },
  },
};

/** The messages of a file, in its order, as they are in the root that has all files. */
function messagesOf(file: protobuf.Root, root: protobuf.Root): protobuf.Type[] {
  const found: protobuf.Type[] = [];
  const walk = (namespace: protobuf.NamespaceBase): void => {
    for (const nested of namespace.nestedArray) {
      if (nested instanceof protobuf.Type) found.push(root.lookupType(nested.fullName));
      else if (nested instanceof protobuf.Namespace) walk(nested);
    }
  };
  walk(file);
  return found;
}

/**
 * The message indexes: zig-zag varints, first how many, then the path from the file's messages inwards. One 0 means
 * the first message; some serialisers write that as a path of length 1. No bytes at all mean it too.
 */
function readIndexes(bytes: Uint8Array): { readonly path: readonly number[]; readonly end: number } {
  let at = 0;
  const next = (): number => {
    let value = 0;
    for (let scale = 1; scale <= 128 ** 4; scale *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw new PayloadError("the message indexes end too soon");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
    throw new PayloadError("a message index is too large");
  };
  if (bytes.length === 0) return { path: [0], end: 0 };
  const count = next();
  if (count === 0) return { path: [0], end: at };
  if (count < 0 || count > INDEXES_MAX) throw new PayloadError(`${count} message indexes`);
  return { path: Array.from({ length: count }, next), end: at };
}

function messageAt(messages: readonly protobuf.Type[], path: readonly number[]): protobuf.Type {
  let among = messages;
  let found: protobuf.Type | undefined;
  for (const index of path) {
    found = among[index];
    if (found === undefined) throw new PayloadError(`the schema has no message ${path.join("/")}`);
    among = found.nestedArray.filter((nested) => nested instanceof protobuf.Type);
  }
  return found as protobuf.Type;
}

function valuesOf(type: protobuf.Type, message: JsonObject): Record<string, unknown> {
  const values: Record<string, unknown> = Object.create(null);
  for (const field of type.fieldsArray) {
    const value = Object.hasOwn(message, field.name) ? message[field.name] : undefined;
    values[field.name] = value === undefined ? absent(field) : present(field, value);
  }
  return values;
}

function absent(field: protobuf.Field): unknown {
  if (field.repeated) return [];
  if (field.map) return {};
  // A message that is absent is nothing, whatever the syntax.
  return field.hasPresence || field.resolvedType instanceof protobuf.Type
    ? null
    : single(field, field.typeDefault as unknown);
}

function present(field: protobuf.Field, value: unknown): unknown {
  if (field.repeated) return (value as readonly unknown[]).map((one) => single(field, one));
  if (!field.map) return single(field, value);
  return Object.fromEntries(
    Object.entries(value as JsonObject).map(([key, one]) => [key, single(field, one)]),
  );
}

function single(field: protobuf.Field, value: unknown): unknown {
  const { resolvedType } = field;
  if (resolvedType instanceof protobuf.Enum) {
    // A value that the schema does not name stays a number: no category is one.
    return resolvedType.valuesById[value as number] ?? value;
  }
  if (resolvedType instanceof protobuf.Type) return messageValue(resolvedType, value as JsonObject);
  if (field.type === "bytes") return value instanceof Uint8Array ? value : new Uint8Array(0);
  return isLong(value) ? wholeOf(value) : value;
}

function messageValue(type: protobuf.Type, message: JsonObject): unknown {
  const values = valuesOf(type, message);
  switch (type.fullName) {
    case ".google.protobuf.Timestamp":
      return Number(values["seconds"]) * 1_000 + Math.floor(Number(values["nanos"]) / 1e6);
    case ".google.protobuf.DoubleValue":
    case ".google.protobuf.FloatValue":
    case ".google.protobuf.Int64Value":
    case ".google.protobuf.UInt64Value":
    case ".google.protobuf.Int32Value":
    case ".google.protobuf.UInt32Value":
    case ".google.protobuf.BoolValue":
    case ".google.protobuf.StringValue":
    case ".google.protobuf.BytesValue":
      return values["value"];
    case ".confluent.type.Decimal":
      return decimalOf(values["value"] as Uint8Array, values["scale"] as number);
    default:
      return values;
  }
}

interface Long {
  readonly low: number;
  readonly high: number;
  readonly unsigned: boolean;
}

function isLong(value: unknown): value is Long {
  return typeof value === "object" && value !== null && "low" in value && "high" in value;
}

function wholeOf({ low, high, unsigned }: Long): number | bigint {
  const value = (BigInt(unsigned ? high >>> 0 : high | 0) << 32n) | BigInt(low >>> 0);
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
