import type { IdHash } from "./hash-id.ts";

/** What an entry is. `free`: nothing; `early`: a label without its vector; the others: a vector. */
export const STATE = { free: 0, early: 1, waiting: 2, labelled: 3, silent: 4, expired: 5 } as const;
export type State = (typeof STATE)[keyof typeof STATE];

/** As it is: live arrays. */
export interface EntryTableSnapshot {
  /** [slots x 7]: three numbers and eight 32-bit integers per entry. */
  readonly entries: Float64Array;
  readonly chains: Int32Array;
  readonly free: number;
}

/** An entry in 8-byte words, so that all of it lies in one or two cache lines; and where what is in it, by kind. */
const WORDS = 7;
const INTEGERS = 2 * WORDS;
const TIME = 0;
const ACCEPTED_AT = 1;
const LABEL_TIME = 2;
const HASH_HIGH = 6;
const HASH_LOW = 7;
const SEQUENCE = 8;
const ROW = 9;
const CHAIN = 10;
const NEXT = 11;
const PREVIOUS = 12;
/** State in 3 bits, label in 1, revision in 28. */
const STATUS = 13;
const STATE_MASK = 7;
const LABEL_BIT = 8;
const REVISION_SHIFT = 4;

const SLOTS_MIN = 64;
/** Growing copies: by a quarter, so that little lies idle. */
const GROWTH = 1.25;

/** Entries by the 64-bit hash of their id. The slot of one that is removed is used again, the last removed first. */
export class EntryTable {
  /** The same memory, as numbers and as integers. */
  #numbers: Float64Array;
  #integers: Int32Array;
  /** Slots used so far. */
  #slots: number;
  /** First free slot, which holds the next one where others hold their row; -1: none. */
  #free: number;
  /** By the low bits of the hash: slot + 1 of the first entry of a chain; 0: none. A power of two long. */
  #chains: Int32Array;

  constructor(snapshot: EntryTableSnapshot | null) {
    this.#numbers = snapshot?.entries ?? new Float64Array(SLOTS_MIN * WORDS);
    this.#integers = integersOf(this.#numbers);
    this.#free = snapshot?.free ?? -1;
    this.#slots = snapshot === null ? 0 : this.#numbers.length / WORDS;
    this.#chains = snapshot?.chains ?? new Int32Array(SLOTS_MIN);
  }

  get bytes(): number {
    return this.#numbers.byteLength + this.#chains.byteLength;
  }

  /** The slot of an id; -1: there is none. */
  find({ high, low }: IdHash): number {
    const integers = this.#integers;
    let slot = (this.#chains[low & (this.#chains.length - 1)] as number) - 1;
    while (slot >= 0) {
      const at = slot * INTEGERS;
      if (integers[at + HASH_LOW] === low && integers[at + HASH_HIGH] === high) return slot;
      slot = (integers[at + CHAIN] as number) - 1;
    }
    return -1;
  }

  /** A new entry, for an id that has none: `reset` it. */
  add({ high, low }: IdHash): number {
    let slot = this.#free;
    if (slot >= 0) this.#free = this.row(slot);
    else {
      slot = this.#slots++;
      if (slot * WORDS === this.#numbers.length) this.#grow();
    }
    this.#integers[slot * INTEGERS + HASH_HIGH] = high;
    this.#integers[slot * INTEGERS + HASH_LOW] = low;
    this.#chain(slot);
    return slot;
  }

  remove(slot: number): void {
    this.#unchain(slot);
    this.#integers[slot * INTEGERS + STATUS] = STATE.free;
    this.setRow(slot, this.#free);
    this.#free = slot;
  }

  /** Makes an entry anew: it keeps nothing but its hash. */
  reset(slot: number, state: State, time: number, acceptedAtMs: number, sequence: number): void {
    const numbers = this.#numbers;
    numbers[slot * WORDS + TIME] = time;
    numbers[slot * WORDS + ACCEPTED_AT] = acceptedAtMs;
    const integers = this.#integers;
    integers[slot * INTEGERS + SEQUENCE] = sequence;
    integers[slot * INTEGERS + STATUS] = state;
    integers[slot * INTEGERS + ROW] = -1;
  }

  state(slot: number): State {
    return ((this.#integers[slot * INTEGERS + STATUS] as number) & STATE_MASK) as State;
  }
  setState(slot: number, state: State): void {
    const at = slot * INTEGERS + STATUS;
    this.#integers[at] = ((this.#integers[at] as number) & ~STATE_MASK) | state;
  }

  /** Event time of the vector; of an early label, that of the label. ms. */
  time(slot: number): number {
    return this.#numbers[slot * WORDS + TIME] as number;
  }
  /** Wall-clock ms at which that event was accepted. */
  acceptedAtMs(slot: number): number {
    return this.#numbers[slot * WORDS + ACCEPTED_AT] as number;
  }
  /** Tells which of two came first, modulo 2^32. */
  sequence(slot: number): number {
    return this.#integers[slot * INTEGERS + SEQUENCE] as number;
  }

  /** 0 or 1. */
  label(slot: number): number {
    return ((this.#integers[slot * INTEGERS + STATUS] as number) & LABEL_BIT) / LABEL_BIT;
  }
  /** Event time of the newest label that said what `label` says; -Infinity: none said it. */
  labelTime(slot: number): number {
    return this.#numbers[slot * WORDS + LABEL_TIME] as number;
  }
  setLabel(slot: number, label: number, time: number): void {
    const at = slot * INTEGERS + STATUS;
    this.#integers[at] = ((this.#integers[at] as number) & ~LABEL_BIT) | (label * LABEL_BIT);
    this.#numbers[slot * WORDS + LABEL_TIME] = time;
  }

  /** Number of the newest example. */
  revision(slot: number): number {
    return (this.#integers[slot * INTEGERS + STATUS] as number) >>> REVISION_SHIFT;
  }
  addRevision(slot: number): void {
    const at = slot * INTEGERS + STATUS;
    this.#integers[at] = (this.#integers[at] as number) + (1 << REVISION_SHIFT);
  }

  /** Where the vector lies; -1: it is not kept. */
  row(slot: number): number {
    return this.#integers[slot * INTEGERS + ROW] as number;
  }
  setRow(slot: number, row: number): void {
    this.#integers[slot * INTEGERS + ROW] = row;
  }

  /** Neighbours in the list that the entry is in. */
  next(slot: number): number {
    return this.#integers[slot * INTEGERS + NEXT] as number;
  }
  setNext(slot: number, next: number): void {
    this.#integers[slot * INTEGERS + NEXT] = next;
  }
  previous(slot: number): number {
    return this.#integers[slot * INTEGERS + PREVIOUS] as number;
  }
  setPrevious(slot: number, previous: number): void {
    this.#integers[slot * INTEGERS + PREVIOUS] = previous;
  }

  snapshot(): EntryTableSnapshot {
    const entries = this.#numbers.subarray(0, this.#slots * WORDS);
    return { entries, chains: this.#chains, free: this.#free };
  }

  #grow(): void {
    const slots = this.#numbers.length / WORDS;
    const numbers = new Float64Array(Math.max(SLOTS_MIN, Math.ceil(slots * GROWTH)) * WORDS);
    const integers = integersOf(numbers);
    integers.set(this.#integers);
    this.#numbers = numbers;
    this.#integers = integers;
    if (slots < this.#chains.length) return;
    this.#chains = new Int32Array(2 * this.#chains.length);
    for (let slot = 0; slot < slots; slot++) if (this.state(slot) !== STATE.free) this.#chain(slot);
  }

  #chain(slot: number): void {
    const at = (this.#integers[slot * INTEGERS + HASH_LOW] as number) & (this.#chains.length - 1);
    this.#integers[slot * INTEGERS + CHAIN] = this.#chains[at] as number;
    this.#chains[at] = slot + 1;
  }

  #unchain(slot: number): void {
    const integers = this.#integers;
    const at = (integers[slot * INTEGERS + HASH_LOW] as number) & (this.#chains.length - 1);
    const next = integers[slot * INTEGERS + CHAIN] as number;
    let other = this.#chains[at] as number;
    if (other === slot + 1) {
      this.#chains[at] = next;
      return;
    }
    for (;;) {
      const link = (other - 1) * INTEGERS + CHAIN;
      other = integers[link] as number;
      if (other !== slot + 1) continue;
      integers[link] = next;
      return;
    }
  }
}

const integersOf = (numbers: Float64Array): Int32Array =>
  new Int32Array(numbers.buffer, numbers.byteOffset, 2 * numbers.length);
