import { type HashPair, hashBytes } from "./id-hash.ts";

/** A window as plain data, part of a checkpoint: Uint32Array [2 x ids], the 64-bit hashes of its ids, oldest first. */
export type DedupSnapshot = Uint32Array;

/** Ids of a window unless the caller says otherwise. */
export const DEDUP_IDS_DEFAULT = 262_144;

const IDS_MIN = 256;
const utf8 = new TextEncoder();

/**
 * Remembers exactly the newest `idsMax` ids of one stream in one partition. What it answers depends on those ids
 * alone, so that it can be made anew from the newest `idsMax` accepted events. Of an id only a 64-bit hash is kept,
 * so that a new id is taken for a known one with a probability of less than 1.5e-14 (262,144 / 2^64) each. Memory:
 * 24 bytes per id held, rounded up to a power of two.
 */
export class DedupWindow {
  readonly #idsMax: number;
  readonly #hash: HashPair = new Uint32Array(2);
  /** The hashes in the order of their admission, in a ring once it is full. */
  #ring: Uint32Array;
  #size = 0;
  /** Where in the ring the oldest id is, counted in ids; 0 until the window is full. */
  #oldest = 0;
  /** The same hashes with open addressing, at most half full. A first half of 0 marks an empty slot. */
  #slots: Uint32Array;
  #mask: number;

  /** Of a snapshot with more ids than `idsMax` the newest are taken. */
  constructor(idsMax: number = DEDUP_IDS_DEFAULT, snapshot: DedupSnapshot = new Uint32Array(0)) {
    this.#idsMax = idsMax;
    const kept = snapshot.subarray(Math.max(0, snapshot.length - 2 * idsMax));
    const capacity = capacityFor(kept.length / 2, idsMax);
    this.#ring = new Uint32Array(2 * capacity);
    this.#slots = new Uint32Array(2 * slotsFor(capacity));
    this.#mask = this.#slots.length / 2 - 1;
    for (let i = 0; i < kept.length; i += 2) this.#add(kept[i] as number, kept[i + 1] as number);
  }

  /** True when the id is not remembered; it is from then on. */
  admit(id: string): boolean {
    const bytes = utf8.encode(id);
    return this.admitBytes(bytes, 0, bytes.length);
  }

  /** `admit` for an id given as UTF-8, `bytes[from..until)`. */
  admitBytes(bytes: Uint8Array, from: number, until: number): boolean {
    hashBytes(bytes, from, until, this.#hash);
    return this.#add(this.#hash[0] as number, this.#hash[1] as number);
  }

  /** Whether the id, given as UTF-8, is remembered. */
  hasBytes(bytes: Uint8Array, from: number, until: number): boolean {
    hashBytes(bytes, from, until, this.#hash);
    return this.#slots[this.#find(this.#hash[0] as number, this.#hash[1] as number)] !== 0;
  }

  snapshot(): DedupSnapshot {
    const newest = this.#ring.subarray(0, 2 * this.#oldest);
    const hashes = new Uint32Array(2 * this.#size);
    hashes.set(this.#ring.subarray(2 * this.#oldest, 2 * this.#size));
    hashes.set(newest, hashes.length - newest.length);
    return hashes;
  }

  #add(high: number, low: number): boolean {
    let slot = this.#find(high, low);
    if (this.#slots[slot] !== 0) return false;
    let at = 2 * this.#size;
    if (this.#size === this.#idsMax) {
      at = 2 * this.#oldest;
      this.#remove(this.#ring[at] as number, this.#ring[at + 1] as number);
      this.#oldest = this.#oldest + 1 === this.#idsMax ? 0 : this.#oldest + 1;
      slot = this.#find(high, low);
    } else {
      if (at === this.#ring.length) {
        this.#grow();
        slot = this.#find(high, low);
      }
      this.#size++;
    }
    this.#ring[at] = high;
    this.#ring[at + 1] = low;
    this.#slots[slot] = high;
    this.#slots[slot + 1] = low;
    return true;
  }

  #grow(): void {
    const capacity = capacityFor(this.#size + 1, this.#idsMax);
    const ring = new Uint32Array(2 * capacity);
    ring.set(this.#ring);
    this.#slots = new Uint32Array(2 * slotsFor(capacity));
    this.#mask = this.#slots.length / 2 - 1;
    for (let i = 0; i < this.#ring.length; i += 2) {
      const slot = this.#find(ring[i] as number, ring[i + 1] as number);
      this.#slots[slot] = ring[i] as number;
      this.#slots[slot + 1] = ring[i + 1] as number;
    }
    this.#ring = ring;
  }

  /** Where the hash is, or the empty slot where it belongs. */
  #find(high: number, low: number): number {
    const slots = this.#slots;
    for (let slot = low & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const found = slots[2 * slot] as number;
      if (found === 0 || (found === high && slots[2 * slot + 1] === low)) return 2 * slot;
    }
  }

  /** Closes the gap behind it (D. Knuth, TAOCP 6.4, algorithm R): what was pushed beyond its own slot moves up. */
  #remove(high: number, low: number): void {
    const slots = this.#slots;
    const mask = this.#mask;
    let gap = this.#find(high, low) / 2;
    for (let slot = (gap + 1) & mask; slots[2 * slot] !== 0; slot = (slot + 1) & mask) {
      const home = (slots[2 * slot + 1] as number) & mask;
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      slots[2 * gap] = slots[2 * slot] as number;
      slots[2 * gap + 1] = slots[2 * slot + 1] as number;
      gap = slot;
    }
    slots[2 * gap] = 0;
    slots[2 * gap + 1] = 0;
  }
}

/** Ids that the ring has room for when it holds so many. */
function capacityFor(ids: number, idsMax: number): number {
  return Math.min(idsMax, Math.max(IDS_MIN, 2 ** Math.ceil(Math.log2(ids))));
}

function slotsFor(capacity: number): number {
  return 2 ** Math.ceil(Math.log2(2 * capacity));
}
