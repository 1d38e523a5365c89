import { hashBytes } from "./hash-bytes.ts";
import { IntTable, type IntTableSnapshot } from "./int-table.ts";
import { chunkOf, classOf, offsetOf, Slab, type SlabSnapshot, UNIT_BYTES } from "./slab.ts";

/** Integers before a text's bytes: hash, length in bytes, references, the next text with the same hash. */
const HASH = 0;
const LENGTH = 1;
const REFERENCES = 2;
const NEXT = 3;
const HEADER_UNITS = 2;
const HEADER_BYTES = HEADER_UNITS * UNIT_BYTES;

export interface TextTableSnapshot {
  readonly slab: SlabSnapshot;
  readonly codes: IntTableSnapshot;
  readonly size: number;
}

/**
 * Texts (and numbers, as their eight bytes) that keys and values are made of, each once, under a code: a positive
 * integer that stays the same as long as somebody refers to it. Makes no objects.
 */
export class TextTable {
  readonly #slab: Slab;
  /** From a text's hash to the first text with it. */
  readonly #codes: IntTable;
  readonly #key = new Int32Array(1);
  readonly #number = new Float64Array(1);
  readonly #numberBytes: Uint8Array = new Uint8Array(this.#number.buffer);
  #size: number;

  constructor(snapshot: TextTableSnapshot | null) {
    this.#slab = new Slab(1, snapshot?.slab ?? null);
    this.#codes = new IntTable(1, 1, snapshot?.codes ?? null);
    this.#size = snapshot?.size ?? 0;
  }

  /** How many texts there are. */
  get size(): number {
    return this.#size;
  }

  get byteLength(): number {
    return this.#slab.byteLength + this.#codes.byteLength;
  }

  /** The code of `bytes[start..end)`; 0 when it is not there. */
  find(bytes: Uint8Array, start: number, end: number): number {
    this.#key[0] = hashBytes(bytes, start, end) || 1;
    const at = this.#codes.find(this.#key);
    if (at < 0) return 0;
    let code = this.#codes.entries[at + 1] as number;
    while (code !== 0 && !this.#is(code, bytes, start, end)) code = this.#header(code, NEXT);
    return code;
  }

  /** The code of `bytes[start..end)`, which is added where it is not there, with one reference more. */
  intern(bytes: Uint8Array, start: number, end: number): number {
    const found = this.find(bytes, start, end);
    if (found !== 0) {
      this.retain(found);
      return found;
    }
    const length = end - start;
    const code = this.#slab.allocate(sizeClassOf(length));
    const at = this.#codes.find(this.#key);
    const slot = at < 0 ? this.#codes.insert(this.#key) : at;
    const ints = this.#slab.ints[chunkOf(code)] as Int32Array;
    const header = offsetOf(code) * 2;
    ints[header + HASH] = this.#key[0] as number;
    ints[header + LENGTH] = length;
    ints[header + REFERENCES] = 1;
    ints[header + NEXT] = this.#codes.entries[slot + 1] as number;
    this.#codes.entries[slot + 1] = code;
    const into = this.#slab.bytes[chunkOf(code)] as Uint8Array;
    const to = this.startOf(code);
    for (let i = 0; i < length; i++) into[to + i] = bytes[start + i] as number;
    this.#size++;
    return code;
  }

  /** The code of a number; 0 when it is not there. */
  findNumber(value: number): number {
    this.#number[0] = value + 0; // -0 is 0
    return this.find(this.#numberBytes, 0, UNIT_BYTES);
  }

  internNumber(value: number): number {
    this.#number[0] = value + 0;
    return this.intern(this.#numberBytes, 0, UNIT_BYTES);
  }

  /** One reference more. */
  retain(code: number): void {
    const ints = this.#slab.ints[chunkOf(code)] as Int32Array;
    const at = offsetOf(code) * 2 + REFERENCES;
    ints[at] = (ints[at] as number) + 1;
  }

  /** One reference less; a text without any is forgotten. */
  release(code: number): void {
    const ints = this.#slab.ints[chunkOf(code)] as Int32Array;
    const at = offsetOf(code) * 2 + REFERENCES;
    ints[at] = (ints[at] as number) - 1;
    if (ints[at] === 0) this.#forget(code);
  }

  /** Where a text lies: `bytesOf(code)[startOf(code)..endOf(code))`. */
  bytesOf(code: number): Uint8Array {
    return this.#slab.bytes[chunkOf(code)] as Uint8Array;
  }
  startOf(code: number): number {
    return offsetOf(code) * UNIT_BYTES + HEADER_BYTES;
  }
  endOf(code: number): number {
    return this.startOf(code) + this.#header(code, LENGTH);
  }

  /** Live arrays: to be copied or written before the table is used again. */
  snapshot(): TextTableSnapshot {
    return { slab: this.#slab.snapshot(), codes: this.#codes.snapshot(), size: this.#size };
  }

  #header(code: number, field: number): number {
    return (this.#slab.ints[chunkOf(code)] as Int32Array)[offsetOf(code) * 2 + field] as number;
  }

  #is(code: number, bytes: Uint8Array, start: number, end: number): boolean {
    const length = end - start;
    if (this.#header(code, LENGTH) !== length) return false;
    const known = this.#slab.bytes[chunkOf(code)] as Uint8Array;
    const from = this.startOf(code);
    for (let i = 0; i < length; i++) if (known[from + i] !== bytes[start + i]) return false;
    return true;
  }

  #forget(code: number): void {
    const codes = this.#codes;
    this.#key[0] = this.#header(code, HASH);
    const next = this.#header(code, NEXT);
    const at = codes.find(this.#key);
    const first = codes.entries[at + 1] as number;
    if (first === code) {
      if (next === 0) codes.remove(at);
      else codes.entries[at + 1] = next;
    } else {
      let before = first;
      while (this.#header(before, NEXT) !== code) before = this.#header(before, NEXT);
      (this.#slab.ints[chunkOf(before)] as Int32Array)[offsetOf(before) * 2 + NEXT] = next;
    }
    this.#slab.free(code, sizeClassOf(this.#header(code, LENGTH)));
    this.#size--;
  }
}

function sizeClassOf(length: number): number {
  return classOf(HEADER_UNITS + Math.ceil(length / UNIT_BYTES));
}
