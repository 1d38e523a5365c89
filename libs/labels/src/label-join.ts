import type { IdBytes } from "@millrace/contracts";
import { checkedDurationMs, type Duration, type LabelDefinition } from "@millrace/lines";
import { rule } from "./conflict.ts";
import { DeadlineQueue, type DeadlineQueueSnapshot } from "./deadline-queue.ts";
import { EntryTable, type EntryTableSnapshot, STATE, type State } from "./entry-table.ts";
import { createExampleRow, type ExampleRow } from "./example-row.ts";
import { hashId, type IdHash } from "./hash-id.ts";
import { type LabelCounts, NO_COUNTS } from "./label-counts.ts";
import { VectorSlab, type VectorSlabSnapshot } from "./vector-slab.ts";

export interface LabelJoinOptions {
  readonly label: Pick<LabelDefinition, "waitFor" | "silence" | "conflict" | "waitingMax">;
  /** Of the label's stream: so long after its window a vector is remembered for labels that come late. */
  readonly lateMax: Duration;
  /** Digest of the feature definition, and how many values its vectors have. */
  readonly features: string;
  readonly width: number;
}

/** When an event happened (event time) and when it was accepted (wall clock), ms. An `EventRow` is one. */
export interface Occurrence {
  readonly time: number;
  readonly acceptedAtMs: number;
}

/** Live arrays: serialise or copy them before the join is used again. A join made from a snapshot takes them over. */
export interface LabelJoinSnapshot {
  readonly features: string;
  readonly width: number;
  readonly entries: EntryTableSnapshot;
  readonly vectors: VectorSlabSnapshot;
  readonly early: DeadlineQueueSnapshot;
  readonly waiting: DeadlineQueueSnapshot;
  readonly settled: DeadlineQueueSnapshot;
  readonly sequence: number;
  readonly counts: LabelCounts;
}

/**
 * Joins the vectors of one partition with their labels, in the order of the partition's event log. What the rules are
 * stands in the package's README. Nothing is made per event but the examples.
 */
export class LabelJoin {
  readonly #options: LabelJoinOptions;
  readonly #waitMs: number;
  readonly #counts: LabelCounts;
  readonly #entries: EntryTable;
  /** Those of which an example may still be given. */
  readonly #vectors: VectorSlab;
  /** Each entry is in one of these: a label without a vector, a vector without a label, a vector that is settled. */
  readonly #early: DeadlineQueue;
  readonly #waiting: DeadlineQueue;
  readonly #settled: DeadlineQueue;
  /** Vectors and early labels so far, modulo 2^32. */
  #sequence: number;
  readonly #hash: IdHash = { high: 0, low: 0 };
  readonly #example: ExampleRow;
  readonly #text = new TextEncoder();
  readonly #encoded = { bytes: new Uint8Array(1_024), start: 0, end: 0 };

  /** Throws a RangeError when the snapshot is of another feature definition: begin without it. */
  constructor(options: LabelJoinOptions, snapshot: LabelJoinSnapshot | null) {
    const { label, lateMax, features, width } = options;
    if (snapshot !== null && (snapshot.features !== features || snapshot.width !== width)) {
      throw new RangeError(
        `the snapshot holds vectors of ${snapshot.width} values by feature definition ${snapshot.features}, ` +
          `not of ${width} by ${features}: begin without it`,
      );
    }
    this.#options = options;
    this.#waitMs = checkedDurationMs(label.waitFor);
    this.#counts = { ...(snapshot?.counts ?? NO_COUNTS) };
    this.#entries = new EntryTable(snapshot?.entries ?? null);
    this.#vectors = new VectorSlab(width, snapshot?.vectors ?? null);
    const rememberMs = this.#waitMs + checkedDurationMs(lateMax);
    this.#early = new DeadlineQueue(this.#entries, this.#waitMs, snapshot?.early ?? null);
    this.#waiting = new DeadlineQueue(this.#entries, this.#waitMs, snapshot?.waiting ?? null);
    this.#settled = new DeadlineQueue(this.#entries, rememberMs, snapshot?.settled ?? null);
    this.#sequence = snapshot?.sequence ?? 0;
    this.#example = createExampleRow(width, features);
  }

  get counts(): Readonly<LabelCounts> {
    return this.#counts;
  }

  /** Vectors whose label has not come yet. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Labels whose vector has not come yet. */
  get early(): number {
    return this.#early.size;
  }

  /** Vectors that are labelled, silent or expired, and remembered for labels to come. */
  get remembered(): number {
    return this.#settled.size;
  }

  /** Bytes of all arrays. */
  get bytes(): number {
    return this.#entries.bytes + this.#vectors.bytes;
  }

  /**
   * A new vector as it is served: `width` values in model order, NaN where one is not known. They are copied. Answers
   * the example when the label is there already.
   */
  addVector(id: IdBytes | string, event: Occurrence, values: ArrayLike<number>): ExampleRow | null {
    const entries = this.#entries;
    const place = this.#placeOf(id);
    hashId(place, this.#hash);
    const known = entries.find(this.#hash);
    if (known >= 0 && entries.state(known) !== STATE.early) {
      this.#counts.duplicates++;
      return null;
    }
    if (known >= 0) {
      this.#early.remove(known);
      if (this.#isInTime(entries.time(known), event.time))
        return this.#matchEarly(known, place, event, values);
      this.#counts.late++;
    }
    const slot = known >= 0 ? known : entries.add(this.#hash);
    entries.reset(slot, STATE.waiting, event.time, event.acceptedAtMs, this.#sequence++);
    // What silence would say; any label event is newer.
    entries.setLabel(slot, 0, Number.NEGATIVE_INFINITY);
    entries.setRow(slot, this.#vectors.put(place, values));
    this.#waiting.add(slot);
    if (this.#waiting.size > this.#options.label.waitingMax) {
      this.#counts.givenUp++;
      this.#forgetFirst(this.#waiting);
    }
    return null;
  }

  /** A label event that names the event `id`. Answers the example when the vector is there and the label is news. */
  addLabel(id: IdBytes | string, event: Occurrence, positive: boolean): ExampleRow | null {
    const entries = this.#entries;
    const label = positive ? 1 : 0;
    hashId(this.#placeOf(id), this.#hash);
    const slot = entries.find(this.#hash);
    if (slot < 0) {
      this.#addEarly(label, event);
      return null;
    }
    const state = entries.state(slot);
    if (state === STATE.early) {
      this.#amendEarly(slot, label, event);
      return null;
    }
    if (this.#isFinal(state) || !this.#isInTime(event.time, entries.time(slot))) {
      this.#counts.late++;
      return null;
    }
    if (state === STATE.waiting) this.#counts.matched++;
    else if (this.#overrules(slot, label, event.time)) {
      this.#counts.corrected++;
      entries.addRevision(slot);
    } else return null;
    this.#queueOf(state).remove(slot);
    entries.setState(slot, STATE.labelled);
    entries.setLabel(slot, label, event.time);
    const example = this.#exampleOf(slot, event.time, event.acceptedAtMs);
    this.#settle(slot);
    return example;
  }

  /**
   * Moves the stream time on to that of an event which was accepted at `acceptedAtMs`: gives the negatives by silence
   * in the order of their event time, and forgets what is over. To be called for each event of the log before it is
   * added, with a stream time that never goes back; it costs next to nothing while nothing is due. `give` must not
   * call the join.
   */
  advance(streamTimeMs: number, acceptedAtMs: number, give: (example: ExampleRow) => void): void {
    while (this.#early.due(streamTimeMs) >= 0) {
      this.#counts.unmatched++;
      this.#forgetFirst(this.#early);
    }
    for (;;) {
      const slot = this.#waiting.due(streamTimeMs);
      if (slot < 0) break;
      this.#waiting.remove(slot);
      if (this.#options.label.silence === "unknown") this.#expire(slot);
      else give(this.#fallSilent(slot, acceptedAtMs));
    }
    while (this.#settled.due(streamTimeMs) >= 0) this.#forgetFirst(this.#settled);
  }

  snapshot(): LabelJoinSnapshot {
    return {
      features: this.#options.features,
      width: this.#options.width,
      entries: this.#entries.snapshot(),
      vectors: this.#vectors.snapshot(),
      early: this.#early.snapshot(),
      waiting: this.#waiting.snapshot(),
      settled: this.#settled.snapshot(),
      sequence: this.#sequence,
      counts: { ...this.#counts },
    };
  }

  /** A label from after the window counts only where silence means no and a label may correct that. */
  #isInTime(labelTime: number, time: number): boolean {
    const { silence, conflict } = this.#options.label;
    return labelTime <= time + this.#waitMs || (silence === "negative" && conflict !== "first");
  }

  #isFinal(state: State): boolean {
    return state === STATE.expired || (state === STATE.silent && this.#options.label.conflict === "first");
  }

  #matchEarly(slot: number, place: IdBytes, event: Occurrence, values: ArrayLike<number>): ExampleRow {
    const entries = this.#entries;
    const labelTime = entries.time(slot);
    const labelAcceptedAtMs = entries.acceptedAtMs(slot);
    this.#counts.matched++;
    const label = entries.label(slot);
    entries.reset(slot, STATE.labelled, event.time, event.acceptedAtMs, this.#sequence++);
    entries.setLabel(slot, label, entries.labelTime(slot));
    entries.setRow(slot, this.#vectors.put(place, values));
    const example = this.#exampleOf(slot, labelTime, labelAcceptedAtMs);
    this.#settle(slot);
    return example;
  }

  #addEarly(label: number, event: Occurrence): void {
    const slot = this.#entries.add(this.#hash);
    this.#setEarly(slot, label, event);
    if (this.#early.size > this.#options.label.waitingMax) {
      this.#counts.unmatched++;
      this.#forgetFirst(this.#early);
    }
  }

  /** Of several labels that come before their vector, one waits for it. */
  #amendEarly(slot: number, label: number, event: Occurrence): void {
    if (!this.#overrules(slot, label, event.time)) return;
    this.#counts.conflicting++; // the one that waited: no example was given of it
    this.#early.remove(slot);
    this.#setEarly(slot, label, event);
  }

  #setEarly(slot: number, label: number, { time, acceptedAtMs }: Occurrence): void {
    this.#entries.reset(slot, STATE.early, time, acceptedAtMs, this.#sequence++);
    this.#entries.setLabel(slot, label, time);
    this.#early.add(slot);
  }

  /** Whether a further label replaces the one that the entry has; counts it when it does not. */
  #overrules(slot: number, label: number, time: number): boolean {
    const entries = this.#entries;
    const known = { label: entries.label(slot), time: entries.labelTime(slot) };
    const ruling = rule(this.#options.label.conflict, known, { label, time });
    if (ruling === "counts") return true;
    if (ruling === "repeated") entries.setLabel(slot, label, Math.max(known.time, time));
    this.#counts[ruling]++;
    return false;
  }

  #expire(slot: number): void {
    this.#counts.expired++;
    this.#entries.setState(slot, STATE.expired);
    this.#settle(slot);
  }

  #fallSilent(slot: number, acceptedAtMs: number): ExampleRow {
    this.#counts.silent++;
    this.#entries.setState(slot, STATE.silent);
    const example = this.#exampleOf(slot, this.#entries.time(slot) + this.#waitMs, acceptedAtMs);
    this.#settle(slot);
    return example;
  }

  /** Remembers a vector whose wait is over; its values only if another example of it may follow. */
  #settle(slot: number): void {
    if (!this.#mayBeCorrected(slot)) this.#freeVector(slot);
    this.#settled.add(slot);
    if (this.#settled.size > this.#options.label.waitingMax) {
      this.#counts.forgotten++;
      this.#forgetFirst(this.#settled);
    }
  }

  #mayBeCorrected(slot: number): boolean {
    const { conflict } = this.#options.label;
    if (this.#entries.state(slot) === STATE.expired) return false;
    return conflict === "last" || (conflict === "positive" && this.#entries.label(slot) === 0);
  }

  #queueOf(state: State): DeadlineQueue {
    if (state === STATE.early) return this.#early;
    return state === STATE.waiting ? this.#waiting : this.#settled;
  }

  #forgetFirst(queue: DeadlineQueue): void {
    const slot = queue.first();
    queue.remove(slot);
    this.#freeVector(slot);
    this.#entries.remove(slot);
  }

  #freeVector(slot: number): void {
    const row = this.#entries.row(slot);
    if (row < 0) return;
    this.#vectors.free(row);
    this.#entries.setRow(slot, -1);
  }

  #exampleOf(slot: number, labelTime: number, labelAcceptedAtMs: number): ExampleRow {
    const entries = this.#entries;
    const example = this.#example;
    this.#vectors.read(entries.row(slot), example.id, example.values);
    example.time = entries.time(slot);
    // A label that is known before the event is due counts from the event on.
    example.knownAt = Math.max(labelTime, example.time);
    example.label = entries.label(slot);
    example.revision = entries.revision(slot);
    example.labelled = entries.state(slot) === STATE.silent ? "silence" : "event";
    example.vectorAcceptedAtMs = entries.acceptedAtMs(slot);
    example.labelAcceptedAtMs = labelAcceptedAtMs;
    return example;
  }

  #placeOf(id: IdBytes | string): IdBytes {
    if (typeof id !== "string") return id;
    const encoded = this.#encoded;
    if (encoded.bytes.length < 3 * id.length) encoded.bytes = new Uint8Array(3 * id.length);
    encoded.end = this.#text.encodeInto(id, encoded.bytes).written;
    return encoded;
  }
}
