import { type AcceptedEvent, type Claim, NUMBER_BYTES_MAX, writeInteger } from "@millrace/contracts";
import { checkedDurationMs, type FieldDefinition, type LineDefinition } from "@millrace/lines";
import type { AcceptedRow } from "./accepted-reader.ts";
import { isEnvelopeHeader } from "./cloud-event.ts";
import { type DedupSnapshot, DedupWindow } from "./dedup-window.ts";
import { createEventRow, type EventRow, fillRow } from "./event-row.ts";
import {
  type Accepted,
  createEventReader,
  type EventReader,
  HEADER_BYTES_MAX,
  type IncomingRecord,
  KEY_BYTES_MAX,
  withClaims,
} from "./read-event.ts";
import { quote, type ReasonCode, Rejection, rejection } from "./reasons.ts";
import { createRowReader, type RowReader } from "./row-reader.ts";
import { Watermark, type WatermarkSnapshot } from "./watermark.ts";

/** A record of a stream's topic, its value also where it lies: `bytes[valueStart..valueEnd)`. */
export interface LogRecord extends IncomingRecord {
  readonly topic: string;
  readonly bytes: Uint8Array;
  /** -1: the record has no value. */
  readonly valueStart: number;
  readonly valueEnd: number;
}

/** An event that was admitted. The object and its row are the stream's own, until its next event. */
export interface AdmittedEvent extends AcceptedRow {
  /** The event where the slow reader read it; null: the row was read from plain JSON, and an `AcceptedWriter` can write it. */
  readonly event: AcceptedEvent | null;
}

/** What an acceptor knows of one stream. */
export interface StreamMemory {
  readonly received: number;
  readonly accepted: number;
  readonly dedup: DedupSnapshot;
  readonly newest: WatermarkSnapshot;
}

/** An acceptor as plain data, part of a checkpoint. */
export interface AcceptorSnapshot {
  readonly streams: Readonly<Record<string, StreamMemory>>;
  readonly rejected: Readonly<Partial<Record<ReasonCode, number>>>;
}

/**
 * Decides what of the records of one partition is accepted: reads each one, refuses ids that are known and events
 * that are too late, and counts. The same records in the same order give the same decisions, whoever takes them: that
 * is what lets several readers share a producer's topic as a line's event log.
 */
export class Acceptor {
  readonly #intakes: readonly Intake[];
  readonly #byTopic: ReadonlyMap<string, Intake>;
  readonly #rejected: Map<ReasonCode, number>;
  readonly #idText: Uint8Array = new Uint8Array(NUMBER_BYTES_MAX);

  constructor(line: LineDefinition, snapshot: AcceptorSnapshot | null = null) {
    this.#intakes = Object.keys(line.streams).map((stream, i) => createIntake(line, stream, i, snapshot));
    this.#byTopic = new Map(this.#intakes.map((intake) => [intake.topic, intake]));
    this.#rejected = new Map(Object.entries(snapshot?.rejected ?? {}) as [ReasonCode, number][]);
  }

  /**
   * Takes the next record of the partition. Throws an Error for a record whose event needs something from elsewhere
   * first, a schema or the object store: such a one goes through `read` and `admit`.
   */
  accept(record: LogRecord): AdmittedEvent | Rejection {
    const intake = this.#intakeOf(record);
    if (intake.scan(record)) {
      intake.received++;
      return this.#admit(intake, null);
    }
    const outcome = intake.read(record);
    if (outcome.kind === "accepted" && outcome.deposits.length > 0) {
      throw new Error(`an event of stream "${intake.name}" has deposits: make them, then admit it`);
    }
    return this.admit(record, outcome);
  }

  /**
   * Reads a record and decides nothing. null: it is plain, and `accept` needs nothing else for it. Throws an Error for
   * a stream whose records a schema's decoder opens.
   */
  read(record: LogRecord): Accepted | Rejection | null {
    const intake = this.#intakeOf(record);
    return intake.scan(record) ? null : intake.read(record);
  }

  /** Takes the next record of the partition as it was read, with the claims of its deposits in their order. */
  admit(
    record: LogRecord,
    outcome: Accepted | Rejection,
    claims: readonly Claim[] = [],
  ): AdmittedEvent | Rejection {
    const intake = this.#intakeOf(record);
    intake.received++;
    if (outcome instanceof Rejection) return this.#reject(outcome);
    const event = withClaims(outcome, claims);
    fillRow(intake.admitted.row, intake.fields, event.data, event.time, record.timestampMs);
    return this.#admit(intake, event);
  }

  /** An event of the stream that lies before this time is too late; -Infinity while nothing is. */
  watermarkMs(stream: string): number {
    return this.#intakes.find(({ name }) => name === stream)?.watermark.ms ?? Number.NEGATIVE_INFINITY;
  }

  /** Newest event time accepted, ms; 0 before the first. */
  get streamTimeMs(): number {
    return this.#intakes.reduce((newest, { watermark }) => Math.max(newest, watermark.newestMs), 0);
  }

  /** received.STREAM, accepted.STREAM, rejected, rejected.REASON: those that are not 0. */
  counts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { name, received, accepted } of this.#intakes) {
      if (received > 0) counts[`received.${name}`] = received;
      if (accepted > 0) counts[`accepted.${name}`] = accepted;
    }
    for (const [reason, count] of this.#rejected) {
      counts["rejected"] = (counts["rejected"] ?? 0) + count;
      counts[`rejected.${reason}`] = count;
    }
    return counts;
  }

  snapshot(): AcceptorSnapshot {
    const streams = this.#intakes.map(
      ({ name, received, accepted, dedup, watermark }): [string, StreamMemory] => [
        name,
        { received, accepted, dedup: dedup.snapshot(), newest: watermark.snapshot() },
      ],
    );
    return { streams: Object.fromEntries(streams), rejected: Object.fromEntries(this.#rejected) };
  }

  #intakeOf({ topic }: LogRecord): Intake {
    const intake = this.#byTopic.get(topic);
    if (intake === undefined) throw new RangeError(`topic "${topic}" is that of no stream of the line`);
    return intake;
  }

  /** Decides about the event that stands in the stream's row. */
  #admit(intake: Intake, event: AcceptedEvent | null): AdmittedEvent | Rejection {
    const { admitted, dedup, watermark } = intake;
    const { row, idField } = admitted;
    let bytes = row.bytes;
    let from = row.starts[idField] as number;
    let until = row.ends[idField] as number;
    if (from === -1) {
      bytes = this.#idText;
      from = 0;
      until = writeInteger(bytes, 0, row.numbers[idField] as number);
    }
    if (watermark.isLate(row.time)) {
      return this.#reject(
        dedup.hasBytes(bytes, from, until) ? known(intake, bytes, from, until) : tooLate(intake, row.time),
      );
    }
    if (!dedup.admitBytes(bytes, from, until)) return this.#reject(known(intake, bytes, from, until));
    watermark.observe(row.time);
    intake.accepted++;
    admitted.event = event;
    return admitted;
  }

  #reject(refusal: Rejection): Rejection {
    this.#rejected.set(refusal.reason, (this.#rejected.get(refusal.reason) ?? 0) + 1);
    return refusal;
  }
}

/** One stream's way in. */
interface Intake {
  readonly name: string;
  readonly topic: string;
  readonly lateMax: string;
  readonly fields: readonly (readonly [name: string, field: FieldDefinition])[];
  /** Reads a plain record into the stream's row; false: it is not plain. */
  readonly scan: (record: LogRecord) => boolean;
  readonly read: EventReader;
  readonly dedup: DedupWindow;
  readonly watermark: Watermark;
  readonly admitted: { -readonly [K in keyof AdmittedEvent]: AdmittedEvent[K] };
  received: number;
  accepted: number;
}

function createIntake(
  line: LineDefinition,
  name: string,
  streamIndex: number,
  snapshot: AcceptorSnapshot | null,
): Intake {
  const stream = line.streams[name] as LineDefinition["streams"][string];
  const memory = snapshot?.streams[name];
  const row = createEventRow(name, stream);
  const reader = createRowReader(line, name);
  const hasSchema = stream.format === "schema-registry";
  return {
    name,
    topic: stream.topic,
    lateMax: stream.lateMax,
    fields: Object.entries(stream.fields),
    scan: hasSchema ? () => false : (record) => scanPlain(reader, record, row),
    read: hasSchema ? refuseToRead : createEventReader(line, name),
    dedup: new DedupWindow(undefined, memory?.dedup),
    watermark: new Watermark(checkedDurationMs(stream.lateMax), memory?.newest),
    admitted: { kind: "accepted", row, streamIndex, idField: reader.idField, event: null },
    received: memory?.received ?? 0,
    accepted: memory?.accepted ?? 0,
  };
}

function refuseToRead(): never {
  throw new Error("a schema's decoder opens the records of this stream: decode them, then admit them");
}

/** The fast way, for records without an envelope; all others are the slow reader's. */
function scanPlain(reader: RowReader, record: LogRecord, row: EventRow): boolean {
  const { key, headers, bytes, valueStart, valueEnd, timestampMs } = record;
  if (valueStart === -1 || (key !== null && key.length > KEY_BYTES_MAX)) return false;
  let headerBytes = 0;
  for (const name in headers) {
    if (isEnvelopeHeader(name)) return false;
    headerBytes += name.length + (headers[name]?.length ?? 0);
  }
  return headerBytes <= HEADER_BYTES_MAX && reader.read(bytes, valueStart, valueEnd, timestampMs, row);
}

function known({ name }: Intake, bytes: Uint8Array, from: number, until: number): Rejection {
  const id = new TextDecoder().decode(bytes.subarray(from, until));
  return rejection("duplicate-id", `an event of stream "${name}" with id ${quote(id)} was accepted before`);
}

function tooLate({ name, lateMax, watermark }: Intake, timeMs: number): Rejection {
  const seconds = (watermark.ms - timeMs) / 1_000;
  return rejection(
    "too-late",
    `the event is ${seconds} s older than stream "${name}" takes: more than its lateMax of ${lateMax} behind its newest events`,
  );
}
