import { chunkOf, offsetOf, Slab, type SlabSnapshot } from "./slab.ts";

/** A segment holds so many places for entries. */
const PLACES_BITS = 10;
const PLACES = 1 << PLACES_BITS;
/** A segment that is fuller than this is split in two. */
const FILLED_MAX = PLACES * 0.85;
/** The directory takes the low bits of a hash, places in a segment the high ones. */
const DEPTH_MAX = 32 - PLACES_BITS;
/** Of a segment's header: how many entries it holds, and by how many bits of the hash. */
const COUNT = 0;
const DEPTH = 1;
const HEADER = 2;

export interface IntTableSnapshot {
  readonly slab: SlabSnapshot;
  readonly directory: Int32Array;
  readonly segments: Int32Array;
}

/**
 * A hash table of small integers in place: each entry is `keyInts` integers of a key, the first of which is not 0, and
 * `valueInts` of a value. Extendible hashing (Fagin et al., 1979): a full segment is split and the others stay, so
 * that growing makes no pause. Within a segment entries lie by linear probing.
 */
export class IntTable {
  readonly #keyInts: number;
  readonly #width: number;
  readonly #slab: Slab;
  /** Address of the segment for the low bits of a hash; its length is a power of two. */
  #directory: Int32Array;
  /** Addresses of all segments, in the order in which they were made. */
  #segments: Int32Array;
  #segmentCount: number;
  #size = 0;
  readonly #scratch: Int32Array;
  /** The array that the last answer of `find`, `insert` and `visit` is an index of. */
  entries: Int32Array;

  constructor(keyInts: number, valueInts: number, snapshot: IntTableSnapshot | null) {
    this.#keyInts = keyInts;
    this.#width = keyInts + valueInts;
    // A header, and the places; one item of the slab is one segment.
    this.#slab = new Slab(1 + Math.ceil((PLACES * this.#width) / 2), snapshot?.slab ?? null);
    this.#scratch = new Int32Array(PLACES * this.#width);
    this.entries = this.#slab.ints[0] as Int32Array;
    if (snapshot === null) {
      this.#segments = new Int32Array(4);
      this.#segmentCount = 0;
      this.#directory = Int32Array.of(this.#addSegment(0));
      return;
    }
    this.#directory = snapshot.directory;
    this.#segments = snapshot.segments;
    this.#segmentCount = snapshot.segments.length;
    for (const segment of snapshot.segments) {
      this.#size += (this.#slab.ints[chunkOf(segment)] as Int32Array)[
        offsetOf(segment) * 2 + COUNT
      ] as number;
    }
  }

  /** How many entries there are. */
  get size(): number {
    return this.#size;
  }

  /** How many places there are for entries: what `visit` takes. */
  get places(): number {
    return this.#segmentCount * PLACES;
  }

  get byteLength(): number {
    return this.#slab.byteLength + this.#directory.byteLength + this.#segments.byteLength;
  }

  /** Index in `entries` of the entry with the key `key[0..keyInts)`; -1 when there is none. */
  find(key: Int32Array): number {
    const hash = this.#hash(key, 0);
    const segment = this.#directory[hash & (this.#directory.length - 1)] as number;
    const entries = this.#slab.ints[chunkOf(segment)] as Int32Array;
    const base = offsetOf(segment) * 2 + HEADER;
    const width = this.#width;
    const first = key[0] as number;
    for (let place = hash >>> DEPTH_MAX; ; place = (place + 1) & (PLACES - 1)) {
      const at = base + place * width;
      const found = entries[at] as number;
      if (found === 0) return -1;
      if (found === first && this.#isSame(entries, at, key)) {
        if (this.entries !== entries) this.entries = entries;
        return at;
      }
    }
  }

  /** Adds an entry whose key is not there yet; its value is 0. Answers its index in `entries`. */
  insert(key: Int32Array): number {
    const hash = this.#hash(key, 0);
    for (;;) {
      const slot = hash & (this.#directory.length - 1);
      const segment = this.#directory[slot] as number;
      const entries = this.#slab.ints[chunkOf(segment)] as Int32Array;
      const header = offsetOf(segment) * 2;
      if ((entries[header + COUNT] as number) >= FILLED_MAX) {
        this.#split(slot);
        continue;
      }
      entries[header + COUNT] = (entries[header + COUNT] as number) + 1;
      this.#size++;
      this.entries = entries;
      return this.#place(entries, header + HEADER, hash, key, 0);
    }
  }

  /** Removes the entry at an index of `entries` as `find` or `visit` answered it; others of its segment may move. */
  remove(at: number): void {
    const { entries } = this;
    const width = this.#width;
    const segment = this.#directory[this.#hash(entries, at) & (this.#directory.length - 1)] as number;
    const header = offsetOf(segment) * 2;
    const base = header + HEADER;
    entries[header + COUNT] = (entries[header + COUNT] as number) - 1;
    this.#size--;
    // Those that follow move up, so that no search stops at the gap (Knuth, volume 3, algorithm 6.4R).
    let gap = (at - base) / width;
    for (let place = (gap + 1) & (PLACES - 1); ; place = (place + 1) & (PLACES - 1)) {
      const from = base + place * width;
      if (entries[from] === 0) break;
      const ideal = this.#hash(entries, from) >>> DEPTH_MAX;
      if (((place - ideal) & (PLACES - 1)) < ((place - gap) & (PLACES - 1))) continue;
      entries.copyWithin(base + gap * width, from, from + width);
      gap = place;
    }
    entries.fill(0, base + gap * width, base + (gap + 1) * width);
  }

  /** Index in `entries` of what lies at a place 0..places-1; -1 when it is empty. */
  visit(place: number): number {
    const segment = this.#segments[place >>> PLACES_BITS] as number;
    this.entries = this.#slab.ints[chunkOf(segment)] as Int32Array;
    const at = offsetOf(segment) * 2 + HEADER + (place & (PLACES - 1)) * this.#width;
    return this.entries[at] === 0 ? -1 : at;
  }

  /** Live arrays: to be copied or written before the table is used again. */
  snapshot(): IntTableSnapshot {
    return {
      slab: this.#slab.snapshot(),
      directory: this.#directory,
      segments: this.#segments.slice(0, this.#segmentCount),
    };
  }

  /** Murmur3's mixing (Appleby, 2011) over the integers of a key. */
  #hash(ints: Int32Array, at: number): number {
    let hash = 0;
    for (let i = 0; i < this.#keyInts; i++) {
      hash = Math.imul(hash ^ (ints[at + i] as number), 0x85ebca6b);
      hash ^= hash >>> 13;
    }
    hash = Math.imul(hash, 0xc2b2ae35);
    return hash ^ (hash >>> 16);
  }

  #isSame(entries: Int32Array, at: number, key: Int32Array): boolean {
    for (let i = 1; i < this.#keyInts; i++) if (entries[at + i] !== key[i]) return false;
    return true;
  }

  /** Puts `from[at..]`, a key or a whole entry, into the first free place for its hash. */
  #place(entries: Int32Array, base: number, hash: number, from: Int32Array, at: number): number {
    const width = this.#width;
    let place = hash >>> DEPTH_MAX;
    while (entries[base + place * width] !== 0) place = (place + 1) & (PLACES - 1);
    const to = base + place * width;
    const length = from === this.#scratch ? width : this.#keyInts;
    for (let i = 0; i < length; i++) entries[to + i] = from[at + i] as number;
    return to;
  }

  /** Splits the segment of a directory slot by the next bit of the hash. */
  #split(slot: number): void {
    const segment = this.#directory[slot] as number;
    const entries = this.#slab.ints[chunkOf(segment)] as Int32Array;
    const header = offsetOf(segment) * 2;
    const base = header + HEADER;
    const depth = entries[header + DEPTH] as number;
    if (depth === DEPTH_MAX) throw new RangeError("too many keys have the same hash");
    if (1 << depth === this.#directory.length) {
      const doubled = new Int32Array(2 * this.#directory.length);
      doubled.set(this.#directory);
      doubled.set(this.#directory, this.#directory.length);
      this.#directory = doubled;
    }
    const other = this.#addSegment(depth + 1);
    for (let i = 0; i < this.#directory.length; i++) {
      if (this.#directory[i] === segment && (i >>> depth) & 1) this.#directory[i] = other;
    }
    const width = this.#width;
    const scratch = this.#scratch;
    scratch.set(entries.subarray(base, base + scratch.length));
    entries.fill(0, base, base + scratch.length);
    entries[header + COUNT] = 0;
    entries[header + DEPTH] = depth + 1;
    const otherEntries = this.#slab.ints[chunkOf(other)] as Int32Array;
    const otherHeader = offsetOf(other) * 2;
    for (let at = 0; at < scratch.length; at += width) {
      if (scratch[at] === 0) continue;
      const hash = this.#hash(scratch, at);
      const [into, head] = (hash >>> depth) & 1 ? [otherEntries, otherHeader] : [entries, header];
      into[head + COUNT] = (into[head + COUNT] as number) + 1;
      this.#place(into, head + HEADER, hash, scratch, at);
    }
  }

  #addSegment(depth: number): number {
    const segment = this.#slab.allocate(0);
    (this.#slab.ints[chunkOf(segment)] as Int32Array)[offsetOf(segment) * 2 + DEPTH] = depth;
    if (this.#segmentCount === this.#segments.length) {
      const grown = new Int32Array(2 * this.#segments.length);
      grown.set(this.#segments);
      this.#segments = grown;
    }
    this.#segments[this.#segmentCount++] = segment;
    return segment;
  }
}
