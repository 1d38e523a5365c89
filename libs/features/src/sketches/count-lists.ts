import { chunkOf, classOf, classSize, offsetOf, Slab, type SlabSnapshot } from "../memory/slab.ts";

/** Of the first unit of a list: how many entries it has, and the size class of its block. */
const LENGTH = 0;
const CLASS = 1;

/** Lists of (key, count), each in ascending order of its keys, in one slab. An entry is two integers, one unit. */
export class CountLists {
  readonly #slab: Slab;
  readonly #lengthMax: number;

  /** A list takes no new key when it has `lengthMax` of them. */
  constructor(lengthMax: number, snapshot: SlabSnapshot | null) {
    this.#slab = new Slab(1, snapshot);
    this.#lengthMax = lengthMax;
  }

  get byteLength(): number {
    return this.#slab.byteLength;
  }

  /** Counts a key once more; answers the list's address, which may be a new one. 0 is the empty list. */
  count(list: number, key: number): number {
    if (list === 0) {
      const made = this.#make(classOf(1 + 1));
      this.#insert(made, 0, key);
      return made;
    }
    const ints = this.#slab.ints[chunkOf(list)] as Int32Array;
    const base = offsetOf(list) * 2;
    const length = ints[base + LENGTH] as number;
    const i = indexOf(ints, base + 2, length, key);
    const at = base + 2 + 2 * i;
    if (i < length && ints[at] === key) {
      ints[at + 1] = (ints[at + 1] as number) + 1;
      return list;
    }
    if (length >= this.#lengthMax) return list;
    const roomy = this.#withRoom(list);
    this.#insert(roomy, i, key);
    return roomy;
  }

  free(list: number): void {
    if (list === 0) return;
    this.#slab.free(
      list,
      (this.#slab.ints[chunkOf(list)] as Int32Array)[offsetOf(list) * 2 + CLASS] as number,
    );
  }

  /** Entry i of a list is `intsOf(list)[startOf(list) + 2 * i]` and the count after it. */
  intsOf(list: number): Int32Array {
    return this.#slab.ints[chunkOf(list)] as Int32Array;
  }
  startOf(list: number): number {
    return offsetOf(list) * 2 + 2;
  }
  lengthOf(list: number): number {
    return list === 0 ? 0 : (this.intsOf(list)[offsetOf(list) * 2 + LENGTH] as number);
  }

  snapshot(): SlabSnapshot {
    return this.#slab.snapshot();
  }

  #make(sizeClass: number): number {
    const list = this.#slab.allocate(sizeClass);
    const ints = this.intsOf(list);
    ints[offsetOf(list) * 2 + LENGTH] = 0;
    ints[offsetOf(list) * 2 + CLASS] = sizeClass;
    return list;
  }

  /** The list itself where its block has room for one entry more, else a copy in a larger block. */
  #withRoom(list: number): number {
    const ints = this.intsOf(list);
    const base = offsetOf(list) * 2;
    const length = ints[base + LENGTH] as number;
    const sizeClass = ints[base + CLASS] as number;
    if (1 + length < classSize(sizeClass)) return list;
    const larger = this.#make(sizeClass + 1);
    const start = this.startOf(larger);
    this.intsOf(larger).set(ints.subarray(base + 2, base + 2 + 2 * length), start);
    this.intsOf(larger)[start - 2 + LENGTH] = length;
    this.#slab.free(list, sizeClass);
    return larger;
  }

  #insert(list: number, i: number, key: number): void {
    const ints = this.intsOf(list);
    const start = this.startOf(list);
    const length = ints[start - 2 + LENGTH] as number;
    ints.copyWithin(start + 2 * i + 2, start + 2 * i, start + 2 * length);
    ints[start + 2 * i] = key;
    ints[start + 2 * i + 1] = 1;
    ints[start - 2 + LENGTH] = length + 1;
  }
}

/** Index of the first entry whose key is not below `key`. */
function indexOf(ints: Int32Array, start: number, length: number, key: number): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ints[start + 2 * middle] as number) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
