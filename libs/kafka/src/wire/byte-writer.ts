const TWO_32 = 2 ** 32;
const BYTES_FIRST = 256;

/**
 * Writes the protocol's types. Compact forms are those of flexible versions. Large byte arrays are not copied but
 * taken as they are, so that the result is a list of parts.
 */
export class ByteWriter {
  #bytes: Buffer = Buffer.allocUnsafe(BYTES_FIRST);
  #from = 0;
  #at = 0;
  readonly #parts: Buffer[] = [];

  boolean(value: boolean): this {
    return this.int8(value ? 1 : 0);
  }

  int8(value: number): this {
    const at = this.#make(1);
    this.#bytes.writeInt8(value, at);
    return this;
  }

  int16(value: number): this {
    const at = this.#make(2);
    this.#bytes.writeInt16BE(value, at);
    return this;
  }

  int32(value: number): this {
    const at = this.#make(4);
    this.#bytes.writeInt32BE(value, at);
    return this;
  }

  int64(value: number): this {
    const at = this.#make(8);
    writeInt64(this.#bytes, value, at);
    return this;
  }

  uvarint(value: number): this {
    let rest = value;
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) this.#bytes[this.#make(1)] = (rest & 0x7f) | 0x80;
    this.#bytes[this.#make(1)] = rest;
    return this;
  }

  string(text: string): this {
    const length = Buffer.byteLength(text);
    return this.int16(length).#text(text, length);
  }

  nullableString(text: string | null): this {
    return text === null ? this.int16(-1) : this.string(text);
  }

  compactString(text: string): this {
    const length = Buffer.byteLength(text);
    return this.uvarint(length + 1).#text(text, length);
  }

  compactNullableString(text: string | null): this {
    return text === null ? this.uvarint(0) : this.compactString(text);
  }

  byteArray(bytes: Uint8Array): this {
    this.int32(bytes.length);
    const at = this.#make(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** Record batches, by reference: they must not change before the request has been answered. */
  records(bytes: Buffer): this {
    return this.int32(bytes.length).part(bytes);
  }

  compactRecords(bytes: Buffer): this {
    return this.uvarint(bytes.length + 1).part(bytes);
  }

  /** From 32 hex digits. */
  uuid(id: string): this {
    const at = this.#make(16);
    this.#bytes.write(id, at, "hex");
    return this;
  }

  array<T>(elements: readonly T[], write: (element: T) => void): this {
    this.int32(elements.length);
    elements.forEach(write);
    return this;
  }

  compactArray<T>(elements: readonly T[], write: (element: T) => void): this {
    this.uvarint(elements.length + 1);
    elements.forEach(write);
    return this;
  }

  /** No tagged fields. */
  tags(): this {
    return this.uvarint(0);
  }

  part(bytes: Buffer): this {
    this.#close();
    this.#parts.push(bytes);
    return this;
  }

  /** What was written, in order. */
  parts(): readonly Buffer[] {
    this.#close();
    return this.#parts;
  }

  #close(): void {
    if (this.#at > this.#from) this.#parts.push(this.#bytes.subarray(this.#from, this.#at));
    this.#from = this.#at;
  }

  #text(text: string, length: number): this {
    const at = this.#make(length);
    this.#bytes.write(text, at, length, "utf8");
    return this;
  }

  #make(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(2 * this.#bytes.length, at - this.#from + length));
      this.#bytes.copy(larger, 0, this.#from, at);
      this.#bytes = larger;
      this.#at = at - this.#from + length;
      this.#from = 0;
      return this.#at - length;
    }
    this.#at = at + length;
    return at;
  }
}

/** A number as a signed 64-bit integer. */
export function writeInt64(bytes: Buffer, value: number, at: number): void {
  bytes.writeInt32BE(Math.floor(value / TWO_32), at);
  bytes.writeUInt32BE(value - Math.floor(value / TWO_32) * TWO_32, at + 4);
}
