import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { formatPosition, HEADERS } from "@millrace/contracts";
import {
  type AcceptedRow,
  type AcceptedRows,
  Acceptor,
  createAcceptedReader,
  type EventRow,
  recallStream,
} from "@millrace/events";
import { eventLog, type FieldDefinition, isClaimed, type LineDefinition } from "@millrace/lines";
import type { ObjectStore } from "@millrace/runtime";
import {
  type ArchiveDefinition,
  type ArchivedRow,
  type Block,
  type BlockColumn,
  headerText,
  type StreamRecord,
} from "@millrace/stream";

/** One accepted event of a block to be. */
export interface ArchivedEvent {
  /** The stream's number in the order of the line. */
  readonly stream: number;
  readonly id: string;
  readonly time: number;
  readonly acceptedAtMs: number;
  readonly offset: number;
  /** Position of the producer's record: `topic/partition/offset/index`. */
  readonly source: string | null;
  /** By column of its stream: a number (NaN where null), or text. */
  readonly values: readonly (number | string | null)[];
}

/** A block of accepted events, as far as an acceptor's memory rests on it. */
export type EventBlock = Pick<Block, "firstOffset" | "rows" | "maxTimeMs" | "digest" | "bytes">;

/** What the archive of a line needs where the producer's topic is its event log. */
export interface ArchiveMemory {
  readonly objects: ObjectStore;
  /** All blocks of a partition. */
  readonly blocks: (topic: string, partition: number) => Promise<readonly EventBlock[]>;
  /** The columns id and time of a block's file. */
  readonly readRows: (file: string) => Promise<AcceptedRows>;
  /** Folder for the block being read. */
  readonly scratch: string;
}

const BLOCK_ROWS = 50_000;
const BLOCK_EVERY_MS = 30_000;

/**
 * The step that writes a line's accepted events into Parquet blocks, a column for each declared field: see the README.
 * Where the producer's topic is the event log, it accepts for itself, by the rules that everybody follows; what it must
 * remember for that, it recalls from its own blocks when it takes a partition over, so that the index of blocks is
 * still its only memory.
 */
export function archiveDefinition(
  line: LineDefinition,
  memory: ArchiveMemory,
): ArchiveDefinition<ArchivedEvent> {
  const log = eventLog(line);
  const columns = columnsOf(line);
  const text = new TextCache();
  const accepted = createAcceptedReader(line);
  const acceptors = new Map<number, Acceptor>();

  const archived = (
    { row, streamIndex, idField }: AcceptedRow,
    { offset }: StreamRecord,
    source: string | null,
  ): ArchivedRow<ArchivedEvent> => {
    const id = row.starts[idField] === -1 ? String(row.numbers[idField]) : text.of(row, idField);
    const values = (columns[streamIndex] as readonly Column[]).map((column) => valueOf(column, row, text));
    const { time, acceptedAtMs } = row;
    const event = { stream: streamIndex, id, time, acceptedAtMs, offset, source, values };
    return { row: event, timeMs: time, knownAtMs: time };
  };

  const readLog = (record: StreamRecord): ArchivedRow<ArchivedEvent> | null => {
    const { bytes, valueStart, valueEnd, timestampMs } = record;
    const event = valueStart === -1 ? null : accepted.read(bytes, valueStart, valueEnd, timestampMs);
    return event === null ? null : archived(event, record, headerText(record, HEADERS.source) ?? null);
  };
  const readDirect = (record: StreamRecord): ArchivedRow<ArchivedEvent> | "refused" => {
    const { topic, partition, offset } = record;
    const acceptor = acceptors.get(partition);
    if (acceptor === undefined) throw new Error(`partition ${partition} of ${topic} was not begun`);
    const outcome = acceptor.accept(record);
    if (outcome.kind === "rejected") return "refused";
    return archived(outcome, record, formatPosition({ topic, partition, offset, index: 0 }));
  };

  return {
    name: `${line.name}.archive`,
    line: line.name,
    topic: log.topic,
    rowsMax: BLOCK_ROWS,
    everyMs: BLOCK_EVERY_MS,
    read: log.direct ? readDirect : readLog,
    columns: (rows) => blockColumns(line, columns, rows),
    ...(log.direct
      ? {
          begin: async (partition: number) => {
            acceptors.set(partition, await recallAcceptor(line, log.topic, partition, memory));
          },
        }
      : {}),
  };
}

/** The acceptor of a partition as it was when its newest block ended. */
async function recallAcceptor(
  line: LineDefinition,
  topic: string,
  partition: number,
  { objects, blocks, readRows, scratch }: ArchiveMemory,
): Promise<Acceptor> {
  const listed = await blocks(topic, partition);
  const inOrder = listed.toSorted((a, b) => a.firstOffset - b.firstOffset);
  const folder = join(scratch, "recall");
  await mkdir(folder, { recursive: true });
  const stream = await recallStream(inOrder, async ({ digest, bytes }) => {
    const file = join(folder, `${digest}.parquet`);
    await objects.getToFile(digest, file, { bytesMax: bytes });
    const rows = await readRows(file);
    await rm(file);
    return rows;
  });
  const [name] = Object.keys(line.streams) as [string];
  return new Acceptor(line, { streams: { [name]: stream }, rejected: {} });
}

/** A column of one stream's field, and how it is stored. */
type Column = {
  readonly name: string;
  readonly stream: number;
  /** Its number among the stream's columns, and that of its field. */
  readonly at: number;
  readonly field: number;
} & (
  | { readonly kind: "text"; readonly of: "value" | "claim" }
  | { readonly kind: "float64" | "integer" | "boolean" }
  | { readonly kind: "decimal"; readonly scale: number }
);
type Stored = Column extends infer C
  ? C extends Column
    ? Omit<C, "name" | "stream" | "at" | "field">
    : never
  : never;

function columnsOf(line: LineDefinition): readonly (readonly Column[])[] {
  return Object.entries(line.streams).map(([name, { fields }], stream) =>
    Object.entries(fields)
      .flatMap(([fieldName, definition], field) =>
        storedAs(definition).map((stored) => {
          const isDigest = stored.kind === "text" && stored.of === "claim";
          return { ...stored, name: `${name}.${fieldName}${isDigest ? ".sha256" : ""}`, stream, field };
        }),
      )
      .map((column, at) => ({ ...column, at })),
  );
}

/** A text that may be a claim has a second column, for the claim's digest; a blob has nothing else. */
function storedAs(field: FieldDefinition): readonly Stored[] {
  switch (field.type) {
    case "number":
      return [{ kind: "float64" }];
    case "integer":
    case "time":
      return [{ kind: "integer" }];
    case "boolean":
      return [{ kind: "boolean" }];
    case "decimal":
      return [{ kind: "decimal", scale: field.scale }];
    case "category":
      return [{ kind: "text", of: "value" }];
    case "text":
      return [
        { kind: "text", of: "value" },
        ...(isClaimed(field) ? [{ kind: "text", of: "claim" } as const] : []),
      ];
    case "blob":
      return [{ kind: "text", of: "claim" }];
  }
}

function valueOf(column: Column, row: EventRow, text: TextCache): number | string | null {
  const { field } = column;
  if (column.kind !== "text") return row.numbers[field] as number;
  const isWanted = row.starts[field] !== -1 && (row.claims[field] === 1) === (column.of === "claim");
  return isWanted ? text.of(row, field) : null;
}

function blockColumns(
  line: LineDefinition,
  columns: readonly (readonly Column[])[],
  rows: readonly ArchivedEvent[],
): Record<string, BlockColumn> {
  const names = Object.keys(line.streams);
  const whole = (of: (row: ArchivedEvent) => number): BlockColumn => ({
    kind: "integer",
    values: numbersOf(rows, of),
  });
  return {
    id: { kind: "text", values: rows.map((row) => row.id) },
    stream: { kind: "text", values: rows.map((row) => names[row.stream] as string) },
    time: whole((row) => row.time),
    accepted_at: whole((row) => row.acceptedAtMs),
    offset: whole((row) => row.offset),
    source: { kind: "text", values: rows.map((row) => row.source) },
    ...Object.fromEntries(columns.flat().map((column) => [column.name, blockColumn(column, rows)])),
  };
}

/** Events of other streams have nothing in the column. */
function blockColumn(column: Column, rows: readonly ArchivedEvent[]): BlockColumn {
  const { stream, at } = column;
  if (column.kind === "text") {
    const values = rows.map((row) => (row.stream === stream ? (row.values[at] as string | null) : null));
    return { kind: "text", values };
  }
  const values = numbersOf(rows, (row) => (row.stream === stream ? (row.values[at] as number) : Number.NaN));
  return column.kind === "decimal"
    ? { kind: "decimal", scale: column.scale, values }
    : { kind: column.kind, values };
}

/** A loop: `Float64Array.from` costs several times as much. */
function numbersOf(rows: readonly ArchivedEvent[], of: (row: ArchivedEvent) => number): Float64Array {
  const numbers = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) numbers[i] = of(rows[i] as ArchivedEvent);
  return numbers;
}

/** Texts out of bytes; the same bytes, one after the other, are given the same Buffer. */
class TextCache {
  #bytes: Uint8Array | null = null;
  #buffer: Buffer = Buffer.alloc(0);

  of({ bytes, starts, ends }: EventRow, field: number): string {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    }
    return this.#buffer.toString("utf8", starts[field], ends[field]);
  }
}
