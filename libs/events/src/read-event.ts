import type { AcceptedEvent, Claim, FieldValue } from "@millrace/contracts";
import { checkedDurationMs, type FieldDefinition, type LineDefinition } from "@millrace/lines";
import { type Attributes, openEvent, readRecordAttributes } from "./cloud-event.ts";
import type { JsonObject } from "./json-object.ts";
import { type Deposit, readField } from "./read-field.ts";
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
  /** Where a deposit of bytes is still to be made, the field is null: see `withClaims`. */
  readonly event: AcceptedEvent;
  /** What the object store must hold before the event is written; none for most events. */
  readonly deposits: readonly Deposit[];
}

/** Reads the records of one stream's topic. Never throws, whatever the bytes are. */
export type EventReader = (record: IncomingRecord) => Accepted | Rejection;

/** Largest key, and largest headers together, in bytes. Kafka itself bounds only the whole record. */
export const KEY_BYTES_MAX = 4_096;
export const HEADER_BYTES_MAX = 65_536;

const NO_DEPOSITS: readonly Deposit[] = Object.freeze([]);

/**
 * The reader for the records of a stream's topic: plain JSON objects, and CloudEvents 1.0 in binary and structured
 * mode. An accepted event has exactly the declared fields, null where an optional one is missing; fields that the
 * stream does not declare are dropped. Where the data lacks the id or time field, the CloudEvent's id or time
 * takes its place. Throws a RangeError when the line has no such stream.
 *
 * Duplicates and events that are too late are not seen here: `Acceptor` knows them.
 */
export function createEventReader(line: LineDefinition, streamName: string): EventReader {
  const checkRecord = createRecordCheck(line);
  const readData = createDataReader(line, streamName);
  const { fields } = line.streams[streamName] as LineDefinition["streams"][string];
  return (record) => {
    const wrong = checkRecord(record);
    if (wrong !== null) return wrong;
    const opened = openEvent(record.value as Uint8Array, record.headers, fields);
    return opened instanceof Rejection
      ? opened
      : readData(opened.data, opened.attributes, record.timestampMs);
  };
}

/** Reads the event whose data somebody else has decoded, or the refusal of that: see `createDecodedReader`. */
export type DecodedReader = (record: IncomingRecord, decoded: JsonObject | Rejection) => Accepted | Rejection;

/**
 * The reader for streams whose records a schema's decoder opens. The data may hold what `readField` takes; headers
 * of a binary CloudEvent around it are read as those around JSON. Throws a RangeError when the line has no such
 * stream.
 */
export function createDecodedReader(line: LineDefinition, streamName: string): DecodedReader {
  const checkRecord = createRecordCheck(line);
  const readData = createDataReader(line, streamName);
  return (record, decoded) => {
    const wrong = checkRecord(record);
    if (wrong !== null) return wrong;
    if (decoded instanceof Rejection) return decoded;
    const attributes = readRecordAttributes(record.headers);
    return attributes instanceof Rejection ? attributes : readData(decoded, attributes, record.timestampMs);
  };
}

/** The event with the claims of what was deposited, in the order of its deposits. */
export function withClaims({ event, deposits }: Accepted, claims: readonly Claim[]): AcceptedEvent {
  if (deposits.length === 0) return event;
  const data: Record<string, FieldValue> = { ...event.data };
  deposits.forEach(({ field }, i) => {
    data[field] = claims[i] as Claim;
  });
  return { ...event, data };
}

/** Checks a record before its value is looked at; null: nothing is wrong with it. */
function createRecordCheck(line: LineDefinition): (record: IncomingRecord) => Rejection | null {
  const bytesMax = line.limits.eventBytesMax;
  return ({ key, value, headers }) => {
    if (value === null || value.length === 0) return rejection("empty-value", "the record has no value");
    if (value.length > bytesMax) {
      return rejection("too-large", `the value has ${value.length} bytes, more than ${bytesMax}`);
    }
    if (key !== null && key.length > KEY_BYTES_MAX) {
      return rejection("key-too-large", `the key has ${key.length} bytes, more than ${KEY_BYTES_MAX}`);
    }
    const headerBytes = sizeOf(headers);
    return headerBytes <= HEADER_BYTES_MAX
      ? null
      : rejection(
          "headers-too-large",
          `the headers have ${headerBytes} bytes, more than ${HEADER_BYTES_MAX}`,
        );
  };
}

type DataReader = (
  data: JsonObject,
  attributes: Attributes | null,
  timestampMs: number,
) => Accepted | Rejection;

function createDataReader(line: LineDefinition, streamName: string): DataReader {
  const stream = line.streams[streamName];
  if (stream === undefined) throw new RangeError(`line "${line.name}" has no stream "${streamName}"`);
  const fields = Object.entries(stream.fields);
  const { id: idField, time: timeField } = stream;
  const aheadMaxMs = checkedDurationMs(line.limits.aheadMax);

  return (data, attributes, timestampMs) => {
    const misplaced = attributes === null ? null : checkType(line, streamName, attributes.type);
    if (misplaced !== null) return misplaced;

    const event: Record<string, FieldValue> = {};
    let deposits: Deposit[] | undefined;
    for (const [name, field] of fields) {
      let found = Object.hasOwn(data, name) ? data[name] : null;
      if (found === null && attributes !== null) {
        if (name === idField) found = idOf(attributes, field);
        else if (name === timeField) found = attributes.timeMs;
      }
      if (found === null || found === undefined) {
        if (field.optional !== true) return missing(data, name);
        event[name] = null;
        continue;
      }
      const read = readField(name, field, found);
      if (read instanceof Rejection) return read;
      if (typeof read !== "object") {
        event[name] = read;
        continue;
      }
      event[name] = read.kind === "claim" ? read.claim : null;
      deposits ??= [];
      deposits.push(read);
    }

    const id = idText(event[idField]);
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
    return {
      kind: "accepted",
      event: { id, stream: streamName, time, data: event },
      deposits: deposits ?? NO_DEPOSITS,
    };
  };
}

/** An id is text or a whole number. */
function idText(value: FieldValue | undefined): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
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
