/** A broker's bytes are not what the protocol says: a bug, or something that is not Kafka. The connection ends. */
export class ProtocolError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ProtocolError";
  }
}

const TWO_32 = 2 ** 32;

/**
 * Reads the protocol's types from the front of some bytes. Compact forms (lengths as varints, one more than the
 * length) are those of flexible versions. Throws a ProtocolError where the bytes end too early or a length cannot be.
 */
export class ByteReader {
  readonly bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  boolean(): boolean {
    return this.int8() !== 0;
  }

  int8(): number {
    return this.bytes.readInt8(this.#take(1));
  }

  int16(): number {
    return this.bytes.readInt16BE(this.#take(2));
  }

  int32(): number {
    return this.bytes.readInt32BE(this.#take(4));
  }

  /** As a number: offsets, times and producer ids are safe integers. */
  int64(): number {
    return readInt64(this.bytes, this.#take(8));
  }

  uvarint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.bytes[this.#take(1)] as number;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new ProtocolError("a varint of more than five bytes");
  }

  string(): string {
    return this.nullableString() ?? this.#fail("a string is null");
  }

  nullableString(): string | null {
    const length = this.int16();
    return length < 0 ? null : this.#text(length);
  }

  compactString(): string {
    return this.compactNullableString() ?? this.#fail("a string is null");
  }

  compactNullableString(): string | null {
    const length = this.uvarint() - 1;
    return length < 0 ? null : this.#text(length);
  }

  /** A view; null becomes no bytes. */
  byteArray(): Buffer {
    return this.#view(Math.max(0, this.int32()));
  }

  compactByteArray(): Buffer {
    return this.#view(Math.max(0, this.uvarint() - 1));
  }

  /** As 32 hex digits. */
  uuid(): string {
    return this.#view(16).toString("hex");
  }

  array<T>(read: () => T): T[] {
    return this.#elements(this.int32(), read);
  }

  compactArray<T>(read: () => T): T[] {
    return this.#elements(this.uvarint() - 1, read);
  }

  /** Passes over tagged fields: none that brokers send is needed here. */
  tags(): void {
    for (let left = this.uvarint(); left > 0; left--) {
      this.uvarint();
      this.#take(this.uvarint());
    }
  }

  #elements<T>(count: number, read: () => T): T[] {
    // Each element has a byte at least: a wrong count cannot make us allocate.
    if (count > this.left) this.#fail(`an array of ${count} in ${this.left} bytes`);
    const elements: T[] = [];
    for (let i = 0; i < count; i++) elements.push(read());
    return elements;
  }

  #text(length: number): string {
    const from = this.#take(length);
    return this.bytes.toString("utf8", from, this.at);
  }

  #view(length: number): Buffer {
    const from = this.#take(length);
    return this.bytes.subarray(from, this.at);
  }

  #take(length: number): number {
    const from = this.at;
    if (length > this.bytes.length - from) this.#fail(`${length} bytes are missing at ${from}`);
    this.at = from + length;
    return from;
  }

  #fail(what: string): never {
    throw new ProtocolError(`a response cannot be read: ${what}`);
  }
}

/** A signed 64-bit integer as a number. */
export function readInt64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * TWO_32 + bytes.readUInt32BE(at + 4);
}
