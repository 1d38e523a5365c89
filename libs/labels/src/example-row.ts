import type { Example } from "@millrace/contracts";
import type { IdPlace } from "./text-slab.ts";

/**
 * One example, with its numbers as numbers and its id in place. There is one row per join, filled again for each
 * example: it is valid until the join is used again. `toExample` makes the message of it, `ExampleWriter` its bytes.
 */
export interface ExampleRow {
  readonly id: IdPlace;
  time: number;
  knownAt: number;
  /** 0 or 1. */
  label: number;
  /** Float64Array [width], in model order; NaN where a value is not known. */
  readonly values: Float64Array;
  /** Digest of the feature definition. */
  readonly features: string;
  revision: number;
  labelled: Example["labelled"];
  vectorAcceptedAtMs: number;
  labelAcceptedAtMs: number;
}

export function createExampleRow(width: number, features: string): ExampleRow {
  return {
    id: { bytes: new Uint8Array(0), start: 0, end: 0 },
    time: 0,
    knownAt: 0,
    label: 0,
    values: new Float64Array(width),
    features,
    revision: 0,
    labelled: "event",
    vectorAcceptedAtMs: 0,
    labelAcceptedAtMs: 0,
  };
}

/** An id may begin with a byte order mark. */
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** The message of `LINE.examples`, of which the caller may keep hold. */
export function toExample(row: ExampleRow): Example {
  const { bytes, start, end } = row.id;
  const values: (number | null)[] = [];
  for (const value of row.values) values.push(Number.isNaN(value) ? null : value);
  return {
    id: utf8.decode(bytes.subarray(start, end)),
    time: row.time,
    knownAt: row.knownAt,
    label: row.label,
    values,
    features: row.features,
    revision: row.revision,
    labelled: row.labelled,
    vectorAcceptedAtMs: row.vectorAcceptedAtMs,
    labelAcceptedAtMs: row.labelAcceptedAtMs,
  };
}
