import type { PaneRange } from "./algebra/pane-algebra.ts";
import { chunkOf, classOf, classSize, offsetOf, Slab, type SlabSnapshot } from "./memory/slab.ts";

/**
 * What a key's record has, in integers: its block, the place of its oldest pane in it, how many panes there are, the
 * block's size class, and the number of the oldest pane, so that the pane itself need not be looked at.
 */
const BLOCK = 0;
const FIRST = 1;
const LENGTH = 2;
const CLASS = 3;
const OLDEST = 4;
export const STORE_INTS = 5;

/**
 * The panes of all keys on one level, those of a key one after the other in a block, in ascending order of their
 * numbers. A pane is `stride` units; its first integer is its number. A key is given by its record: `ints`, and `at`,
 * where it begins there, in units.
 */
export class PaneStore {
  readonly #slab: Slab;
  readonly #stride: number;
  readonly #header: number;
  /** The panes of the key that was located last. */
  readonly panes: PaneRange;

  /** `header` is where its integers begin in a record. */
  constructor(stride: number, header: number, snapshot: SlabSnapshot | null) {
    this.#slab = new Slab(stride, snapshot);
    this.#stride = stride;
    this.#header = header;
    this.panes = {
      floats: this.#slab.floats[0] as Float64Array,
      ints: this.#slab.ints[0] as Int32Array,
      newest: 0,
      oldest: 0,
      stride,
    };
  }

  get byteLength(): number {
    return this.#slab.byteLength;
  }

  /** Whether a key has a pane up to number `pane`. */
  reaches(ints: Int32Array, at: number, pane: number): boolean {
    const header = at * 2 + this.#header;
    return (ints[header + LENGTH] as number) > 0 && (ints[header + OLDEST] as number) <= pane;
  }

  /** Finds a key's panes. */
  locate(ints: Int32Array, at: number): void {
    const header = at * 2 + this.#header;
    const block = ints[header + BLOCK] as number;
    const chunk = chunkOf(block);
    const { panes } = this;
    const oldest = offsetOf(block) + (ints[header + FIRST] as number) * this.#stride;
    const floats = this.#slab.floats[chunk] as Float64Array;
    // To store what is there already costs more than to look.
    if (panes.floats !== floats) {
      panes.floats = floats;
      panes.ints = this.#slab.ints[chunk] as Int32Array;
    }
    panes.oldest = oldest;
    panes.newest = oldest + ((ints[header + LENGTH] as number) - 1) * this.#stride;
  }

  /** Where the newest located pane up to number `pane` begins; before the oldest where there is none. */
  search(pane: number): number {
    const { ints, oldest, newest } = this.panes;
    const stride = this.#stride;
    // Most questions are about the newest panes.
    if (newest < oldest || (ints[newest * 2] as number) <= pane) return newest;
    let low = 0;
    let high = (newest - oldest) / stride;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((ints[(oldest + middle * stride) * 2] as number) <= pane) low = middle + 1;
      else high = middle;
    }
    return oldest + (low - 1) * stride;
  }

  /** Where the located pane of a number begins; -1 where it is not there. */
  find(pane: number): number {
    const place = this.search(pane);
    return place >= this.panes.oldest && this.panes.ints[place * 2] === pane ? place : -1;
  }

  /** Makes a pane, zeros but for its number, that is not there; answers where it begins. The key stays located. */
  insert(ints: Int32Array, at: number, pane: number): number {
    this.#makeRoom(ints, at * 2 + this.#header);
    this.locate(ints, at);
    const { panes } = this;
    const place = this.search(pane) + this.#stride;
    const behind = panes.newest + this.#stride;
    if (place < behind) panes.floats.copyWithin(place + this.#stride, place, behind);
    for (let i = place; i < place + this.#stride; i++) panes.floats[i] = 0;
    panes.ints[place * 2] = pane;
    panes.newest = behind;
    const header = at * 2 + this.#header;
    ints[header + LENGTH] = (ints[header + LENGTH] as number) + 1;
    if (place === panes.oldest) ints[header + OLDEST] = pane;
    return place;
  }

  /** Takes the `count` oldest panes off the located key. */
  dropOldest(ints: Int32Array, at: number, count: number): void {
    const header = at * 2 + this.#header;
    const length = (ints[header + LENGTH] as number) - count;
    ints[header + LENGTH] = length;
    ints[header + FIRST] = length === 0 ? 0 : (ints[header + FIRST] as number) + count;
    this.panes.oldest += count * this.#stride;
    if (length > 0) ints[header + OLDEST] = this.panes.ints[this.panes.oldest * 2] as number;
  }

  /** Gives back room that a key does not need any more. Answers how many panes it has. */
  trim(ints: Int32Array, at: number): number {
    const header = at * 2 + this.#header;
    const length = ints[header + LENGTH] as number;
    if (ints[header + BLOCK] === 0) return length;
    if (length === 0) {
      this.#slab.free(ints[header + BLOCK] as number, ints[header + CLASS] as number);
      ints[header + BLOCK] = 0;
    } else if (classSize(ints[header + CLASS] as number) >= 4 * length) {
      this.#moveBlock(ints, header, classOf(length + 1));
    }
    return length;
  }

  /** Live arrays: to be copied or written before the store is used again. */
  snapshot(): SlabSnapshot {
    return this.#slab.snapshot();
  }

  /** Makes room for one pane behind the key's panes. */
  #makeRoom(ints: Int32Array, header: number): void {
    const first = ints[header + FIRST] as number;
    const length = ints[header + LENGTH] as number;
    if (ints[header + BLOCK] === 0) {
      ints[header + BLOCK] = this.#slab.allocate(0);
      ints[header + CLASS] = 0;
      ints[header + FIRST] = 0;
      return;
    }
    const sizeClass = ints[header + CLASS] as number;
    const capacity = classSize(sizeClass);
    if (first + length < capacity) return;
    // Moving to the front pays where it makes room for some panes to come; else the block is too small.
    if (4 * first < capacity) {
      this.#moveBlock(ints, header, sizeClass + 1);
      return;
    }
    const block = ints[header + BLOCK] as number;
    const start = offsetOf(block);
    const from = start + first * this.#stride;
    (this.#slab.floats[chunkOf(block)] as Float64Array).copyWithin(start, from, from + length * this.#stride);
    ints[header + FIRST] = 0;
  }

  /** Moves the key's panes to the front of a block of another class. */
  #moveBlock(ints: Int32Array, header: number, sizeClass: number): void {
    const block = ints[header + BLOCK] as number;
    const start = offsetOf(block) + (ints[header + FIRST] as number) * this.#stride;
    const end = start + (ints[header + LENGTH] as number) * this.#stride;
    const target = this.#slab.allocate(sizeClass);
    const from = this.#slab.floats[chunkOf(block)] as Float64Array;
    const into = this.#slab.floats[chunkOf(target)] as Float64Array;
    if (from === into) from.copyWithin(offsetOf(target), start, end);
    else into.set(from.subarray(start, end), offsetOf(target));
    this.#slab.free(block, ints[header + CLASS] as number);
    ints[header + BLOCK] = target;
    ints[header + FIRST] = 0;
    ints[header + CLASS] = sizeClass;
  }
}
