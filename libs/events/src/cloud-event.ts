import type { StreamDefinition } from "@millrace/lines";
import { decodeBase64 } from "./base64.ts";
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

type Fields = StreamDefinition["fields"];

/**
 * Opens a record's envelope after the CloudEvents Kafka protocol binding 1.0.2: a content type that begins with
 * `application/cloudevents` means structured, headers `ce_...` mean binary, anything else is a plain JSON event. The
 * data of a binary CloudEvent whose content type is the media type of a blob field is that field; its other fields
 * are the event's extension attributes.
 */
export function openEvent(value: Uint8Array, headers: Headers, fields: Fields): OpenedEvent | Rejection {
  const names = Object.keys(headers);
  if (names.length === 0) return openPlain(value);
  const { attributes, contentType } = readHeaders(headers);
  if (contentType?.startsWith("application/cloudevents")) return openStructured(value, contentType);
  if (contentType !== undefined && !isJsonType(contentType)) {
    const blob = attributes.size === 0 ? undefined : blobOf(fields, contentType);
    return blob === undefined ? unsupported(contentType) : openBlob(value, blob, attributes, fields);
  }
  return attributes.size === 0 ? openPlain(value) : openBinary(value, attributes);
}

/** Whether a header of this name changes how a record is read. */
export function isEnvelopeHeader(name: string): boolean {
  // Most headers do not begin with c or C.
  if ((name.charCodeAt(0) | 0x20) !== 0x63) return false;
  const lower = name.toLowerCase();
  return lower === "content-type" || lower.startsWith("ce_");
}

/** The attributes of the binary CloudEvent that a record's headers make; null: they make none. */
export function readRecordAttributes(headers: Headers): Attributes | Rejection | null {
  const { attributes } = readHeaders(headers);
  return attributes.size === 0 ? null : readHeaderAttributes(attributes);
}

type AttributeTexts = ReadonlyMap<string, string | null>;

/** The texts of the headers `ce_...`, null where one is not UTF-8, and the content type. */
function readHeaders(headers: Headers): {
  readonly attributes: AttributeTexts;
  readonly contentType: string | undefined;
} {
  const attributes = new Map<string, string | null>();
  let contentType: string | undefined;
  for (const name of Object.keys(headers)) {
    const lower = name.toLowerCase();
    if (!isEnvelopeHeader(lower)) continue;
    const text = readText(headers[name] as Uint8Array);
    if (lower === "content-type") contentType = text?.trim().toLowerCase() ?? "";
    else attributes.set(lower.slice(3), text);
  }
  return { attributes, contentType };
}

function openPlain(value: Uint8Array): OpenedEvent | Rejection {
  const data = readJsonObject(value, "the value");
  return data instanceof Rejection ? data : { kind: "opened", data, attributes: null };
}

function openBinary(value: Uint8Array, texts: AttributeTexts): OpenedEvent | Rejection {
  const attributes = readHeaderAttributes(texts);
  if (attributes instanceof Rejection) return attributes;
  const data = readJsonObject(value, "the value");
  return data instanceof Rejection ? data : { kind: "opened", data, attributes };
}

function readHeaderAttributes(texts: AttributeTexts): Attributes | Rejection {
  for (const [name, text] of texts) {
    if (text === null) return rejection("not-utf8", `header ${quote(`ce_${name}`)} is not UTF-8`);
  }
  return readAttributes((name) => texts.get(name) ?? undefined, "header ce_");
}

/** The first blob field whose media type is the content type; parameters count only where the line names them. */
function blobOf(fields: Fields, contentType: string): string | undefined {
  const mediaType = contentType.split(";", 1)[0]?.trim();
  return Object.entries(fields).find(
    ([, field]) =>
      field.type === "blob" &&
      (field.mediaType.toLowerCase() === contentType || field.mediaType.toLowerCase() === mediaType),
  )?.[0];
}

function openBlob(
  value: Uint8Array,
  blob: string,
  texts: AttributeTexts,
  fields: Fields,
): OpenedEvent | Rejection {
  const attributes = readHeaderAttributes(texts);
  if (attributes instanceof Rejection) return attributes;
  const data: Record<string, unknown> = { [blob]: value };
  for (const [name, field] of Object.entries(fields)) {
    const text = name === blob ? undefined : texts.get(attributeName(name));
    if (text === undefined || text === null || CONTEXT.has(attributeName(name))) continue;
    data[name] = valueOfAttribute(text, field.type);
  }
  return { kind: "opened", data, attributes };
}

/** Names of CloudEvents attributes have only small letters and digits. */
function attributeName(field: string): string {
  return field.toLowerCase().replaceAll("_", "");
}

/** Attributes that every CloudEvent has for itself: never the fields of an event. */
const CONTEXT: ReadonlySet<string> = new Set([
  "specversion",
  "id",
  "source",
  "type",
  "time",
  "datacontenttype",
]);

/** A header holds text only: numbers and booleans are written in it as in JSON. What is not stays a text. */
function valueOfAttribute(text: string, type: Fields[string]["type"]): unknown {
  switch (type) {
    case "number":
    case "integer":
    case "decimal":
      return /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text) ? Number(text) : text;
    case "boolean":
      return text === "true" ? true : text === "false" ? false : text;
    default:
      return text;
  }
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
