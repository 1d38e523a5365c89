import { type SchemaName, SchemaRegistryUnavailableError } from "@millrace/events";
import { type RegisteredSchema, SchemaError, type SchemaReference } from "./schema.ts";

export interface SchemaRegistrySettings {
  /** For example `http://127.0.0.1:8081`; may have a path. */
  readonly url: string;
  /** Basic authentication, where the registry asks for it. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Time for one answer. Default 5 s. */
  readonly deadlineMs?: number;
}

/** Reads schemas from a schema registry. */
export interface SchemaRegistryClient {
  /**
   * The schema with what it refers to; null: the registry does not know it. Rejects with a
   * SchemaRegistryUnavailableError (ask again later) or a SchemaError (it cannot be used).
   */
  schema(name: SchemaName): Promise<RegisteredSchema | null>;
}

const DEADLINE_MS = 5_000;
/** One answer, and a schema with all that it refers to. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;
const SCHEMA_BYTES_MAX = 4 * 1024 * 1024;
const REFERENCES_MAX = 200;
const MEDIA_TYPES = "application/vnd.schemaregistry.v1+json, application/json";

/** What a registry answers about a schema (Confluent's REST interface, version 1). */
interface SchemaAnswer {
  readonly schema?: unknown;
  readonly schemaType?: unknown;
  readonly references?: unknown;
}

/** Throws a TypeError when `url` is no address of http or https, or has a user in it. */
export function createSchemaRegistryClient(settings: SchemaRegistrySettings): SchemaRegistryClient {
  const base = settings.url.replace(/\/+$/, "");
  const { protocol, username, password } = new URL(base);
  if (!/^https?:$/.test(protocol)) throw new TypeError(`${base} is not an http or https URL`);
  if (username !== "" || password !== "") {
    throw new TypeError("the schema registry's URL has a user in it: give user and password by themselves");
  }
  const headers: Record<string, string> = { accept: MEDIA_TYPES };
  if (settings.username !== undefined) {
    const credentials = Buffer.from(`${settings.username}:${settings.password ?? ""}`).toString("base64");
    headers["authorization"] = `Basic ${credentials}`;
  }

  /** The answer's JSON and its status: 200 or 404. */
  const ask = async (path: string): Promise<{ readonly status: number; readonly body: unknown }> => {
    const signal = AbortSignal.timeout(settings.deadlineMs ?? DEADLINE_MS);
    try {
      const response = await fetch(`${base}${path}`, { headers, signal, redirect: "error" });
      const text = await readText(response);
      if (response.status !== 200 && response.status !== 404) {
        throw new SchemaRegistryUnavailableError(`${path} was answered with status ${response.status}`);
      }
      return { status: response.status, body: parse(text) };
    } catch (error) {
      if (error instanceof SchemaRegistryUnavailableError || error instanceof SchemaError) throw error;
      throw new SchemaRegistryUnavailableError(`${path} was not answered: ${(error as Error).message}`, {
        cause: error,
      });
    }
  };

  /** null: the registry does not have it, and says so as a registry does. */
  const find = async (path: string): Promise<SchemaAnswer | null> => {
    const { status, body } = await ask(path);
    if (status === 200) {
      if (typeof body === "object" && body !== null) return body;
      throw new SchemaRegistryUnavailableError(`${path} was answered with something else than a schema`);
    }
    const code = (body as { readonly error_code?: unknown } | undefined)?.error_code;
    if (typeof code === "number" && Math.floor(code / 100) === 404) return null;
    // Some registries do not know the path (of GUIDs): then they are registries all the same.
    const types = await ask("/schemas/types");
    if (types.status === 200 && Array.isArray(types.body)) return null;
    throw new SchemaRegistryUnavailableError(`${base} does not answer as a schema registry: check the URL`);
  };

  /** Collects what a schema refers to, each after what it refers to itself. */
  const collect = async (
    answer: SchemaAnswer,
    found: Map<string, SchemaReference>,
    open: Set<string>,
  ): Promise<void> => {
    if (answer.references === undefined || answer.references === null) return;
    if (!Array.isArray(answer.references)) throw new SchemaError("its references are not a list");
    for (const reference of answer.references as readonly Record<string, unknown>[]) {
      const { name, subject, version } = reference;
      if (typeof name !== "string" || typeof subject !== "string" || !Number.isInteger(version)) {
        throw new SchemaError("a reference has no name, subject or version");
      }
      if (found.has(name)) continue;
      if (open.has(name) || found.size + open.size >= REFERENCES_MAX) {
        throw new SchemaError(`its references go in circles, or are more than ${REFERENCES_MAX}`);
      }
      const referred = await find(`/subjects/${encodeURIComponent(subject)}/versions/${String(version)}`);
      if (referred === null)
        throw new SchemaError(`its reference ${name} (${subject}, ${version}) does not exist`);
      open.add(name);
      await collect(referred, found, open);
      open.delete(name);
      found.set(name, { name, text: textOf(referred) });
    }
  };

  return {
    schema: async (name) => {
      const path = name.kind === "id" ? `/schemas/ids/${name.id}` : `/schemas/guids/${name.guid}`;
      const answer = await find(path);
      if (answer === null) return null;
      const type = answer.schemaType ?? "AVRO";
      if (type !== "AVRO" && type !== "PROTOBUF" && type !== "JSON") {
        throw new SchemaError(`its type is ${JSON.stringify(type)}, not AVRO, PROTOBUF or JSON`);
      }
      const references = new Map<string, SchemaReference>();
      await collect(answer, references, new Set());
      const text = textOf(answer);
      const bytes = [...references.values()].reduce((sum, one) => sum + one.text.length, text.length);
      if (bytes > SCHEMA_BYTES_MAX)
        throw new SchemaError(`it has ${bytes} characters, more than ${SCHEMA_BYTES_MAX}`);
      return { type, text, references: [...references.values()] };
    },
  };
}

function textOf({ schema }: SchemaAnswer): string {
  if (typeof schema !== "string") throw new SchemaError("the registry's answer has no schema in it");
  return schema;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX)
      throw new SchemaError(`the registry's answer has more than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
