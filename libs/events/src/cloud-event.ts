import { timeOfText } from "./event-time.ts";
import { isJsonObject, type JsonObject, readJsonObject, readText } from "./json-object.ts";
import { describeValue, quote, Rejection, rejection } from "./reasons.ts";

/** What a record holds once its envelope is open: the event's fields, and a CloudEvent's attributes. */
export interface OpenedEvent {
  readonly kind: "opened";
  readonly data: JsonObject;
  /** null: a plain JSON event. */
  readonly attributes: Attributes | null;
}

/** The CloudEvent attributes that matter here (CloudEvents 1.0.2, section "Required attributes", and time). */
export interface Attributes {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  /** ms since the epoch; null when the event has none. */
  readonly timeMs: number | null;
}

type Headers = Readonly<Record<string, Uint8Array>>;
/** The value of an attribute: text, undefined when missing, anything else when a structured event is wrong. */
type AttributeSource = (name: string) => unknown;

/**
 * Opens a record's envelope after the CloudEvents Kafka protocol binding 1.0.2: a content type that begins with
 * `application/cloudevents` means structured, headers `ce_...` mean binary, anything else is a plain JSON event.
 */
export function openEvent(value: Uint8Array, headers: Headers): OpenedEvent | Rejection {
  const names = Object.keys(headers);
  if (names.length === 0) return openPlain(value);
  const attributes = new Map<string, string | null>();
  let contentType: string | undefined;
  for (const name of names) {
    const lower = name.toLowerCase();
    if (lower === "content-type")
      contentType =
        readText(headers[name] as Uint8Array)
          ?.trim()
          .toLowerCase() ?? "";
    else if (lower.startsWith("ce_")) attributes.set(lower.slice(3), readText(headers[name] as Uint8Array));
  }
  if (contentType?.startsWith("application/cloudevents")) return openStructured(value, contentType);
  if (contentType !== undefined && !isJsonType(contentType)) return unsupported(contentType);
  return attributes.size === 0 ? openPlain(value) : openBinary(value, attributes);
}

function openPlain(value: Uint8Array): OpenedEvent | Rejection {
  const data = readJsonObject(value, "the value");
  return data instanceof Rejection ? data : { kind: "opened", data, attributes: null };
}

function openBinary(value: Uint8Array, headers: ReadonlyMap<string, string | null>): OpenedEvent | Rejection {
  for (const [name, text] of headers) {
    if (text === null) return rejection("not-utf8", `header ${quote(`ce_${name}`)} is not UTF-8`);
  }
  const attributes = readAttributes((name) => headers.get(name) ?? undefined, "header ce_");
  if (attributes instanceof Rejection) return attributes;
  const data = readJsonObject(value, "the value");
  return data instanceof Rejection ? data : { kind: "opened", data, attributes };
}

function openStructured(value: Uint8Array, contentType: string): OpenedEvent | Rejection {
  const [mediaType] = contentType.split(";", 1);
  if (mediaType?.trim() !== "application/cloudevents+json" || !isUtf8Type(contentType)) {
    return unsupported(contentType);
  }
  const event = readJsonObject(value, "the CloudEvent");
  if (event instanceof Rejection) return event;
  const attributes = readAttributes((name) => own(event, name) ?? undefined, "attribute ");
  if (attributes instanceof Rejection) return attributes;
  const data = readStructuredData(event);
  return data instanceof Rejection ? data : { kind: "opened", data, attributes };
}

function readStructuredData(event: JsonObject): JsonObject | Rejection {
  const dataType = own(event, "datacontenttype");
  if (typeof dataType === "string" && !isJsonType(dataType.trim().toLowerCase()))
    return unsupported(dataType);
  const data = own(event, "data");
  const encoded = own(event, "data_base64");
  if (encoded === undefined) {
    if (data === undefined)
      return rejection("ce-bad-data", "the CloudEvent has neither data nor data_base64");
    return isJsonObject(data)
      ? data
      : rejection("ce-bad-data", `data is ${describeValue(data)}, not an object`);
  }
  if (data !== undefined) return rejection("ce-bad-data", "the CloudEvent has both data and data_base64");
  const bytes = typeof encoded === "string" ? decodeBase64(encoded) : null;
  return bytes === null
    ? rejection("ce-bad-data", "data_base64 is not base64")
    : readJsonObject(bytes, "data_base64");
}

function readAttributes(source: AttributeSource, label: string): Attributes | Rejection {
  const version = readAttribute(source, "specversion", label);
  if (typeof version !== "string") return version;
  if (version !== "1.0") return rejection("ce-bad-specversion", `${label}specversion is ${quote(version)}`);
  const id = readAttribute(source, "id", label);
  if (typeof id !== "string") return id;
  const origin = readAttribute(source, "source", label);
  if (typeof origin !== "string") return origin;
  const type = readAttribute(source, "type", label);
  if (typeof type !== "string") return type;
  const time = source("time");
  const timeMs = typeof time === "string" ? timeOfText(time) : null;
  if (time !== undefined && timeMs === null) {
    return rejection("ce-bad-time", `${label}time is ${describeValue(time)}`);
  }
  return { id, source: origin, type, timeMs };
}

function readAttribute(source: AttributeSource, name: string, label: string): string | Rejection {
  const value = source(name);
  if (value === undefined || value === "") {
    return rejection("ce-missing-attribute", `${label}${name} is ${value === "" ? "empty" : "missing"}`);
  }
  return typeof value === "string"
    ? value
    : rejection("ce-bad-attribute", `${label}${name} is ${describeValue(value)}`);
}

function own(object: JsonObject, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

function unsupported(contentType: string): Rejection {
  return rejection("unsupported-content-type", `the content type is ${quote(contentType)}`);
}

function isJsonType(contentType: string): boolean {
  const mediaType = contentType.split(";", 1)[0]?.trim() ?? "";
  const isJson = mediaType === "application/json" || mediaType === "text/json" || mediaType.endsWith("+json");
  return isJson && isUtf8Type(contentType);
}

function isUtf8Type(contentType: string): boolean {
  const charset = /;\s*charset\s*=\s*"?([^";\s]*)/.exec(contentType)?.[1];
  return charset === undefined || charset === "utf-8" || charset === "utf8";
}

function decodeBase64(text: string): Uint8Array | null {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return null;
  }
}
