/** An address counts units of 8 bytes: the chunk above, the place in it below. 0 is no address. */
const OFFSET_BITS = 22;
const OFFSET_MASK = (1 << OFFSET_BITS) - 1;
/** Largest block, in units: 32 MiB. */
export const BLOCK_UNITS_MAX: number = 1 << OFFSET_BITS;

/** Chunks double in size from the first to the last: little for a small state, no large copies for a large one. */
const FIRST_UNITS = 1 << 12;
const LAST_UNITS = 1 << 20;
const CLASSES = 48;

export const UNIT_BYTES = 8;

/** A slab as plain data: its chunks as they are. */
export interface SlabSnapshot {
  readonly chunks: readonly Float64Array[];
  /** Where the next new block begins in the last chunk, which is cut there. */
  readonly next: number;
  readonly free: Int32Array;
}

/**
 * Memory for very many small blocks that grow and are given back, in a few large arrays. Blocks come in size classes
 * of 1, 2, 3, 4, 6, 8, 12, 16, ... items of `itemUnits` units; what is given back is used again for blocks of the same
 * class. A chunk never moves, so that growing makes no pause.
 */
export class Slab {
  readonly itemUnits: number;
  /** The same chunks seen as doubles, as integers and as bytes. */
  readonly floats: Float64Array[] = [];
  readonly ints: Int32Array[] = [];
  readonly bytes: Uint8Array[] = [];
  /** First block of each class that was given back; the first integer of each names the next. */
  readonly #free: Int32Array;
  /** Where the next new block begins in the last chunk, in units. */
  #next: number;

  constructor(itemUnits: number, snapshot: SlabSnapshot | null) {
    this.itemUnits = itemUnits;
    this.#free = snapshot?.free ?? new Int32Array(CLASSES);
    this.#next = snapshot?.next ?? 0;
    const chunks = snapshot?.chunks ?? [];
    chunks.forEach((chunk, i) => this.#adopt(i === chunks.length - 1 ? withRoom(chunk, i) : chunk));
    if (this.floats.length === 0) {
      this.#adopt(new Float64Array(FIRST_UNITS));
      this.#next = 1; // address 0 is none
    }
  }

  /** Bytes of all chunks. */
  get byteLength(): number {
    return this.floats.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  }

  /** The address of a block of the class. What it holds is left over from its last use. */
  allocate(sizeClass: number): number {
    const reused = this.#free[sizeClass] as number;
    if (reused !== 0) {
      this.#free[sizeClass] = (this.ints[reused >>> OFFSET_BITS] as Int32Array)[
        (reused & OFFSET_MASK) * 2
      ] as number;
      return reused;
    }
    const units = classSize(sizeClass) * this.itemUnits;
    let chunk = this.floats.length - 1;
    if (this.#next + units > (this.floats[chunk] as Float64Array).length) {
      this.#grow(units);
      chunk++;
    }
    const address = (chunk << OFFSET_BITS) | this.#next;
    this.#next += units;
    return address;
  }

  /** Gives back a block of the class. */
  free(address: number, sizeClass: number): void {
    (this.ints[address >>> OFFSET_BITS] as Int32Array)[(address & OFFSET_MASK) * 2] = this.#free[
      sizeClass
    ] as number;
    this.#free[sizeClass] = address;
  }

  /** Live arrays: to be copied or written before the slab is used again. */
  snapshot(): SlabSnapshot {
    const last = this.floats.length - 1;
    return {
      chunks: this.floats.map((chunk, i) => (i === last ? chunk.slice(0, this.#next) : chunk)),
      next: this.#next,
      free: this.#free,
    };
  }

  #grow(units: number): void {
    const last = (this.floats.at(-1) as Float64Array).length;
    if (units > BLOCK_UNITS_MAX || this.floats.length >= 1 << (31 - OFFSET_BITS)) {
      throw new RangeError(
        `${units * UNIT_BYTES} bytes do not fit beside ${this.byteLength}: use more partitions, shorter windows or longer panes`,
      );
    }
    this.#adopt(new Float64Array(Math.max(units, Math.min(Math.max(2 * last, FIRST_UNITS), LAST_UNITS))));
    this.#next = 0;
  }

  #adopt(chunk: Float64Array): void {
    const { buffer, byteOffset, byteLength } = chunk;
    this.floats.push(chunk);
    this.ints.push(new Int32Array(buffer, byteOffset, byteLength / 4));
    this.bytes.push(new Uint8Array(buffer, byteOffset, byteLength));
  }
}

/** The last chunk with the room that it had: else each snapshot would cost a chunk, and their number has a bound. */
function withRoom(chunk: Float64Array, index: number): Float64Array {
  const units = Math.min(FIRST_UNITS * 2 ** index, LAST_UNITS);
  if (chunk.length >= units) return chunk;
  const roomy = new Float64Array(units);
  roomy.set(chunk);
  return roomy;
}

/** Which chunk an address lies in. */
export function chunkOf(address: number): number {
  return address >>> OFFSET_BITS;
}

/** Where it lies in its chunk, in units. */
export function offsetOf(address: number): number {
  return address & OFFSET_MASK;
}

/** Items of a block of the class: 1, 2, 3, 4, 6, 8, 12, ... */
export function classSize(sizeClass: number): number {
  return sizeClass === 0 ? 1 : (2 + ((sizeClass - 1) & 1)) << ((sizeClass - 1) >> 1);
}

/** Smallest class whose blocks hold so many items (at least 1). */
export function classOf(items: number): number {
  if (items <= 1) return 0;
  // 2^e <= items - 1 < 2^(e + 1): then 3 * 2^(e - 1) is the step between 2^e and 2^(e + 1).
  const e = 31 - Math.clz32(items - 1);
  const half = e === 0 ? 2 : 3 << (e - 1);
  return items <= half ? (e === 0 ? 1 : 2 * e) : 2 * e + 1;
}
