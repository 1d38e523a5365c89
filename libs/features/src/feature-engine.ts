import { type EventRow, Watermark, type WatermarkSnapshot } from "@millrace/events";
import { type CodedRow, EventInputs } from "./event-inputs.ts";
import { TIME } from "./event-values.ts";
import type { FeaturePlan } from "./feature-plan.ts";
import { TextTable, type TextTableSnapshot } from "./memory/text-table.ts";
import { readValues } from "./read-values.ts";
import { NO_KEY, TOO_LATE, WindowTable, type WindowTableSnapshot } from "./window-table.ts";

/** State as plain data: live arrays, to be copied or written before the engine is used again. */
export interface FeatureSnapshot {
  readonly layout: string;
  readonly texts: TextTableSnapshot;
  readonly tables: readonly WindowTableSnapshot[];
  /** By stream. */
  readonly newestTimes: readonly WatermarkSnapshot[];
  readonly events: number;
  readonly forgotten: number;
}

/** What an engine holds, for the status. */
export interface FeatureSizes {
  readonly keys: number;
  readonly pairs: number;
  readonly texts: number;
  readonly bytes: number;
}

/** A line's features over the accepted events of one partition, in the order of its log. Makes no objects. */
export class FeatureEngine {
  readonly plan: FeaturePlan;
  readonly #texts: TextTable;
  readonly #tables: readonly WindowTable[];
  readonly #inputs: readonly EventInputs[];
  /** By stream: how far it has come, less its `lateMax`. */
  readonly #watermarks: readonly Watermark[];
  /** By table: the record that the event looked at belongs to. */
  readonly #records: Int32Array;
  /** By table: 1 where it can answer about the event; the values of others are not known. */
  readonly #isKnown: Uint8Array;
  /** By table: 1 where the event is current (see `WindowTable.isCurrent`). */
  readonly #isCurrent: Uint8Array;
  #events: number;
  #forgotten: number;

  /**
   * The engine takes the snapshot's arrays over. Throws a RangeError when the snapshot is of a plan that is laid out
   * differently: begin without it, and take the events in again.
   */
  constructor(plan: FeaturePlan, snapshot: FeatureSnapshot | null) {
    if (snapshot !== null && snapshot.layout !== plan.layout) {
      throw new RangeError(
        "the snapshot is of other features: begin without it and take the events in again",
      );
    }
    this.plan = plan;
    this.#texts = new TextTable(snapshot?.texts ?? null);
    const late = plan.streams[plan.predict]?.lateMaxMs ?? 0;
    this.#tables = plan.tables.map(
      (table, i) => new WindowTable(table, this.#texts, late, snapshot?.tables[i] ?? null),
    );
    const hasExpressions = plan.readers.some(({ kind }) => kind === "expression");
    this.#inputs = plan.streams.map(
      (stream, i) => new EventInputs(stream, this.#texts, i === plan.predict && hasExpressions),
    );
    this.#watermarks = plan.streams.map(
      ({ lateMaxMs }, i) => new Watermark(lateMaxMs, snapshot?.newestTimes[i] ?? []),
    );
    this.#records = new Int32Array(plan.tables.length);
    this.#isKnown = new Uint8Array(plan.tables.length);
    this.#isCurrent = new Uint8Array(plan.tables.length);
    this.#events = snapshot?.events ?? 0;
    this.#forgotten = snapshot?.forgotten ?? 0;
    for (const table of this.#tables) this.#advance(table);
  }

  /** Events taken in. */
  get events(): number {
    return this.#events;
  }

  /** Events that came too late to count in any window that could still be asked for. */
  get forgotten(): number {
    return this.#forgotten;
  }

  get sizes(): FeatureSizes {
    const sum = (of: (table: WindowTable) => number): number =>
      this.#tables.reduce((all, one) => all + of(one), 0);
    return {
      keys: sum(({ keys }) => keys),
      pairs: sum(({ pairs }) => pairs),
      texts: this.#texts.size,
      bytes: this.#texts.byteLength + sum(({ byteLength }) => byteLength),
    };
  }

  /**
   * How far a stream has come: its 8th newest event time, ms; -Infinity before the eighth event. What lies further
   * back than a window and `lateMax` is forgotten by it.
   */
  streamTimeMs(stream: string): number {
    const index = this.#streamIndex(stream);
    return (this.#watermarks[index] as Watermark).ms + (this.plan.streams[index]?.lateMaxMs ?? 0);
  }

  /**
   * Writes the vector of an event of the stream predicted on to `out` [values of the plan], NaN where a value is not
   * known: of the state before it, the event itself counting where it is of a window's stream. Windows of a stream that
   * has come further than what both streams may be late are not known. Changes nothing, so that a request that is
   * answered leaves no trace.
   */
  read(row: EventRow | CodedRow, out: Float64Array): void {
    this.#lookAt(row);
    this.#read(true, out);
  }

  /**
   * The vector of a key as of `row.time`: like `read`, but the row is no event and does not count. It may have its
   * key fields alone; what is read from other fields is then not known.
   */
  readByKey(row: EventRow | CodedRow, out: Float64Array): void {
    this.#lookAt(row);
    this.#read(false, out);
  }

  /** Takes an event of any stream in. */
  update(row: EventRow | CodedRow): void {
    const stream = this.#streamIndex(row.stream);
    const event = this.#inputs[stream] as EventInputs;
    event.take(row);
    for (let i = 0; i < this.#tables.length; i++) {
      const table = this.#tables[i] as WindowTable;
      if (table.plan.stream !== stream) continue;
      table.lookAt(event);
      this.#records[i] = table.find(event, table.plan.by);
    }
    this.#takeIn(stream, event);
    this.#moveOn(stream, event);
  }

  /** `read`, then `update`, of an event of the stream predicted on; the same, but faster. */
  readAndUpdate(row: EventRow | CodedRow, out: Float64Array): void {
    const { predict } = this.plan;
    const event = this.#inputs[predict] as EventInputs;
    this.#lookAt(row);
    for (let i = 0; i < this.#tables.length; i++) {
      const table = this.#tables[i] as WindowTable;
      const record = this.#records[i] as number;
      const isKnown = this.#isKnown[i] === 1;
      const isOwn = table.plan.stream === predict;
      this.#isCurrent[i] = isKnown && isOwn && table.isCurrent(record, event) ? 1 : 0;
      if (this.#isCurrent[i] === 1) table.readBefore(record);
      else if (isKnown) table.read(record, event, isOwn);
    }
    this.#takeIn(predict, event);
    for (let i = 0; i < this.#tables.length; i++) {
      if (this.#isCurrent[i] === 1) (this.#tables[i] as WindowTable).readAfter(this.#records[i] as number);
    }
    readValues(this.plan.readers, this.#tables, this.#isKnown, event, out);
    this.#moveOn(predict, event);
  }

  /**
   * How fresh a key's values are: writes the newest event time known of it to `out` [tables of the plan], ms; NaN
   * where there is none.
   */
  newestTimes(row: EventRow | CodedRow, out: Float64Array): void {
    this.#lookAt(row);
    for (let i = 0; i < this.#tables.length; i++) {
      out[i] = (this.#tables[i] as WindowTable).newestTimeMs(this.#records[i] as number);
    }
  }

  /**
   * The code of a text, for rows whose texts are given as codes. It stays valid until it has been given back with
   * `release` as often as it was asked for.
   */
  intern(bytes: Uint8Array, start: number, end: number): number {
    return this.#texts.intern(bytes, start, end);
  }

  release(code: number): void {
    this.#texts.release(code);
  }

  snapshot(): FeatureSnapshot {
    return {
      layout: this.plan.layout,
      texts: this.#texts.snapshot(),
      tables: this.#tables.map((table) => table.snapshot()),
      newestTimes: this.#watermarks.map((watermark) => watermark.snapshot()),
      events: this.#events,
      forgotten: this.#forgotten,
    };
  }

  /** Finds what the features need of a row of the stream predicted on, and the records that it belongs to. */
  #lookAt(row: EventRow | CodedRow): void {
    const event = this.#inputs[this.plan.predict] as EventInputs;
    event.take(row);
    for (let i = 0; i < this.#tables.length; i++) {
      const table = this.#tables[i] as WindowTable;
      const isWithinReach = table.lookAt(event);
      const record = table.find(event, table.plan.askedBy);
      this.#records[i] = record;
      this.#isKnown[i] = isWithinReach && record !== NO_KEY ? 1 : 0;
    }
  }

  #read(counts: boolean, out: Float64Array): void {
    const { predict, readers } = this.plan;
    const event = this.#inputs[predict] as EventInputs;
    for (let i = 0; i < this.#tables.length; i++) {
      const table = this.#tables[i] as WindowTable;
      if (this.#isKnown[i] !== 1) continue;
      table.read(this.#records[i] as number, event, counts && table.plan.stream === predict);
    }
    readValues(readers, this.#tables, this.#isKnown, event, out);
  }

  /** Takes the event in wherever its stream is counted. */
  #takeIn(stream: number, event: EventInputs): void {
    let isTooLate = false;
    for (let i = 0; i < this.#tables.length; i++) {
      const table = this.#tables[i] as WindowTable;
      if (table.plan.stream !== stream) continue;
      const record = table.update(event, this.#records[i] as number);
      if (record === TOO_LATE) isTooLate = true;
      else this.#records[i] = record;
    }
    this.#events++;
    if (isTooLate) this.#forgotten++;
  }

  /** The event's stream has come further; forgets what is out of reach. */
  #moveOn(stream: number, event: EventInputs): void {
    (this.#watermarks[stream] as Watermark).observe(event.values[TIME] as number);
    for (let i = 0; i < this.#tables.length; i++) {
      const table = this.#tables[i] as WindowTable;
      if (table.plan.stream === stream || stream === this.plan.predict) this.#advance(table);
      table.step();
    }
  }

  #advance(table: WindowTable): void {
    const asked = this.#watermarks[this.plan.predict] as Watermark;
    table.advance(asked, this.#watermarks[table.plan.stream] as Watermark);
  }

  #streamIndex(name: string): number {
    const { streams } = this.plan;
    for (let i = 0; i < streams.length; i++) if (streams[i]?.name === name) return i;
    throw new RangeError(`the line has no stream "${name}"`);
  }
}
