import { checkedDurationMs, type LineDefinition } from "@millrace/lines";
import type { EventRow } from "./event-row.ts";
import { FieldScanner } from "./field-scanner.ts";
import { skipBlank } from "./json-scan.ts";

/** Reads the plain JSON objects of a stream straight into a row: the fast half of reading. */
export interface RowReader {
  /** Number of the field that is the event's id. */
  readonly idField: number;
  /**
   * Reads `bytes[start..end)`, a record's value without an envelope, into the row; `timestampMs` is the record's. The
   * row's texts then lie in `bytes`. False: it is not plain, or a check failed; the row is undefined and
   * `createEventReader` decides. When it answers true, that reader accepts the record with the same values.
   */
  read(bytes: Uint8Array, start: number, end: number, timestampMs: number, row: EventRow): boolean;
}

/** Throws a RangeError when the line has no such stream. */
export function createRowReader(line: LineDefinition, streamName: string): RowReader {
  const stream = line.streams[streamName];
  if (stream === undefined) throw new RangeError(`line "${line.name}" has no stream "${streamName}"`);
  const scanner = new FieldScanner(stream.fields, { claims: false });
  const names = Object.keys(stream.fields);
  const idField = names.indexOf(stream.id);
  const timeField = names.indexOf(stream.time);
  const bytesMax = line.limits.eventBytesMax;
  const aheadMaxMs = checkedDurationMs(line.limits.aheadMax);

  return {
    idField,
    read: (bytes, start, end, timestampMs, row) => {
      if (end - start > bytesMax) return false;
      const begin = skipBlank(bytes, start);
      let at = scanner.scan(bytes, begin, end, row);
      if (at === -1) return false;
      if (at < end) at = skipBlank(bytes, at);
      if (at !== end) return false;
      const time = row.numbers[timeField] as number;
      if (time < 0 || (timestampMs >= 0 && time - timestampMs > aheadMaxMs)) return false;
      const idStart = row.starts[idField] as number;
      if (idStart !== -1 && row.ends[idField] === idStart) return false;
      row.bytes = bytes;
      row.time = time;
      row.acceptedAtMs = timestampMs;
      return true;
    },
  };
}
