/** The ids of one generation, as 64-bit hashes: two numbers per id, in no particular order. */
export type Generation = Uint32Array;

/** A window as plain data, part of a checkpoint: the generation being filled, and the one before. */
export interface DedupSnapshot {
  readonly current: Generation;
  readonly previous: Generation;
}

/** Ids per generation unless the caller says otherwise. */
export const DEDUP_IDS_DEFAULT = 262_144;

/**
 * Remembers the ids of one stream in one partition. It holds between `idsMax` and twice as many ids, the newest
 * ones: ids go into the current generation; when that is full it becomes the previous one, and the oldest is
 * forgotten. Of an id only a 64-bit hash is kept, so that a new id is taken for a known one with a probability of
 * less than 3e-14 (2 * 262,144 / 2^64) each. Memory: 32 bytes per id of `idsMax`, at most. The same ids in the
 * same order give the same answers, also across a snapshot.
 */
export class DedupWindow {
  readonly #idsMax: number;
  #current: HashSet;
  #previous: HashSet;

  /** Throws a RangeError when the snapshot holds more ids than `idsMax` per generation. */
  constructor(idsMax: number = DEDUP_IDS_DEFAULT, snapshot?: DedupSnapshot) {
    this.#idsMax = idsMax;
    this.#current = new HashSet(idsMax, snapshot?.current);
    this.#previous = new HashSet(idsMax, snapshot?.previous);
  }

  /** True when the id is not remembered; it is from then on. */
  admit(id: string): boolean {
    const [high, low] = hash(id);
    if (this.#previous.has(high, low) || !this.#current.add(high, low)) return false;
    if (this.#current.size === this.#idsMax) {
      const oldest = this.#previous;
      this.#previous = this.#current;
      this.#current = oldest;
      oldest.clear();
    }
    return true;
  }

  snapshot(): DedupSnapshot {
    return { current: this.#current.hashes(), previous: this.#previous.hashes() };
  }
}

/** A set of 64-bit hashes with open addressing, at most half full. The hash 0 marks an empty slot. */
class HashSet {
  size = 0;
  readonly #slots: Uint32Array;
  readonly #mask: number;

  constructor(idsMax: number, hashes: Generation = new Uint32Array(0)) {
    if (hashes.length > 2 * idsMax) {
      throw new RangeError(`a snapshot of ${hashes.length / 2} ids does not fit a window of ${idsMax}`);
    }
    const slots = 2 ** Math.ceil(Math.log2(2 * idsMax));
    this.#slots = new Uint32Array(2 * slots);
    this.#mask = slots - 1;
    for (let i = 0; i < hashes.length; i += 2) this.add(hashes[i] as number, hashes[i + 1] as number);
  }

  has(high: number, low: number): boolean {
    return this.#slots[this.#find(high, low)] !== 0;
  }

  /** False when it was there already. */
  add(high: number, low: number): boolean {
    const at = this.#find(high, low);
    if (this.#slots[at] !== 0) return false;
    this.#slots[at] = high;
    this.#slots[at + 1] = low;
    this.size++;
    return true;
  }

  clear(): void {
    this.#slots.fill(0);
    this.size = 0;
  }

  hashes(): Generation {
    const hashes = new Uint32Array(2 * this.size);
    let to = 0;
    for (let at = 0; at < this.#slots.length; at += 2) {
      if (this.#slots[at] === 0) continue;
      hashes[to++] = this.#slots[at] as number;
      hashes[to++] = this.#slots[at + 1] as number;
    }
    return hashes;
  }

  /** Where the hash is, or the empty slot where it belongs. */
  #find(high: number, low: number): number {
    for (let slot = low & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = 2 * slot;
      const found = this.#slots[at] as number;
      if (found === 0 || (found === high && this.#slots[at + 1] === low)) return at;
    }
  }
}

/**
 * 64 bits of a text as two unsigned 32-bit numbers, the first never 0: two lanes of MurmurHash3 (A. Appleby, x86
 * 32-bit, public domain) over the UTF-16 code units, with different seeds and constants, mixed at the end.
 */
function hash(text: string): readonly [high: number, low: number] {
  let a = 0x9747b28c;
  let b = 0x3c6ef372;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    let k = Math.imul(unit, 0xcc9e2d51);
    k = (k << 15) | (k >>> 17);
    a ^= Math.imul(k, 0x1b873593);
    a = (a << 13) | (a >>> 19);
    a = (Math.imul(a, 5) + 0xe6546b64) | 0;
    k = Math.imul(unit, 0x38b34ae5);
    k = (k << 16) | (k >>> 16);
    b ^= Math.imul(k, 0xa1e38b93);
    b = (b << 17) | (b >>> 15);
    b = (Math.imul(b, 5) + 0x561ccd1b) | 0;
  }
  a = finish(a ^ text.length);
  b = finish(b ^ text.length);
  a = (a + b) | 0;
  b = (b + a) | 0;
  return [a >>> 0 || 1, b >>> 0];
}

function finish(h: number): number {
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}
