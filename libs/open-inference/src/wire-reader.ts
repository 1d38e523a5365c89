import { ProtocolError } from "./error.ts";

/** Wire types (https://protobuf.dev/programming-guides/encoding/). */
export const VARINT = 0;
export const FIXED64 = 1;
export const DELIMITED = 2;
const GROUP_OPENS = 3;
const GROUP_CLOSES = 4;
export const FIXED32 = 5;

const GROUP_DEPTH_MAX = 32;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads the fields of a protobuf message in place. Each method takes the name of what it reads, for its ProtocolError:
 * bytes that end early, a wrong wire type, a length beyond the message.
 */
export class WireReader {
  readonly bytes: Uint8Array;
  /** Where the next byte is read. */
  at: number;
  /** Where the message that is being read ends. */
  end: number;
  /** Of the field that `next` came to. */
  field = 0;
  wire = 0;
  /** The 64 bits that `varint` read, each half as an int32. */
  low = 0;
  high = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.at = 0;
    this.end = bytes.length;
  }

  /** Reads a tag; false at the end of the message. */
  next(): boolean {
    if (this.at >= this.end) return false;
    const tag = this.#uint32("tag");
    this.field = tag >>> 3;
    this.wire = tag & 7;
    if (this.field === 0) throw new ProtocolError("message", `field number 0 before byte ${this.at}`);
    return true;
  }

  expect(wire: number, name: string): void {
    if (this.wire === wire) return;
    throw new ProtocolError(name, `wire type ${this.wire}, expected ${wire}: the client has another .proto`);
  }

  /** Reads a length and answers where what follows ends. */
  delimited(name: string): number {
    this.expect(DELIMITED, name);
    const length = this.#uint32(name);
    if (length > this.end - this.at) throw this.#cutOff(name);
    return this.at + length;
  }

  /** Goes into a submessage: `next` then reads its fields. Answers what `leave` takes. */
  enter(name: string): number {
    const outer = this.end;
    this.end = this.delimited(name);
    return outer;
  }

  leave(outer: number): void {
    this.end = outer;
  }

  text(name: string, bytesMax: number): string {
    const stop = this.delimited(name);
    const length = stop - this.at;
    if (length > bytesMax) throw new ProtocolError(name, `${length} bytes, expected at most ${bytesMax}`);
    const start = this.at;
    this.at = stop;
    return textAt(this.bytes, start, stop, name);
  }

  varint(name: string): void {
    this.expect(VARINT, name);
    this.rawVarint(name);
  }

  /** A varint without a tag of its own, as in packed fields. Bits beyond the 64th are dropped, as everywhere. */
  rawVarint(name: string): void {
    const bytes = this.bytes;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.at >= this.end) throw this.#cutOff(name);
      const byte = bytes[this.at++] as number;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        this.low = low;
        this.high = high;
        return;
      }
    }
    throw new ProtocolError(name, "a varint of more than 10 bytes");
  }

  /** The signed value that `varint` read; beyond 2^53 only its magnitude is right. */
  signed(): number {
    return this.high * 2 ** 32 + (this.low >>> 0);
  }

  signedBig(): bigint {
    return (BigInt(this.high) << 32n) | BigInt(this.low >>> 0);
  }

  fixed(bytes: 4 | 8, name: string): number {
    this.expect(bytes === 4 ? FIXED32 : FIXED64, name);
    if (this.end - this.at < bytes) throw this.#cutOff(name);
    const start = this.at;
    this.at += bytes;
    return start;
  }

  /** Skips the value of the field that `next` came to. */
  skip(): void {
    this.#skip(0);
  }

  #skip(depth: number): void {
    const { field, wire } = this;
    const name = "unknown field";
    switch (wire) {
      case VARINT:
        return this.rawVarint(name);
      case FIXED64:
        this.fixed(8, name);
        return;
      case FIXED32:
        this.fixed(4, name);
        return;
      case DELIMITED:
        this.at = this.delimited(name);
        return;
      case GROUP_OPENS:
        if (depth >= GROUP_DEPTH_MAX) throw new ProtocolError(name, "groups nested too deeply");
        while (this.next()) {
          if (this.wire !== GROUP_CLOSES) this.#skip(depth + 1);
          else if (this.field === field) return;
          else throw new ProtocolError(name, `group ${field} closed as ${this.field}`);
        }
        throw this.#cutOff(name);
      default:
        throw new ProtocolError(name, `number ${field} with wire type ${wire}`);
    }
  }

  #uint32(name: string): number {
    const byte = this.bytes[this.at] as number;
    if (this.at < this.end && byte < 0x80) {
      this.at++;
      return byte;
    }
    this.rawVarint(name);
    if (this.high === 0) return this.low >>> 0;
    throw new ProtocolError(name, "a tag or length of more than 32 bits");
  }

  #cutOff(name: string): ProtocolError {
    return new ProtocolError(name, `cut off at byte ${this.end}, where what holds it ends`);
  }
}

/** UTF-8 text; short ASCII, which names are, without the cost of a decoder. */
export function textAt(bytes: Uint8Array, start: number, end: number, name: string): string {
  if (end - start <= 64) {
    let text = "";
    let at = start;
    let bits = 0;
    for (; at + 4 <= end; at += 4) {
      const a = bytes[at] as number;
      const b = bytes[at + 1] as number;
      const c = bytes[at + 2] as number;
      const d = bytes[at + 3] as number;
      bits |= a | b | c | d;
      text += String.fromCharCode(a, b, c, d);
    }
    for (; at < end; at++) {
      bits |= bytes[at] as number;
      text += String.fromCharCode(bytes[at] as number);
    }
    if (bits < 0x80) return text;
  }
  try {
    return utf8.decode(bytes.subarray(start, end));
  } catch {
    throw new ProtocolError(name, "bytes that are no UTF-8, expected text");
  }
}
