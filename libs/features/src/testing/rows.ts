import { createEventRow, type EventRow, fillRow } from "@millrace/events";
import type { LineDefinition } from "@millrace/lines";
import type { CodedRow } from "../event-inputs.ts";
import type { FeatureEngine } from "../feature-engine.ts";
import type { NaiveEvent } from "./naive-vector.ts";

/** Makes rows of events; one row per stream is used again. */
export function rowsOf(line: LineDefinition): (event: NaiveEvent) => EventRow {
  const streams = Object.entries(line.streams).map(([name, stream]) => {
    const row = createEventRow(name, stream);
    return [name, { row, fields: Object.entries(stream.fields) }] as const;
  });
  const byName = new Map(streams);
  return ({ stream, time, data }) => {
    const found = byName.get(stream);
    if (found === undefined) throw new Error(`no stream ${stream}`);
    fillRow(found.row, found.fields, data, time, time);
    return found.row;
  };
}

/** The same row with its texts as codes, and without bytes. */
export function codedRow(line: LineDefinition, engine: FeatureEngine, row: EventRow): CodedRow {
  const fields = Object.values(line.streams[row.stream]?.fields ?? {});
  const codes = Int32Array.from(fields, ({ type }, i) =>
    (type === "text" || type === "category") && (row.starts[i] as number) >= 0
      ? engine.intern(row.bytes, row.starts[i] as number, row.ends[i] as number)
      : 0,
  );
  return { ...row, codes, bytes: new Uint8Array(0), starts: row.starts.map(() => -1) };
}
