import { allocate } from "./memory.ts";
import { DELIMITED } from "./wire-reader.ts";

const utf8 = new TextEncoder();

/**
 * Writes a protobuf message from its end to its start, so that each length is known when its turn comes: no field is
 * visited twice. Fields, elements and a field's own parts are given last first.
 */
export class WireWriter {
  #bytes: Uint8Array;
  #at: number;

  /** `capacity`: bytes that the message likely takes; it grows when they are not enough. */
  constructor(capacity: number) {
    this.#bytes = allocate(capacity);
    this.#at = capacity;
  }

  /** Bytes written: what a submessage adds is the difference. */
  get length(): number {
    return this.#bytes.length - this.#at;
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(this.#at);
  }

  tag(field: number, wire: number): void {
    this.uint32(((field << 3) | wire) >>> 0);
  }

  /** Closes what was written since `length` was `before` as the submessage, text or packed list `field`. */
  delimit(field: number, before: number): void {
    this.uint32(this.length - before);
    this.tag(field, DELIMITED);
  }

  uint32(value: number): void {
    let at = this.#room(5);
    if (value < 0x80) {
      this.#bytes[at - 1] = value;
      this.#at = at - 1;
      return;
    }
    at -= value < 1 << 14 ? 2 : value < 1 << 21 ? 3 : value < 1 << 28 ? 4 : 5;
    this.#at = at;
    let rest = value;
    for (; rest >= 0x80; rest >>>= 7) this.#bytes[at++] = (rest & 0x7f) | 0x80;
    this.#bytes[at] = rest;
  }

  /** A 64-bit varint from its halves. */
  uint64(low: number, high: number): void {
    if (high === 0) return this.uint32(low >>> 0);
    const end = this.#room(10);
    let size = 5;
    for (let rest = high >>> 3; rest !== 0; rest >>>= 7) size++;
    let at = end - size;
    this.#at = at;
    for (let shift = 0; shift < 28; shift += 7) this.#bytes[at++] = ((low >>> shift) & 0x7f) | 0x80;
    const last = (low >>> 28) | ((high & 7) << 4);
    let rest = high >>> 3;
    this.#bytes[at++] = rest === 0 ? last : last | 0x80;
    for (; rest !== 0; rest >>>= 7) this.#bytes[at++] = rest < 0x80 ? rest : (rest & 0x7f) | 0x80;
  }

  /** An integer of at most 53 bits, negative ones as int64. */
  int64(value: number): void {
    this.uint64(value | 0, Math.floor(value / 2 ** 32) | 0);
  }

  raw(bytes: Uint8Array): void {
    const at = this.#room(bytes.length) - bytes.length;
    const target = this.#bytes;
    // A call of `set` costs more than a few bytes do.
    if (bytes.length > 48) target.set(bytes, at);
    else for (let i = 0; i < bytes.length; i++) target[at + i] = bytes[i] as number;
    this.#at = at;
  }

  double(value: number): void {
    const at = this.#room(8) - 8;
    new DataView(this.#bytes.buffer, this.#bytes.byteOffset).setFloat64(at, value, true);
    this.#at = at;
  }

  /** A string field. */
  text(field: number, text: string): void {
    const before = this.length;
    if (!this.#ascii(text)) this.raw(utf8.encode(text));
    this.delimit(field, before);
  }

  /** Writes what takes a byte per character; false: the text has others, and nothing is written. */
  #ascii(text: string): boolean {
    const at = this.#room(text.length) - text.length;
    // A call of the encoder costs more than a name does.
    if (text.length > 24) {
      const { read, written } = utf8.encodeInto(text, this.#bytes.subarray(at, this.#at));
      if (read !== text.length || written !== text.length) return false;
    } else {
      for (let i = 0; i < text.length; i++) {
        const code = text.charCodeAt(i);
        if (code >= 0x80) return false;
        this.#bytes[at + i] = code;
      }
    }
    this.#at = at;
    return true;
  }

  /** Makes room before what is written, and answers where that starts. */
  #room(bytes: number): number {
    if (this.#at >= bytes) return this.#at;
    const written = this.finish();
    const capacity = 2 * this.#bytes.length + bytes;
    this.#bytes = allocate(capacity);
    this.#at = capacity - written.length;
    this.#bytes.set(written, this.#at);
    return this.#at;
  }
}
