import { hashBytes } from "../memory/hash-bytes.ts";
import {
  chunkOf,
  classOf,
  classSize,
  offsetOf,
  Slab,
  type SlabSnapshot,
  UNIT_BYTES,
} from "../memory/slab.ts";
import type { PaneSketch } from "./pane-sketch.ts";

/** 2^11 registers: a standard error of 1.04 / sqrt(2048) = 2.3 %. */
const INDEX_BITS = 11;
const REGISTERS: number = 1 << INDEX_BITS;
/** Bits of the hash that a register counts the leading zeros of; its values are 1 to 1 + RANK_BITS. */
const RANK_BITS = 32;
const RANK_FIELD = 6;
const DENSE_CLASS: number = classOf(1 + REGISTERS / UNIT_BYTES);
/** A sketch with more entries (integers) than this would be larger than all registers (bytes). */
const SPARSE_MAX: number = REGISTERS / 4 - 2;
const SECOND_SEED = 0x9747b28c;

/** Of the first unit of a sketch: how many entries it has (-1: all registers), and the size class of its block. */
const LENGTH = 0;
const CLASS = 1;
const DENSE = -1;

/** What a sketch takes of a value: the register that its hash names, and the rank of the hash in it, in one number. */
export function registerOf(bytes: Uint8Array, start: number, end: number): number {
  const index = hashBytes(bytes, start, end) >>> (32 - INDEX_BITS);
  return (index << RANK_FIELD) | (Math.clz32(hashBytes(bytes, start, end, SECOND_SEED)) + 1);
}

/**
 * How many different values there are, about 2 % off (HyperLogLog: Flajolet et al., 2007; estimator: Ertl, 2017,
 * algorithm 6). A small sketch is a list of registers in use, a large one all registers.
 */
export class HyperLogLog implements PaneSketch {
  readonly #slab: Slab;
  readonly #registers: Uint8Array = new Uint8Array(REGISTERS);
  /** How many registers have each value. */
  readonly #histogram: Int32Array = new Int32Array(RANK_BITS + 2);
  #empty = true;

  constructor(snapshot: SlabSnapshot | null) {
    this.#slab = new Slab(1, snapshot);
  }

  get byteLength(): number {
    return this.#slab.byteLength;
  }

  /** The value is a `registerOf`. */
  update(sketch: number, values: Float64Array, v: number): number {
    const value = values[v] as number;
    const grown = sketch === 0 ? this.#make(classOf(2), 0) : this.#withRoom(sketch);
    const ints = this.#slab.ints[chunkOf(grown)] as Int32Array;
    const base = offsetOf(grown) * 2;
    const length = ints[base + LENGTH] as number;
    const index = value >> RANK_FIELD;
    const rank = value & ((1 << RANK_FIELD) - 1);
    if (length === DENSE) {
      const bytes = this.#slab.bytes[chunkOf(grown)] as Uint8Array;
      const at = (offsetOf(grown) + 1) * UNIT_BYTES + index;
      if (rank > (bytes[at] as number)) bytes[at] = rank;
      return grown;
    }
    const start = base + 2;
    let i = 0;
    for (let high = length; i < high; ) {
      const middle = (i + high) >> 1;
      if ((ints[start + middle] as number) >> RANK_FIELD < index) i = middle + 1;
      else high = middle;
    }
    const at = start + i;
    if (i < length && (ints[at] as number) >> RANK_FIELD === index) {
      if (value > (ints[at] as number)) ints[at] = value;
      return grown;
    }
    ints.copyWithin(at + 1, at, start + length);
    ints[at] = value;
    ints[base + LENGTH] = length + 1;
    return grown;
  }

  free(sketch: number): void {
    if (sketch === 0) return;
    const ints = this.#slab.ints[chunkOf(sketch)] as Int32Array;
    this.#slab.free(sketch, ints[offsetOf(sketch) * 2 + CLASS] as number);
  }

  begin(): void {
    if (!this.#empty) this.#registers.fill(0);
    this.#empty = true;
  }

  combine(sketch: number): void {
    if (sketch === 0) return;
    this.#empty = false;
    const registers = this.#registers;
    const ints = this.#slab.ints[chunkOf(sketch)] as Int32Array;
    const base = offsetOf(sketch) * 2;
    const length = ints[base + LENGTH] as number;
    if (length === DENSE) {
      const bytes = this.#slab.bytes[chunkOf(sketch)] as Uint8Array;
      const start = (offsetOf(sketch) + 1) * UNIT_BYTES;
      for (let i = 0; i < REGISTERS; i++) {
        if ((bytes[start + i] as number) > (registers[i] as number))
          registers[i] = bytes[start + i] as number;
      }
      return;
    }
    for (let at = base + 2; at < base + 2 + length; at++) this.#raise(ints[at] as number);
  }

  include(values: Float64Array, v: number): void {
    this.#empty = false;
    this.#raise(values[v] as number);
  }

  answer(_parameter: number, totals: Float64Array, at: number): void {
    const histogram = this.#histogram.fill(0);
    for (let i = 0; i < REGISTERS; i++) {
      const rank = this.#registers[i] as number;
      histogram[rank] = (histogram[rank] as number) + 1;
    }
    totals[at] = this.#empty ? 0 : estimate(histogram);
  }

  snapshot(): SlabSnapshot {
    return this.#slab.snapshot();
  }

  #raise(value: number): void {
    const index = value >> RANK_FIELD;
    const rank = value & ((1 << RANK_FIELD) - 1);
    if (rank > (this.#registers[index] as number)) this.#registers[index] = rank;
  }

  #make(sizeClass: number, length: number): number {
    const sketch = this.#slab.allocate(sizeClass);
    const ints = this.#slab.ints[chunkOf(sketch)] as Int32Array;
    const base = offsetOf(sketch) * 2;
    ints[base + LENGTH] = length;
    ints[base + CLASS] = sizeClass;
    return sketch;
  }

  /** The sketch itself where its block has room for one entry more, else a copy in a larger block. */
  #withRoom(sketch: number): number {
    const ints = this.#slab.ints[chunkOf(sketch)] as Int32Array;
    const base = offsetOf(sketch) * 2;
    const length = ints[base + LENGTH] as number;
    const sizeClass = ints[base + CLASS] as number;
    if (length === DENSE || 2 + length < 2 * classSize(sizeClass)) return sketch;
    const dense = length >= SPARSE_MAX;
    const larger = this.#make(dense ? DENSE_CLASS : sizeClass + 1, dense ? DENSE : length);
    if (dense) {
      const bytes = this.#slab.bytes[chunkOf(larger)] as Uint8Array;
      const start = (offsetOf(larger) + 1) * UNIT_BYTES;
      bytes.fill(0, start, start + REGISTERS);
      for (let at = base + 2; at < base + 2 + length; at++) {
        const entry = ints[at] as number;
        bytes[start + (entry >> RANK_FIELD)] = entry & ((1 << RANK_FIELD) - 1);
      }
    } else {
      const into = this.#slab.ints[chunkOf(larger)] as Int32Array;
      into.set(ints.subarray(base + 2, base + 2 + length), offsetOf(larger) * 2 + 2);
    }
    this.#slab.free(sketch, sizeClass);
    return larger;
  }
}

/** Ertl's improved raw estimator over how many registers have each value 0..RANK_BITS + 1. */
function estimate(histogram: Int32Array): number {
  let z = REGISTERS * tau(1 - (histogram[RANK_BITS + 1] as number) / REGISTERS);
  for (let rank = RANK_BITS; rank >= 1; rank--) z = 0.5 * (z + (histogram[rank] as number));
  z += REGISTERS * sigma((histogram[0] as number) / REGISTERS);
  return (REGISTERS * REGISTERS) / (2 * Math.LN2 * z);
}

function sigma(share: number): number {
  if (share === 1) return Number.POSITIVE_INFINITY;
  let x = share;
  let y = 1;
  let z = x;
  for (let before = -1; before !== z; y += y) {
    x *= x;
    before = z;
    z += x * y;
  }
  return z;
}

function tau(share: number): number {
  if (share === 0 || share === 1) return 0;
  let x = share;
  let y = 1;
  let z = 1 - x;
  for (let before = -1; before !== z; ) {
    x = Math.sqrt(x);
    before = z;
    y *= 0.5;
    z -= (1 - x) ** 2 * y;
  }
  return z / 3;
}
