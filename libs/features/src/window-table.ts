import type { Watermark } from "@millrace/events";
import { type EventInputs, NO_VALUE } from "./event-inputs.ts";
import { TIME } from "./event-values.ts";
import type { TablePlan } from "./feature-plan.ts";
import { IntTable, type IntTableSnapshot } from "./memory/int-table.ts";
import { chunkOf, offsetOf, Slab, type SlabSnapshot } from "./memory/slab.ts";
import type { TextTable } from "./memory/text-table.ts";
import { PaneLevel, type PaneLevelSnapshot } from "./pane-level.ts";
import { paneOf, paneStartMs } from "./pane-number.ts";

/** A key's record begins with the newest event time of the key, ms (a double), and the codes of its values. */
const NEWEST = 0;
const CODES = 2;

/** The event's key is not known, as one of its values is null. */
export const NO_KEY = -1;
/** The event came too late to count. */
export const TOO_LATE = -2;

/**
 * A table is swept once in an eighth of the time that it remembers; so many places are looked at with each event. A
 * place that is in use has seen an event in that time, so that a round ends before the next is due.
 */
const ROUNDS = 8;
const KEYS_A_STEP = 16;
const PAIRS_A_STEP = 32;

/** The pairs of a level, by their number among those of its plan. */
type LevelPairs = readonly [level: PaneLevel, index: number];

/** Which part of the table is swept: nothing, the keys, or the pairs of a level. */
interface Sweep {
  /** `reach` when the last round began, ms. */
  begunMs: number;
  /** Part 0 is the keys; the others are the pairs of all levels one after the other; -1: no round goes on. */
  part: number;
  place: number;
}

export interface WindowTableSnapshot {
  readonly records: SlabSnapshot;
  readonly keys: IntTableSnapshot | null;
  readonly levels: readonly PaneLevelSnapshot[];
  readonly only: number;
  readonly sweep: Readonly<Sweep>;
}

/** The events of one stream by the values of some fields: all that is counted of each key. */
export class WindowTable {
  readonly plan: TablePlan;
  readonly levels: readonly PaneLevel[];
  /**
   * What was read last: the record that has the windows' totals, as two views of the same memory, where it begins in
   * units; and the answers besides.
   */
  totals: Float64Array;
  totalInts: Int32Array;
  totalsAt = 0;
  readonly answers: Float64Array;
  readonly #texts: TextTable;
  readonly #records: Slab;
  /** From a key's codes to its record; null where all events have the one key. */
  readonly #keys: IntTable | null;
  readonly #codes: Int32Array;
  /** The one record of a table without fields to group by. */
  readonly #only: number;
  /** The record of keys that have none, and one for totals that differ from those of a record. */
  readonly #empty: Float64Array;
  readonly #emptyInts: Int32Array;
  readonly #scratch: Float64Array;
  readonly #scratchInts: Int32Array;
  /** For each part of a sweep but the first: the level, and which of its pairs. */
  readonly #pairs: readonly LevelPairs[];
  readonly #askedLateMs: number;
  readonly #retainedMs: number;
  readonly #sweep: Sweep;
  #reachMs = Number.NEGATIVE_INFINITY;
  /** When `advance` has to be called again: then a pane of a level ends. */
  #nextReachMs = Number.NEGATIVE_INFINITY;
  #nextSettledMs = Number.NEGATIVE_INFINITY;

  /** `askedLateMs` is how late an event of the stream predicted on can be. */
  constructor(plan: TablePlan, texts: TextTable, askedLateMs: number, snapshot: WindowTableSnapshot | null) {
    this.plan = plan;
    this.#texts = texts;
    this.levels = plan.levels.map((level, i) => new PaneLevel(level, snapshot?.levels[i] ?? null));
    this.#records = new Slab(plan.recordUnits, snapshot?.records ?? null);
    this.#empty = new Float64Array(plan.recordUnits);
    this.#emptyInts = new Int32Array(this.#empty.buffer);
    for (const level of this.levels) level.prepareRecord(this.#empty, this.#emptyInts, 0);
    this.#scratch = new Float64Array(plan.recordUnits);
    this.#scratchInts = new Int32Array(this.#scratch.buffer);
    this.answers = new Float64Array(plan.answers);
    this.totals = this.#scratch;
    this.totalInts = this.#scratchInts;
    this.#codes = new Int32Array(plan.by.length);
    this.#keys = plan.by.length === 0 ? null : new IntTable(plan.by.length, 1, snapshot?.keys ?? null);
    this.#only = snapshot?.only ?? (this.#keys === null ? this.#makeRecord() : 0);
    this.#pairs = this.levels.flatMap((level) => level.pairs.map((_, i): LevelPairs => [level, i]));
    this.#askedLateMs = askedLateMs;
    this.#retainedMs = askedLateMs + Math.max(...this.levels.map(({ spanMs }) => spanMs));
    this.#sweep = { ...(snapshot?.sweep ?? { begunMs: Number.NEGATIVE_INFINITY, part: -1, place: 0 }) };
  }

  /** How many keys have a record. */
  get keys(): number {
    return this.#keys?.size ?? 1;
  }

  /** How many pairs of a key and a value are told apart. */
  get pairs(): number {
    return this.#pairs.reduce((sum, [level, i]) => sum + (level.pairs[i]?.size ?? 0), 0);
  }

  get byteLength(): number {
    const levels = this.levels.reduce((sum, level) => sum + level.byteLength, 0);
    return this.#records.byteLength + (this.#keys?.byteLength ?? 0) + levels;
  }

  /**
   * No vector is asked for before the watermark of the stream predicted on (`asked`), nor so far behind the table's own
   * stream (`settled`) that both are as late as they can be: by the latter a table is bounded where nothing is
   * predicted any more. No event comes before `settled`.
   */
  advance(asked: Watermark, settled: Watermark): void {
    const settledMs = settled.ms;
    const reachMs = Math.max(asked.ms, settledMs - this.#askedLateMs);
    if (reachMs < this.#nextReachMs && settledMs < this.#nextSettledMs) return;
    this.#reachMs = reachMs;
    this.#nextReachMs = Number.POSITIVE_INFINITY;
    this.#nextSettledMs = Number.POSITIVE_INFINITY;
    for (const level of this.levels) {
      const { paneMs } = level.plan;
      level.advance(reachMs, settledMs);
      this.#nextReachMs = Math.min(this.#nextReachMs, paneStartMs(paneOf(reachMs, paneMs) + 1, paneMs));
      this.#nextSettledMs = Math.min(this.#nextSettledMs, paneStartMs(paneOf(settledMs, paneMs) + 1, paneMs));
    }
  }

  /**
   * Looks at an event: all that follows is about it. Answers whether it can be asked about: false where it lies so far
   * back that some of its windows may be forgotten.
   */
  lookAt(event: EventInputs): boolean {
    let isWithinReach = true;
    for (let i = 0; i < this.levels.length; i++) {
      if (!(this.levels[i] as PaneLevel).lookAt(event)) isWithinReach = false;
    }
    return isWithinReach;
  }

  /** The record of the event's key: its address, 0 when there is none, `NO_KEY` when a value of the key is null. */
  find(event: EventInputs, by: readonly number[]): number {
    const keys = this.#keys;
    if (keys === null) return this.#only;
    let isKnown = true;
    for (let i = 0; i < by.length; i++) {
      const code = event.codes[by[i] as number] as number;
      if (code === NO_VALUE) return NO_KEY;
      if (code === 0) isKnown = false;
      this.#codes[i] = code;
    }
    if (!isKnown) return 0;
    const at = keys.find(this.#codes);
    return at < 0 ? 0 : (keys.entries[at + by.length] as number);
  }

  /**
   * Takes in an event of the table's stream whose record `find` has answered. Answers the record that it has now, or
   * `TOO_LATE` when it comes too late to count in any window. An event that meets no condition, or has no key, leaves
   * everything as it is.
   */
  update(event: EventInputs, found: number): number {
    if (found === NO_KEY || !event.meets(this.plan.conditions)) return found;
    const record = found === 0 ? this.#add(event) : found;
    const floats = this.#records.floats[chunkOf(record)] as Float64Array;
    const ints = this.#records.ints[chunkOf(record)] as Int32Array;
    const at = offsetOf(record);
    if ((event.values[TIME] as number) > (floats[at + NEWEST] as number)) {
      floats[at + NEWEST] = event.values[TIME] as number;
    }
    let counts = false;
    for (let i = 0; i < this.levels.length; i++) {
      const level = this.levels[i] as PaneLevel;
      if (!event.meets(level.plan.conditions)) continue;
      if (level.update(floats, ints, at, record, event)) counts = true;
    }
    return counts ? record : TOO_LATE;
  }

  /**
   * Finds what all windows add up to for a record that `find` has answered, but `NO_KEY`: sets `totals` and `answers`.
   * `isOwn` where the asking event is of the table's stream, and counts. Changes nothing else.
   */
  read(record: number, event: EventInputs, isOwn: boolean): void {
    const isThere = record > 0;
    const floats = isThere ? (this.#records.floats[chunkOf(record)] as Float64Array) : this.#empty;
    const ints = isThere ? (this.#records.ints[chunkOf(record)] as Int32Array) : this.#emptyInts;
    const at = isThere ? offsetOf(record) : 0;
    this.totals = this.#scratch;
    this.totalInts = this.#scratchInts;
    this.totalsAt = 0;
    for (let i = 0; i < this.levels.length; i++) {
      const level = this.levels[i] as PaneLevel;
      level.read(floats, ints, at, record, event, isOwn, this.totals, this.totalInts, this.answers);
    }
  }

  /**
   * Whether an event of the table's stream counts on all levels and is not in the past of what the key has. Then,
   * rather than `read` before `update`, it is faster to call `readBefore`, `update`, and `readAfter`.
   */
  isCurrent(record: number, event: EventInputs): boolean {
    if (record === NO_KEY || !event.meets(this.plan.conditions)) return false;
    const ints = record > 0 ? (this.#records.ints[chunkOf(record)] as Int32Array) : this.#emptyInts;
    const at = record > 0 ? offsetOf(record) : 0;
    for (let i = 0; i < this.levels.length; i++) {
      if (!(this.levels[i] as PaneLevel).isCurrent(ints, at, event)) return false;
    }
    return true;
  }

  /** Of a current event: sets the answers in which it does not count itself. */
  readBefore(record: number): void {
    const ints = record > 0 ? (this.#records.ints[chunkOf(record)] as Int32Array) : this.#emptyInts;
    const at = record > 0 ? offsetOf(record) : 0;
    for (let i = 0; i < this.levels.length; i++) {
      (this.levels[i] as PaneLevel).readBefore(ints, at, this.answers);
    }
  }

  /** Of a current event that has been taken in: sets `totals`, and the other answers. */
  readAfter(record: number): void {
    this.totals = this.#records.floats[chunkOf(record)] as Float64Array;
    this.totalInts = this.#records.ints[chunkOf(record)] as Int32Array;
    this.totalsAt = offsetOf(record);
    for (let i = 0; i < this.levels.length; i++) {
      (this.levels[i] as PaneLevel).readAfter(this.totals, this.totalInts, this.totalsAt, this.answers);
    }
  }

  /** Newest event time of the key, ms; NaN where no event is known. */
  newestTimeMs(record: number): number {
    if (record <= 0) return Number.NaN;
    const time = (this.#records.floats[chunkOf(record)] as Float64Array)[offsetOf(record) + NEWEST] as number;
    return time === Number.NEGATIVE_INFINITY ? Number.NaN : time;
  }

  /** Forgets a little of what is in no window any more; to be called after each event. */
  step(): void {
    const sweep = this.#sweep;
    if (sweep.part < 0) {
      if (
        this.#reachMs < sweep.begunMs + this.#retainedMs / ROUNDS ||
        this.#reachMs === Number.NEGATIVE_INFINITY
      ) {
        return;
      }
      sweep.begunMs = this.#reachMs;
      sweep.part = 0;
      sweep.place = 0;
    }
    if (sweep.part === 0) this.#sweepKeys();
    else this.#sweepPairs();
  }

  /** Live arrays: to be copied or written before the table is used again. */
  snapshot(): WindowTableSnapshot {
    return {
      records: this.#records.snapshot(),
      keys: this.#keys?.snapshot() ?? null,
      levels: this.levels.map((level) => level.snapshot()),
      only: this.#only,
      sweep: { ...this.#sweep },
    };
  }

  #add(event: EventInputs): number {
    const record = this.#makeRecord();
    const ints = this.#records.ints[chunkOf(record)] as Int32Array;
    const at = offsetOf(record) * 2 + CODES;
    const { by } = this.plan;
    for (let i = 0; i < by.length; i++) {
      const code = event.reference(by[i] as number);
      ints[at + i] = code;
      this.#codes[i] = code;
    }
    const keys = this.#keys as IntTable;
    const entry = keys.insert(this.#codes);
    keys.entries[entry + by.length] = record;
    return record;
  }

  #makeRecord(): number {
    const record = this.#records.allocate(0);
    const floats = this.#records.floats[chunkOf(record)] as Float64Array;
    const at = offsetOf(record);
    floats.fill(0, at, at + this.#records.itemUnits);
    floats[at + NEWEST] = Number.NEGATIVE_INFINITY;
    const ints = this.#records.ints[chunkOf(record)] as Int32Array;
    for (const level of this.levels) level.prepareRecord(floats, ints, at);
    return record;
  }

  #sweepKeys(): void {
    const sweep = this.#sweep;
    const keys = this.#keys;
    if (keys === null) {
      this.#sweepRecord(this.#only);
      return this.#nextPart();
    }
    for (let i = 0; i < KEYS_A_STEP; i++) {
      if (sweep.place >= keys.places) return this.#nextPart();
      const entry = keys.visit(sweep.place);
      const record = entry < 0 ? 0 : (keys.entries[entry + this.plan.by.length] as number);
      // Removing a key moves another one to its place, which is then looked at again.
      if (record === 0 || this.#sweepRecord(record)) sweep.place++;
      else this.#remove(keys, entry, record);
    }
  }

  /** Answers whether something is left of the key. */
  #sweepRecord(record: number): boolean {
    const floats = this.#records.floats[chunkOf(record)] as Float64Array;
    const ints = this.#records.ints[chunkOf(record)] as Int32Array;
    let isLeft = false;
    for (const level of this.levels) if (level.sweep(floats, ints, offsetOf(record))) isLeft = true;
    return isLeft;
  }

  #remove(keys: IntTable, entry: number, record: number): void {
    const ints = this.#records.ints[chunkOf(record)] as Int32Array;
    const at = offsetOf(record) * 2 + CODES;
    keys.remove(entry);
    for (let i = 0; i < this.plan.by.length; i++) this.#texts.release(ints[at + i] as number);
    this.#records.free(record, 0);
  }

  #sweepPairs(): void {
    const sweep = this.#sweep;
    const [level, index] = this.#pairs[sweep.part - 1] as LevelPairs;
    const places = level.pairs[index]?.places ?? 0;
    for (let i = 0; i < PAIRS_A_STEP; i++) {
      if (sweep.place >= places) return this.#nextPart();
      if (!level.sweepPairs(index, sweep.place, this.#texts)) sweep.place++;
    }
  }

  #nextPart(): void {
    const sweep = this.#sweep;
    sweep.part = sweep.part < this.#pairs.length ? sweep.part + 1 : -1;
    sweep.place = 0;
  }
}
