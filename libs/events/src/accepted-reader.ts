import type { AcceptedEvent } from "@millrace/contracts";
import type { FieldDefinition, LineDefinition } from "@millrace/lines";
import { createEventRow, type EventRow, fillRow } from "./event-row.ts";
import { FieldScanner } from "./field-scanner.ts";
import { CLOSE, isWord, MINUS, NINE, QUOTE, stringEnd, ZERO } from "./json-scan.ts";

/** An event of `LINE.events` as it was read; the row is the stream's own, until its next event. */
export interface AcceptedRow {
  readonly kind: "accepted";
  readonly row: EventRow;
  /** The stream's number in the order of `LineDefinition.streams`. */
  readonly streamIndex: number;
  /** Number of the field that is the event's id. */
  readonly idField: number;
}

/** Reads the values of `LINE.events`, as accept writes them, into rows. */
export interface AcceptedReader {
  /** By stream number: the row that its events are read into. */
  readonly rows: readonly EventRow[];
  /**
   * Reads `bytes[start..end)`; `timestampMs` is the record's. null: it is no accepted event of a stream that the line
   * has; only a stranger writes such a thing there, or an older definition of the line.
   */
  read(bytes: Uint8Array, start: number, end: number, timestampMs: number): AcceptedRow | null;
}

const utf8 = new TextEncoder();
const START: Uint8Array = utf8.encode('{"id":');
const STREAM: Uint8Array = utf8.encode(',"stream":"');
const TIME: Uint8Array = utf8.encode('","time":');
const DATA: Uint8Array = utf8.encode(',"data":');

/**
 * The reader for a line's event log. What stands there was checked when it was accepted, perhaps by an older
 * definition: ranges and lengths are not held against it again, and a field that it lacks is null.
 */
export function createAcceptedReader(line: LineDefinition): AcceptedReader {
  const streams = Object.entries(line.streams).map(([name, stream], streamIndex) => {
    const fields = Object.entries(stream.fields).map(
      ([field, definition]) => [field, relaxed(definition)] as const,
    );
    return {
      name,
      nameBytes: utf8.encode(name),
      fields,
      timeField: fields.findIndex(([field]) => field === stream.time),
      scanner: new FieldScanner(Object.fromEntries(fields), { claims: true }),
      accepted: {
        kind: "accepted",
        row: createEventRow(name, stream),
        streamIndex,
        idField: fields.findIndex(([field]) => field === stream.id),
      } satisfies AcceptedRow,
    };
  });
  /** The stream of the event before is guessed first. */
  let newest = 0;

  const streamAt = (bytes: Uint8Array, from: number, until: number): number => {
    for (let i = 0; i < streams.length; i++) {
      const index = (newest + i) % streams.length;
      const { nameBytes } = streams[index] as (typeof streams)[number];
      if (nameBytes.length === until - from && isWord(bytes, from, nameBytes)) return index;
    }
    return -1;
  };

  const readPlain = (
    bytes: Uint8Array,
    start: number,
    end: number,
    timestampMs: number,
  ): AcceptedRow | null => {
    if (!isWord(bytes, start, START)) return null;
    const idStart = start + START.length + 1;
    if (bytes[idStart - 1] !== QUOTE) return null;
    const idEnd = stringEnd(bytes, idStart, end);
    if (idEnd === -1 || !isWord(bytes, idEnd + 1, STREAM)) return null;
    const nameStart = idEnd + 1 + STREAM.length;
    const nameEnd = stringEnd(bytes, nameStart, end);
    if (nameEnd === -1 || !isWord(bytes, nameEnd, TIME)) return null;
    const index = streamAt(bytes, nameStart, nameEnd);
    if (index === -1) return null;
    const { scanner, timeField, accepted } = streams[index] as (typeof streams)[number];
    const timeEnd = wholeNumberEnd(bytes, nameEnd + TIME.length);
    if (!isWord(bytes, timeEnd, DATA)) return null;
    const dataEnd = scanner.scan(bytes, timeEnd + DATA.length, end, accepted.row);
    if (dataEnd === -1 || bytes[dataEnd] !== CLOSE || dataEnd + 1 !== end) return null;
    const { row } = accepted;
    const time = row.numbers[timeField] as number;
    // An event whose time field was renamed since has its time beside the data only.
    if (Number.isNaN(time) || !isIdPresent(row, accepted.idField)) return null;
    newest = index;
    row.bytes = bytes;
    row.time = time;
    row.acceptedAtMs = timestampMs;
    return accepted;
  };

  const readOdd = (
    bytes: Uint8Array,
    start: number,
    end: number,
    timestampMs: number,
  ): AcceptedRow | null => {
    const event = parse(bytes.subarray(start, end));
    const stream = streams.find(({ name }) => name === event?.stream);
    if (event === null || stream === undefined) return null;
    const { accepted, fields, timeField } = stream;
    const { row } = accepted;
    fillRow(row, fields, event.data, event.time, timestampMs);
    const time = row.numbers[timeField] as number;
    if (!Number.isNaN(time)) row.time = time;
    return isIdPresent(row, accepted.idField) ? accepted : null;
  };

  return {
    rows: streams.map(({ accepted }) => accepted.row),
    read: (bytes, start, end, timestampMs) =>
      readPlain(bytes, start, end, timestampMs) ?? readOdd(bytes, start, end, timestampMs),
  };
}

function isIdPresent({ starts, numbers }: EventRow, idField: number): boolean {
  return starts[idField] !== -1 || !Number.isNaN(numbers[idField] as number);
}

/** Where a whole number ends that begins at `at`; what stands there is compared by the caller. */
function wholeNumberEnd(bytes: Uint8Array, at: number): number {
  let to = bytes[at] === MINUS ? at + 1 : at;
  while ((bytes[to] as number) >= ZERO && (bytes[to] as number) <= NINE) to++;
  return to;
}

/** Without the checks that a field's values had to pass when they were accepted. */
function relaxed(field: FieldDefinition): FieldDefinition {
  switch (field.type) {
    case "decimal":
      return { type: "decimal", scale: field.scale, optional: true };
    case "blob":
      return { ...field, optional: true };
    default:
      return { type: field.type, optional: true };
  }
}

function parse(bytes: Uint8Array): AcceptedEvent | null {
  try {
    const event = JSON.parse(new TextDecoder().decode(bytes)) as Partial<AcceptedEvent> | null;
    const isEvent =
      typeof event?.stream === "string" &&
      Number.isFinite(event.time) &&
      typeof event.data === "object" &&
      event.data !== null;
    return isEvent ? (event as AcceptedEvent) : null;
  } catch {
    return null;
  }
}
