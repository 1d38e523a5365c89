import {
  type OpenedRecord,
  Rejection,
  readSchemaFrame,
  rejection,
  type SchemaFrame,
  type SchemaName,
  type SchemaReader,
} from "@millrace/events";
import { createAvroDecoder } from "./avro.ts";
import { createJsonSchemaDecoder } from "./json-schema.ts";
import { createProtobufDecoder } from "./protobuf.ts";
import type { SchemaRegistryClient } from "./registry-client.ts";
import { type Decode, PayloadError, type RegisteredSchema, SchemaError } from "./schema.ts";

export interface SchemaReaderOptions {
  readonly client: SchemaRegistryClient;
  /** Wall-clock ms. */
  readonly now: () => number;
  /** Schemas remembered. Default 500. */
  readonly schemasMax?: number;
}

const SCHEMAS_MAX = 500;
/** How long a schema counts as unknown, or as unusable, before the registry is asked again. */
const REFUSED_MS = 10_000;

type Known = { readonly decode: Decode } | { readonly refusal: Rejection; readonly untilMs: number };

/** One fetch at a time for a schema, whoever waits for it; schemas never change, so that they are fetched once. */
export function createSchemaReader({
  client,
  now,
  schemasMax = SCHEMAS_MAX,
}: SchemaReaderOptions): SchemaReader {
  /** The least recently used one first. */
  const known = new Map<string, Known>();
  const fetching = new Map<string, Promise<Known>>();

  const remember = (key: string, entry: Known): Known => {
    known.delete(key);
    known.set(key, entry);
    if (known.size > schemasMax) known.delete(known.keys().next().value as string);
    return entry;
  };

  const recall = (key: string): Known | undefined => {
    const entry = known.get(key);
    if (entry === undefined) return undefined;
    if ("untilMs" in entry && entry.untilMs <= now()) {
      known.delete(key);
      return undefined;
    }
    return remember(key, entry);
  };

  const fetchOnce = (key: string, name: SchemaName): Promise<Known> => {
    const running = fetching.get(key);
    if (running !== undefined) return running;
    const started = fetchSchema(client, name, key)
      .then((found) =>
        remember(
          key,
          found instanceof Rejection ? { refusal: found, untilMs: now() + REFUSED_MS } : { decode: found },
        ),
      )
      .finally(() => fetching.delete(key));
    fetching.set(key, started);
    return started;
  };

  return {
    open: (record) => {
      const frame = readSchemaFrame(record);
      if (frame instanceof Rejection) return frame;
      const key = keyOf(frame.schema);
      const entry = recall(key);
      if (entry !== undefined) return openWith(entry, frame, key);
      return fetchOnce(key, frame.schema).then((found) => openWith(found, frame, key));
    },
  };
}

async function fetchSchema(
  client: SchemaRegistryClient,
  name: SchemaName,
  key: string,
): Promise<Decode | Rejection> {
  try {
    const schema = await client.schema(name);
    return schema === null
      ? rejection("unknown-schema", `the registry does not know schema ${key}`)
      : decoderOf(schema);
  } catch (error) {
    if (error instanceof SchemaError) return rejection("bad-schema", `schema ${key}: ${error.message}`);
    throw error;
  }
}

function decoderOf(schema: RegisteredSchema): Decode {
  switch (schema.type) {
    case "AVRO":
      return createAvroDecoder(schema);
    case "PROTOBUF":
      return createProtobufDecoder(schema);
    case "JSON":
      return createJsonSchemaDecoder(schema);
  }
}

function openWith(entry: Known, { payload, indexes }: SchemaFrame, key: string): OpenedRecord {
  if ("refusal" in entry) return entry.refusal;
  try {
    return entry.decode(payload, indexes);
  } catch (error) {
    if (error instanceof PayloadError)
      return rejection("not-by-schema", `by schema ${key}, ${error.message}`);
    throw error;
  }
}

function keyOf(name: SchemaName): string {
  return name.kind === "id" ? String(name.id) : name.guid;
}
