import { NUMBER_BYTES_MAX, writeDecimal, writeInteger, writeNumber } from "@millrace/contracts";
import type { FieldDefinition, LineDefinition } from "@millrace/lines";
import type { EventRow } from "./event-row.ts";

/**
 * Writes a row that a `RowReader` has read as the JSON of its `AcceptedEvent`, byte for byte what `JSON.stringify`
 * makes of the event that the slow reader gives for the same record. Answers a view that the next call overwrites.
 */
export type AcceptedWriter = (row: EventRow) => Uint8Array;

const utf8 = new TextEncoder();
const QUOTE = 0x22;
const TRUE: Uint8Array = utf8.encode("true");
const FALSE: Uint8Array = utf8.encode("false");
const NULL: Uint8Array = utf8.encode("null");
const END: Uint8Array = utf8.encode("}}");

/** Below it JavaScript writes numbers with an exponent. */
const PLAIN_MIN = 1e-6;
/** A decimal of at most 15 digits is its double's shortest text (IEEE 754: DBL_DIG). */
const PLAIN_MINOR_UNITS_MAX = 1e15;

/** Throws a RangeError when the line has no such stream. */
export function createAcceptedWriter(line: LineDefinition, streamName: string): AcceptedWriter {
  const stream = line.streams[streamName];
  if (stream === undefined) throw new RangeError(`line "${line.name}" has no stream "${streamName}"`);
  const fields = Object.entries(stream.fields);
  const idField = fields.findIndex(([name]) => name === stream.id);
  const idType = (stream.fields[stream.id] as FieldDefinition).type;
  const definitions = fields.map(([, field]) => field);
  const start = utf8.encode('{"id":');
  const middle = utf8.encode(`,"stream":${JSON.stringify(streamName)},"time":`);
  const labels = fields.map(([name], i) =>
    utf8.encode(`${i === 0 ? ',"data":{' : ","}${JSON.stringify(name)}:`),
  );
  /** What is written whatever the texts are; a text is written twice where it is the id. */
  const fixedBytes =
    start.length +
    middle.length +
    END.length +
    labels.reduce((sum, label) => sum + label.length + NUMBER_BYTES_MAX, 3 * NUMBER_BYTES_MAX);
  let scratch = new Uint8Array(4_096);

  return (row) => {
    const { numbers, starts, ends, bytes } = row;
    let needed = fixedBytes + (ends[idField] as number) - (starts[idField] as number);
    for (let i = 0; i < definitions.length; i++) {
      if (starts[i] !== -1) needed += (ends[i] as number) - (starts[i] as number);
    }
    if (needed > scratch.length) scratch = new Uint8Array(2 * needed);

    const to = scratch;
    let at = copy(start, to, 0);
    if (idType === "integer") {
      to[at] = QUOTE;
      at = writeInteger(to, at + 1, numbers[idField] as number);
      to[at++] = QUOTE;
    } else at = copyText(bytes, starts[idField] as number, ends[idField] as number, to, at);
    at = copy(middle, to, at);
    at = writeInteger(to, at, row.time);
    for (let i = 0; i < definitions.length; i++) {
      at = copy(labels[i] as Uint8Array, to, at);
      const field = definitions[i] as FieldDefinition;
      const number = numbers[i] as number;
      switch (field.type) {
        case "text":
        case "category":
        case "blob":
          at =
            starts[i] === -1
              ? copy(NULL, to, at)
              : copyText(bytes, starts[i] as number, ends[i] as number, to, at);
          break;
        case "boolean":
          at = copy(Number.isNaN(number) ? NULL : number === 1 ? TRUE : FALSE, to, at);
          break;
        case "decimal":
          at = Number.isNaN(number) ? copy(NULL, to, at) : writeMinorUnits(to, at, number, field.scale);
          break;
        default:
          at = Number.isNaN(number) ? copy(NULL, to, at) : writeNumber(to, at, number);
      }
    }
    at = copy(END, to, at);
    return to.subarray(0, at);
  };
}

function writeMinorUnits(to: Uint8Array, at: number, minor: number, scale: number): number {
  const value = minor / 10 ** scale;
  const magnitude = Math.abs(value);
  const isPlain = Math.abs(minor) < PLAIN_MINOR_UNITS_MAX && (magnitude >= PLAIN_MIN || minor === 0);
  return isPlain ? writeDecimal(to, at, value, scale) : writeNumber(to, at, value);
}

function copy(from: Uint8Array, to: Uint8Array, at: number): number {
  for (let i = 0; i < from.length; i++) to[at + i] = from[i] as number;
  return at + from.length;
}

/** A text whose bytes need no escapes: the fast reader takes no others. */
function copyText(bytes: Uint8Array, from: number, until: number, to: Uint8Array, at: number): number {
  let end = at;
  to[end++] = QUOTE;
  for (let i = from; i < until; i++) to[end++] = bytes[i] as number;
  to[end++] = QUOTE;
  return end;
}
