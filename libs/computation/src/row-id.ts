import { type IdBytes, writeInteger } from "@millrace/contracts";
import type { EventRow } from "@millrace/events";
import type { StreamDefinition } from "@millrace/lines";

/** Digits of a safe integer with its sign. */
const INTEGER_BYTES_MAX = 20;

/** Reads a field that names an event, as the bytes of its text. The answer is used again for the next row. */
export type IdReader = (row: EventRow) => IdBytes;

/** The reader for a required text, category or integer field of a stream's rows. */
export function idReader({ fields }: Pick<StreamDefinition, "fields">, name: string): IdReader {
  const index = Object.keys(fields).indexOf(name);
  const id = { bytes: new Uint8Array(INTEGER_BYTES_MAX) as Uint8Array, start: 0, end: 0 };
  if (fields[name]?.type === "integer") {
    return (row) => {
      id.end = writeInteger(id.bytes, 0, row.numbers[index] as number);
      return id;
    };
  }
  return (row) => {
    id.bytes = row.bytes;
    id.start = row.starts[index] as number;
    id.end = row.ends[index] as number;
    return id;
  };
}
