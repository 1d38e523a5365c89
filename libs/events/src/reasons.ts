import { ExactDecimal } from "./exact-decimal.ts";

/** Why a record is refused: what the code means, and what its producer should do. */
export interface Reason {
  readonly means: string;
  readonly remedy: string;
}

/** The codes, in the order in which a record is checked. */
export type ReasonCode =
  | "empty-value"
  | "too-large"
  | "key-too-large"
  | "headers-too-large"
  | "bad-schema-frame"
  | "unknown-schema"
  | "bad-schema"
  | "not-by-schema"
  | "not-utf8"
  | "not-json"
  | "not-an-object"
  | "too-deep"
  | "unsupported-content-type"
  | "ce-missing-attribute"
  | "ce-bad-attribute"
  | "ce-bad-specversion"
  | "ce-bad-time"
  | "ce-bad-data"
  | "unknown-line"
  | "unknown-stream"
  | "wrong-topic"
  | "missing-field"
  | "empty-id"
  | "wrong-type"
  | "not-an-integer"
  | "not-finite"
  | "out-of-range"
  | "too-precise"
  | "too-long"
  | "not-a-category"
  | "bad-text"
  | "bad-time"
  | "bad-blob"
  | "too-large-blob"
  | "future-time"
  | "unknown-claim"
  | "too-late"
  | "duplicate-id";

/**
 * The catalogue of every reason for which a record is refused. The code is the value of the header `mr-reason`
 * in `LINE.rejected`; codes are stable, texts may change.
 */
export const REASONS: Readonly<Record<ReasonCode, Reason>> = {
  "empty-value": {
    means: "the record has no value",
    remedy: "send the event as the record's value; a CloudEvent without data needs the structured mode",
  },
  "too-large": {
    means: "the record's value is larger than the line allows",
    remedy: "send less per event, or raise limits.eventBytesMax of the line",
  },
  "key-too-large": {
    means: "the record's key is larger than any key may be",
    remedy: "use the stream's key fields, joined by |, as the key",
  },
  "headers-too-large": {
    means: "the record's headers are larger than any headers may be",
    remedy: "send what belongs to the event in its value",
  },
  "bad-schema-frame": {
    means: "the record of a stream with a schema registry does not begin with a schema's id",
    remedy:
      "write the record with a serialiser of a schema registry: byte 0 and a 4-byte id, byte 1 and a GUID, or the header __value_schema_id",
  },
  "unknown-schema": {
    means: "the schema registry does not know the id that the record names",
    remedy: "register the schema with the registry that Millrace is set to, then send the record again",
  },
  "bad-schema": {
    means: "the schema cannot be used: it is broken, too large, or of a kind that is not known here",
    remedy: "register an Avro record, a Protobuf message or a JSON Schema, and all that it refers to",
  },
  "not-by-schema": {
    means: "the record's bytes are not what its schema says",
    remedy: "write the record with the schema whose id it carries",
  },
  "not-utf8": {
    means: "bytes that should be text are not UTF-8",
    remedy: "encode the event as UTF-8",
  },
  "not-json": {
    means: "the text is not JSON",
    remedy: "send one JSON object per record; NaN and Infinity are not JSON",
  },
  "not-an-object": {
    means: "the event is JSON, but not an object",
    remedy: "send an object with the stream's fields, one event per record",
  },
  "too-deep": {
    means: "objects and lists are nested too deeply",
    remedy: "send flat events",
  },
  "unsupported-content-type": {
    means: "the content type is not JSON and not a CloudEvent in JSON",
    remedy: "use application/json or application/cloudevents+json, in UTF-8, or no content-type header",
  },
  "ce-missing-attribute": {
    means: "a CloudEvent lacks a required attribute",
    remedy: "set specversion, id, source and type, none of them empty",
  },
  "ce-bad-attribute": {
    means: "an attribute of a structured CloudEvent is not text",
    remedy: "send the attribute as a JSON string",
  },
  "ce-bad-specversion": {
    means: "the CloudEvent has another version than 1.0",
    remedy: "send specversion 1.0",
  },
  "ce-bad-time": {
    means: "the CloudEvent's time attribute is not a time",
    remedy: "send RFC 3339 with zone, such as 2001-01-05T06:00:00Z, or leave the attribute out",
  },
  "ce-bad-data": {
    means: "the data of a structured CloudEvent is missing or cannot be read",
    remedy: "send the event as a JSON object in data, or its UTF-8 JSON as base64 in data_base64, not both",
  },
  "unknown-line": {
    means: "the CloudEvent's type names another line",
    remedy: "send type STREAM or LINE.STREAM, with the line that reads this topic",
  },
  "unknown-stream": {
    means: "the CloudEvent's type names a stream that the line does not have",
    remedy: "send the name of a stream that the line declares, or declare the stream",
  },
  "wrong-topic": {
    means: "the CloudEvent's type names a stream of another topic",
    remedy: "send the event to the topic of its stream",
  },
  "missing-field": {
    means: "a required field is missing or null",
    remedy: "send the field, or declare it optional in the line",
  },
  "empty-id": {
    means: "the event's id is empty text",
    remedy: "give each event an id of its own",
  },
  "wrong-type": {
    means: "a field holds a value of another kind than declared",
    remedy: "send the declared kind: numbers and booleans without quotes, texts in quotes",
  },
  "not-an-integer": {
    means: "an integer field holds a fraction",
    remedy: "send a whole number, or declare the field as number",
  },
  "not-finite": {
    means: "a number is too large for a double, for example 1e999",
    remedy: "send a finite number",
  },
  "out-of-range": {
    means: "a number is outside the declared range, or an integer beyond 2^53 - 1",
    remedy: "send a value within the range, or widen it in the line",
  },
  "too-precise": {
    means: "a decimal has more places than declared",
    remedy: "round the value to the declared scale, or raise the scale in the line",
  },
  "too-long": {
    means: "a text is longer than declared",
    remedy: "send a shorter text, or raise maxLength in the line",
  },
  "not-a-category": {
    means: "a category field holds a value that is not in its list",
    remedy: "send one of the declared values, or add the value to the line",
  },
  "bad-text": {
    means: "a text holds half of a surrogate pair, which no encoding can carry",
    remedy: "send well-formed Unicode",
  },
  "bad-time": {
    means: "a time field holds no time",
    remedy: "send ISO 8601 with zone, such as 2001-01-05T06:00:00Z, or whole milliseconds since 1970",
  },
  "bad-blob": {
    means: "a blob field holds neither base64 nor a claim, or the claim is of another media type",
    remedy:
      "send the bytes as base64 text (RFC 4648, padded), as the data of a binary CloudEvent of the blob's media type, " +
      "or a claim {sha256, bytes, mediaType} of what is in the object store",
  },
  "too-large-blob": {
    means: "a blob has more bytes than declared",
    remedy: "send a smaller one, or raise bytesMax in the line",
  },
  "future-time": {
    means: "the event's time is further ahead of the record's timestamp than the line allows",
    remedy: "correct the producer's clock or unit (milliseconds), or raise limits.aheadMax",
  },
  "unknown-claim": {
    means: "the object store does not hold what a claim names, or it has another size",
    remedy: "store the bytes under their SHA-256 first, then send the claim; or send the bytes themselves",
  },
  "too-late": {
    means: "the event's time lies further behind the stream's newest events than the line allows",
    remedy: "send events sooner, or raise lateMax of the stream; the features of that time are final",
  },
  "duplicate-id": {
    means: "an event of this stream with this id was accepted before",
    remedy: "nothing, if the producer sent it twice; else give each event an id of its own",
  },
};

/**
 * A refusal: the reason's code, and a sentence for people that names the field, what came and the remedy. A class,
 * so that no JSON that a producer sends can be taken for one.
 */
export class Rejection {
  readonly kind = "rejected";
  readonly reason: ReasonCode;
  readonly detail: string;
  constructor(reason: ReasonCode, detail: string) {
    this.reason = reason;
    this.detail = detail;
  }
}

/** Makes a refusal. `found` says what came, without the remedy: that is taken from the catalogue. */
export function rejection(reason: ReasonCode, found: string): Rejection {
  return new Rejection(reason, `${found}: ${REASONS[reason].remedy}`);
}

/** Most characters of what came that a sentence repeats. */
const SHOWN_MAX = 80;

/** A value for people: its kind, and for texts and numbers the value, cut to 80 characters. */
export function describeValue(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (value instanceof ExactDecimal) return `the number ${value}`;
  switch (typeof value) {
    case "string":
      return `text ${quote(value)}`;
    case "number":
    case "bigint":
      return `the number ${value}`;
    case "boolean":
      return String(value);
    default:
      return "an object";
  }
}

/** Text in quotes, escaped and cut, fit for a header or a log line. */
export function quote(text: string): string {
  const cut = JSON.stringify(text.slice(0, SHOWN_MAX));
  return cut.length <= SHOWN_MAX && text.length <= SHOWN_MAX ? cut : `${cut.slice(0, SHOWN_MAX - 4)}..."`;
}

const BYTES_SHOWN_MAX = 8;

/** The first bytes of something, in hex digits. */
export function describeBytes(bytes: Uint8Array): string {
  if (bytes.length === 0) return "nothing";
  const shown = Array.from(bytes.subarray(0, BYTES_SHOWN_MAX), (byte) => byte.toString(16).padStart(2, "0"));
  return `the bytes ${shown.join(" ")}${bytes.length > BYTES_SHOWN_MAX ? " ..." : ""}`;
}
