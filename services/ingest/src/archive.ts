import { type AcceptedEvent, HEADERS, lineTopic } from "@millrace/contracts";
import type { LineDefinition } from "@millrace/lines";
import { type ArchiveDefinition, headerText } from "@millrace/stream";

const BLOCK_ROWS = 50_000;
const BLOCK_EVERY_MS = 30_000;

/** One accepted event, as it stands in a Parquet file. */
interface EventRow {
  readonly id: string;
  readonly stream: string;
  readonly time: number;
  /** In `LINE.events`. */
  readonly offset: number;
  /** Position of the producer's record: `topic/partition/offset/index`. */
  readonly source: string | null;
  /** The event's fields as JSON. */
  readonly data: string;
}

/** The step that writes `LINE.events` into Parquet blocks: columns id, stream, time, offset, source, data. */
export function archiveDefinition(line: LineDefinition): ArchiveDefinition<EventRow> {
  return {
    name: `${line.name}.archive`,
    line: line.name,
    topic: lineTopic(line.name, "events"),
    rowsMax: BLOCK_ROWS,
    everyMs: BLOCK_EVERY_MS,
    read: (record) => {
      const event = parse(record.value);
      if (event === null) return null;
      const { id, stream, time, data } = event;
      const source = headerText(record, HEADERS.source) ?? null;
      const row = { id, stream, time, offset: record.offset, source, data: JSON.stringify(data) };
      return { row, timeMs: time, knownAtMs: time };
    },
    columns: (rows) => ({
      id: { kind: "text", values: rows.map((row) => row.id) },
      stream: { kind: "text", values: rows.map((row) => row.stream) },
      time: { kind: "integer", values: Float64Array.from(rows, (row) => row.time) },
      offset: { kind: "integer", values: Float64Array.from(rows, (row) => row.offset) },
      source: { kind: "text", values: rows.map((row) => row.source) },
      data: { kind: "text", values: rows.map((row) => row.data) },
    }),
  };
}

/** Only accept writes this topic, but nothing keeps a stranger from it. */
function parse(value: Uint8Array | null): AcceptedEvent | null {
  try {
    const event = JSON.parse(Buffer.from(value ?? []).toString()) as Partial<AcceptedEvent> | null;
    const isEvent =
      typeof event?.id === "string" &&
      typeof event.stream === "string" &&
      typeof event.time === "number" &&
      typeof event.data === "object";
    return isEvent ? (event as AcceptedEvent) : null;
  } catch {
    return null;
  }
}
