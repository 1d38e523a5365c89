import type { AcceptedEvent, FieldValue } from "@millrace/contracts";
import { checkedDurationMs, type FieldDefinition, type LineDefinition } from "@millrace/lines";
import { type Attributes, openEvent } from "./cloud-event.ts";
import type { JsonObject } from "./json-object.ts";
import { readField } from "./read-field.ts";
import { quote, Rejection, rejection } from "./reasons.ts";

/** What a producer sent: the parts of a Kafka record that matter here. */
export interface IncomingRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: Readonly<Record<string, Uint8Array>>;
  /** The record's timestamp, ms since the epoch; negative when it has none. */
  readonly timestampMs: number;
}

export interface Accepted {
  readonly kind: "accepted";
  readonly event: AcceptedEvent;
}

/** Reads the records of one stream's topic. Never throws, whatever the bytes are. */
export type EventReader = (record: IncomingRecord) => Accepted | Rejection;

/** Largest key, and largest headers together, in bytes. Kafka itself bounds only the whole record. */
export const KEY_BYTES_MAX = 4_096;
export const HEADER_BYTES_MAX = 65_536;

/**
 * The reader for the records of a stream's topic: plain JSON objects, and CloudEvents 1.0 in binary and structured
 * mode. An accepted event has exactly the declared fields, null where an optional one is missing; fields that the
 * stream does not declare are dropped. Where the data lacks the id or time field, the CloudEvent's id or time
 * takes its place. Throws a RangeError when the line has no such stream.
 *
 * Duplicates are not seen here: `DedupWindow` knows them.
 */
export function createEventReader(line: LineDefinition, streamName: string): EventReader {
  const stream = line.streams[streamName];
  if (stream === undefined) throw new RangeError(`line "${line.name}" has no stream "${streamName}"`);
  const fields = Object.entries(stream.fields);
  const { id: idField, time: timeField } = stream;
  const bytesMax = line.limits.eventBytesMax;
  const aheadMaxMs = checkedDurationMs(line.limits.aheadMax);

  return ({ key, value, headers, timestampMs }) => {
    if (value === null || value.length === 0) return rejection("empty-value", "the record has no value");
    if (value.length > bytesMax) {
      return rejection("too-large", `the value has ${value.length} bytes, more than ${bytesMax}`);
    }
    if (key !== null && key.length > KEY_BYTES_MAX) {
      return rejection("key-too-large", `the key has ${key.length} bytes, more than ${KEY_BYTES_MAX}`);
    }
    const headerBytes = sizeOf(headers);
    if (headerBytes > HEADER_BYTES_MAX) {
      return rejection(
        "headers-too-large",
        `the headers have ${headerBytes} bytes, more than ${HEADER_BYTES_MAX}`,
      );
    }

    const opened = openEvent(value, headers);
    if (opened instanceof Rejection) return opened;
    const { data, attributes } = opened;
    const misplaced = attributes === null ? null : checkType(line, streamName, attributes.type);
    if (misplaced !== null) return misplaced;

    const event: Record<string, FieldValue> = {};
    for (const [name, field] of fields) {
      let found = Object.hasOwn(data, name) ? data[name] : null;
      if (found === null && attributes !== null) {
        if (name === idField) found = idOf(attributes, field);
        else if (name === timeField) found = attributes.timeMs;
      }
      if (found === null) {
        if (field.optional !== true) return missing(data, name);
        event[name] = null;
        continue;
      }
      const read = readField(name, field, found);
      if (read instanceof Rejection) return read;
      event[name] = read;
    }

    const id = String(event[idField]);
    if (id === "") return rejection("empty-id", `field ${quote(idField)} is empty`);
    const time = event[timeField] as number;
    if (time < 0) return rejection("bad-time", `field ${quote(timeField)} is before 1970`);
    if (timestampMs >= 0 && time - timestampMs > aheadMaxMs) {
      const ahead = Math.round((time - timestampMs) / 1000);
      return rejection(
        "future-time",
        `field ${quote(timeField)} is ${ahead} s ahead of the record, more than ${line.limits.aheadMax}`,
      );
    }
    return { kind: "accepted", event: { id, stream: streamName, time, data: event } };
  };
}

function sizeOf(headers: IncomingRecord["headers"]): number {
  let bytes = 0;
  for (const name in headers) bytes += name.length + (headers[name]?.length ?? 0);
  return bytes;
}

function missing(data: JsonObject, name: string): Rejection {
  return rejection(
    "missing-field",
    `field ${quote(name)} is ${Object.hasOwn(data, name) ? "null" : "missing"}`,
  );
}

/** A CloudEvent's id is text; an integer id field takes it when it is written as one. */
function idOf(attributes: Attributes, field: FieldDefinition): string | number {
  return field.type === "integer" && /^-?\d+$/.test(attributes.id) ? Number(attributes.id) : attributes.id;
}

function checkType(line: LineDefinition, streamName: string, type: string): Rejection | null {
  if (type === streamName || type === `${line.name}.${streamName}`) return null;
  const dot = type.lastIndexOf(".");
  const lineName = dot === -1 ? line.name : type.slice(0, dot);
  const other = type.slice(dot + 1);
  if (lineName !== line.name) {
    return rejection("unknown-line", `type ${quote(type)} is not of line "${line.name}"`);
  }
  if (!Object.hasOwn(line.streams, other)) {
    return rejection("unknown-stream", `line "${line.name}" has no stream ${quote(other)}`);
  }
  const topic = line.streams[other]?.topic;
  return rejection("wrong-topic", `events of type ${quote(type)} belong on topic "${topic}"`);
}
