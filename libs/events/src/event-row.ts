import type { FieldValue } from "@millrace/contracts";
import type { FieldDefinition, StreamDefinition } from "@millrace/lines";

/**
 * One event as the feature engine takes it: numbers as numbers, texts as places in bytes. One row is made per stream
 * and used again for each event; whoever wants to keep something copies it. `i` is the number of the field in the
 * order of `StreamDefinition.fields`.
 */
export interface EventRow {
  readonly stream: string;
  /** Event time, ms since the epoch. */
  time: number;
  /** When the event was accepted, wall-clock ms. */
  acceptedAtMs: number;
  /**
   * Float64Array [fields]: the value of a number or integer, a decimal in minor units, a boolean as 0 or 1, a time in
   * ms; NaN where the field is null, and for fields that hold text.
   */
  readonly numbers: Float64Array;
  /** UTF-8 bytes that `starts` and `ends` point into. */
  bytes: Uint8Array;
  /** Int32Array [fields] each: a text or category is `bytes[starts[i]..ends[i])`; starts[i] is -1 where it is null. */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  /** Uint8Array [fields]: 1 where the text is the SHA-256 of a claim: of a blob, or of a text that is kept as one. */
  readonly claims: Uint8Array;
}

export function createEventRow(stream: string, { fields }: Pick<StreamDefinition, "fields">): EventRow {
  const width = Object.keys(fields).length;
  return {
    stream,
    time: 0,
    acceptedAtMs: 0,
    numbers: new Float64Array(width).fill(Number.NaN),
    bytes: new Uint8Array(0),
    starts: new Int32Array(width).fill(-1),
    ends: new Int32Array(width),
    claims: new Uint8Array(width),
  };
}

const utf8 = new TextEncoder();

/**
 * Fills a row from an event's checked data (`AcceptedEvent.data`): the slow way, for requests and for odd records. A
 * value of another kind than the field's, as an older definition may have left it, counts as null.
 */
export function fillRow(
  row: EventRow,
  fields: readonly (readonly [name: string, field: FieldDefinition])[],
  data: Readonly<Record<string, FieldValue>>,
  time: number,
  acceptedAtMs: number,
): void {
  row.time = time;
  row.acceptedAtMs = acceptedAtMs;
  const texts: Uint8Array[] = [];
  let length = 0;
  for (let i = 0; i < fields.length; i++) {
    const [name, field] = fields[i] as (typeof fields)[number];
    const value = Object.hasOwn(data, name) ? (data[name] ?? null) : null;
    row.numbers[i] = value === null ? Number.NaN : numberOf(field, value);
    row.claims[i] = typeof value === "object" && value !== null ? 1 : 0;
    const text = value === null ? null : textOf(field, value);
    row.starts[i] = -1;
    if (text === null) continue;
    const bytes = utf8.encode(text);
    row.starts[i] = length;
    length += bytes.length;
    row.ends[i] = length;
    texts.push(bytes);
  }
  row.bytes = new Uint8Array(length);
  let at = 0;
  for (const text of texts) {
    row.bytes.set(text, at);
    at += text.length;
  }
}

function numberOf(field: FieldDefinition, value: Exclude<FieldValue, null>): number {
  switch (field.type) {
    case "number":
    case "integer":
    case "time":
      return typeof value === "number" ? value : Number.NaN;
    case "decimal":
      return typeof value === "number" ? toMinorUnits(value, field.scale) : Number.NaN;
    case "boolean":
      return typeof value === "boolean" ? Number(value) : Number.NaN;
    case "text":
    case "category":
    case "blob":
      return Number.NaN;
  }
}

function textOf(field: FieldDefinition, value: Exclude<FieldValue, null>): string | null {
  switch (field.type) {
    case "text":
      return typeof value === "string" ? value : digestOf(value);
    case "category":
      return typeof value === "string" ? value : null;
    case "blob":
      return digestOf(value);
    default:
      return null;
  }
}

function digestOf(value: Exclude<FieldValue, null>): string | null {
  return typeof value === "object" && typeof value.sha256 === "string" ? value.sha256 : null;
}

/** A decimal as a whole number of minor units: 12.34 with scale 2 is 1234. */
export function toMinorUnits(value: number, scale: number): number {
  return Math.round(value * 10 ** scale) + 0;
}
