import type { EntryTable } from "./entry-table.ts";

/** A power of two. */
const CELLS = 4_096;
const FRONT = CELLS;
/** Buckets that a span is divided into: few entries share one, so that sorting it is quick. */
const BUCKETS_PER_SPAN = 1_024;

/** As it is: a live array. */
export interface DeadlineQueueSnapshot {
  readonly heads: Int32Array;
  readonly bucket: number;
  readonly size: number;
}

/**
 * Entries in the order of their deadlines, of equal ones the one that came first: a calendar queue (R. Brown, CACM
 * 31(10), 1988). Deadlines fall into buckets and these into the cells of a ring; only the bucket that is next is
 * sorted. Adding, removing and finding the first cost O(1) on average, in whatever order entries come. An entry is in
 * one queue at most: its table holds the links.
 */
export class DeadlineQueue {
  readonly #entries: EntryTable;
  /** From an entry's event time to its deadline. */
  readonly #spanMs: number;
  readonly #bucketMs: number;
  /**
   * First entry of each cell, -1: none. What comes before an entry in its list is another one, or ~cell. The last list
   * is the front: sorted, all entries of the buckets up to `#bucket`; those of later buckets lie in the ring.
   */
  readonly #heads: Int32Array;
  #bucket: number;
  #size: number;

  constructor(entries: EntryTable, spanMs: number, snapshot: DeadlineQueueSnapshot | null) {
    this.#entries = entries;
    this.#spanMs = spanMs;
    this.#bucketMs = Math.ceil(spanMs / BUCKETS_PER_SPAN);
    this.#heads = snapshot?.heads ?? new Int32Array(CELLS + 1).fill(-1);
    this.#bucket = snapshot?.bucket ?? 0;
    this.#size = snapshot?.size ?? 0;
  }

  get size(): number {
    return this.#size;
  }

  add(slot: number): void {
    const bucket = this.#bucketOf(slot);
    // With nothing in front the ring may begin anywhere.
    if (this.#size++ === 0 || (bucket <= this.#bucket && this.#front < 0)) this.#bucket = bucket - 1;
    if (bucket > this.#bucket) this.#link(slot, ~(bucket & (CELLS - 1)));
    else this.#insertIntoFront(slot);
  }

  remove(slot: number): void {
    this.#size--;
    this.#unlink(slot);
  }

  /** The first entry; -1: there is none. */
  first(): number {
    return this.due(Number.POSITIVE_INFINITY);
  }

  /** The first entry if its deadline lies before a time; -1: there is none. */
  due(timeMs: number): number {
    if (this.#front < 0 && !this.#openBucket(Math.floor(timeMs / this.#bucketMs))) return -1;
    const slot = this.#front;
    return this.#entries.time(slot) + this.#spanMs < timeMs ? slot : -1;
  }

  snapshot(): DeadlineQueueSnapshot {
    return { heads: this.#heads, bucket: this.#bucket, size: this.#size };
  }

  get #front(): number {
    return this.#heads[FRONT] as number;
  }

  #bucketOf(slot: number): number {
    return Math.floor((this.#entries.time(slot) + this.#spanMs) / this.#bucketMs);
  }

  /** Goes on to the next bucket that holds something, `last` at most, and sorts it into the empty front. */
  #openBucket(last: number): boolean {
    if (this.#size === 0) return false;
    for (let empty = 0; this.#bucket < last; empty++) {
      // After a whole round without anything the next may be far away.
      if (empty === CELLS) this.#bucket = this.#lowestBucket() - 1;
      this.#bucket++;
      if (this.#sortBucket()) return true;
    }
    return false;
  }

  #sortBucket(): boolean {
    const slots: number[] = [];
    for (
      let slot = this.#heads[this.#bucket & (CELLS - 1)] as number;
      slot >= 0;
      slot = this.#entries.next(slot)
    ) {
      if (this.#bucketOf(slot) === this.#bucket) slots.push(slot);
    }
    // The last first, since each is put before the others.
    slots.sort((a, b) => (this.#isBefore(a, b) ? 1 : -1));
    for (const slot of slots) {
      this.#unlink(slot);
      this.#link(slot, ~FRONT);
    }
    return slots.length > 0;
  }

  #lowestBucket(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (let cell = 0; cell < CELLS; cell++) {
      for (let slot = this.#heads[cell] as number; slot >= 0; slot = this.#entries.next(slot)) {
        lowest = Math.min(lowest, this.#bucketOf(slot));
      }
    }
    return lowest;
  }

  /** For an entry that comes when its bucket is open already. */
  #insertIntoFront(slot: number): void {
    let previous = ~FRONT;
    for (let next = this.#front; next >= 0 && this.#isBefore(next, slot); next = this.#entries.next(next)) {
      previous = next;
    }
    this.#link(slot, previous);
  }

  #isBefore(a: number, b: number): boolean {
    const entries = this.#entries;
    const difference = entries.time(a) - entries.time(b);
    // Sequence numbers are modulo 2^32: of entries that are remembered together, none is 2^31 older than another.
    return difference < 0 || (difference === 0 && ((entries.sequence(a) - entries.sequence(b)) | 0) < 0);
  }

  /** `previous`: the entry before it, or ~cell. */
  #link(slot: number, previous: number): void {
    const entries = this.#entries;
    const next = previous < 0 ? (this.#heads[~previous] as number) : entries.next(previous);
    entries.setPrevious(slot, previous);
    entries.setNext(slot, next);
    if (next >= 0) entries.setPrevious(next, slot);
    if (previous < 0) this.#heads[~previous] = slot;
    else entries.setNext(previous, slot);
  }

  #unlink(slot: number): void {
    const entries = this.#entries;
    const previous = entries.previous(slot);
    const next = entries.next(slot);
    if (next >= 0) entries.setPrevious(next, previous);
    if (previous < 0) this.#heads[~previous] = next;
    else entries.setNext(previous, next);
  }
}
