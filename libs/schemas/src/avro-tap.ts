import { PayloadError } from "./schema.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes of a whole number that a double certainly holds: 7 groups of 7 bits. */
const SMALL_GROUPS = 7;
const GROUPS_MAX = 10;
/** Values that take no bytes, such as nulls in a list. */
const EMPTY_VALUES_MAX = 1_000;
/** Records, lists and maps within each other. */
const DEPTH_MAX = 64;

/**
 * Reads Avro's binary encoding (specification 1.12, "Binary encoding") from bytes. Nothing is made that the bytes left
 * do not pay for: a length beyond them is refused before anything is allocated. Every method throws a PayloadError
 * where the bytes are not what it reads.
 */
export class AvroTap {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  #depth = 0;
  /** Values of lists and maps that may still be read. */
  #valuesLeft: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#valuesLeft = bytes.length + EMPTY_VALUES_MAX;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** Runs `read` one level deeper. */
  within<T>(read: () => T): T {
    if (++this.#depth > DEPTH_MAX) throw new PayloadError(`nested deeper than ${DEPTH_MAX}`);
    const value = read();
    this.#depth--;
    return value;
  }

  boolean(): boolean {
    const byte = this.#byte();
    if (byte > 1) throw new PayloadError(`a boolean is ${byte}`);
    return byte === 1;
  }

  int(): number {
    const value = this.long();
    if (typeof value === "bigint" || value !== (value | 0)) throw new PayloadError(`an int is ${value}`);
    return value;
  }

  /** A bigint where it is beyond the safe integers. */
  long(): number | bigint {
    const start = this.#at;
    let value = 0;
    for (let group = 0, scale = 1; group < SMALL_GROUPS; group++, scale *= 128) {
      const byte = this.#byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
    this.#at = start;
    return this.#bigLong();
  }

  #bigLong(): number | bigint {
    let value = 0n;
    for (let group = 0; group < GROUPS_MAX; group++) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << BigInt(7 * group);
      if (byte >= 0x80) continue;
      if (value >= 1n << 64n) break;
      const signed = (value >> 1n) ^ -(value & 1n);
      return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
    }
    throw new PayloadError("a long has more than 64 bits");
  }

  float(): number {
    return this.#view.getFloat32(this.#take(4), true);
  }

  double(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }

  /** A view. */
  fixed(size: number): Uint8Array {
    const from = this.#take(size);
    return this.#bytes.subarray(from, from + size);
  }

  /** A view. */
  bytes(): Uint8Array {
    return this.fixed(this.#count("bytes"));
  }

  string(): string {
    const bytes = this.fixed(this.#count("a string"));
    try {
      return utf8.decode(bytes);
    } catch (error) {
      throw new PayloadError("a string is not UTF-8", { cause: error });
    }
  }

  /** The number of one of so many things: symbols of an enum, branches of a union. */
  index(count: number): number {
    const value = this.long();
    if (typeof value === "bigint" || value < 0 || value >= count) {
      throw new PayloadError(`number ${value} of ${count} does not exist`);
    }
    return value;
  }

  /** Reads the blocks of a list or a map, calling `item` for each of their values. */
  blocks(item: () => void): void {
    for (;;) {
      let count = this.long();
      if (count === 0) return;
      if (count < 0) {
        this.long(); // the block's size in bytes, for those who skip it
        count = -count;
      }
      if (typeof count === "bigint" || count > this.#valuesLeft) {
        throw new PayloadError(`a block has ${count} values, more than its bytes can hold`);
      }
      this.#valuesLeft -= count;
      for (let i = 0; i < count; i++) item();
    }
  }

  #count(what: string): number {
    const length = this.long();
    if (typeof length === "bigint" || length < 0) throw new PayloadError(`${what} has a length of ${length}`);
    return length;
  }

  #byte(): number {
    if (this.#at >= this.#bytes.length) throw new PayloadError("the bytes end too soon");
    return this.#bytes[this.#at++] as number;
  }

  /** Takes so many bytes; answers where they begin. */
  #take(size: number): number {
    const from = this.#at;
    if (size > this.#bytes.length - from) {
      throw new PayloadError(`${size} bytes are announced, and ${this.#bytes.length - from} are left`);
    }
    this.#at = from + size;
    return from;
  }
}
