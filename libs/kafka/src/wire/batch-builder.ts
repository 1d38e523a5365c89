import type { Output } from "@millrace/stream";
import { writeInt64 } from "./byte-writer.ts";
import { crc32c } from "./crc32c.ts";
import type { ProducerIdentity } from "./messages/init-producer-id.ts";
import { AT, LENGTH_FROM, MAGIC } from "./record-batch.ts";
import type { SourceHeader } from "./source-header.ts";
import { sizeOfVarint, writeVarint } from "./varint.ts";

const BYTES_FIRST = 16 * 1024;
/** A text of up to so many characters is written here faster than Node's own writer is called. */
const SHORT_TEXT = 24;

/**
 * A record batch while it is filled. Records are copied at once; one time stands for all of them, that of the first.
 * Its buffer grows as needed and is used again after `clear`.
 */
export class BatchBuilder {
  #bytes: Buffer = Buffer.allocUnsafeSlow(BYTES_FIRST);
  #at: number = AT.records;
  #count = 0;

  /** Records in it. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the whole batch. */
  get size(): number {
    return this.#at;
  }

  /** Bytes of its records. */
  get recordsBytes(): number {
    return this.#at - AT.records;
  }

  /** Copies a record, with one header more if `source` is given. Answers how many bytes it takes. */
  append(output: Output, source: SourceHeader | null, nowMs: number): number {
    const { key, value, headers } = output;
    const keyLength = lengthOf(key);
    const valueLength = lengthOf(value);
    let headersCount = 0;
    let headersLength = 0;
    for (const name in headers) {
      headersCount++;
      headersLength += sizeOfData(name) + sizeOfData(headers[name] as Uint8Array | string);
    }
    if (source !== null) {
      headersCount++;
      headersLength += source.size;
    }
    // attributes, timestamp delta (0), offset delta, key, value, headers
    const length =
      2 +
      sizeOfVarint(this.#count) +
      sizeOfVarint(keyLength) +
      Math.max(0, keyLength) +
      sizeOfVarint(valueLength) +
      Math.max(0, valueLength) +
      sizeOfVarint(headersCount) +
      headersLength;
    const from = this.#at;
    this.#reserve(5 + length);
    if (this.#count === 0) writeInt64(this.#bytes, nowMs, AT.baseTimestamp);
    this.#varint(length);
    const bytes = this.#bytes;
    bytes[this.#at++] = 0;
    bytes[this.#at++] = 0;
    this.#varint(this.#count);
    this.#varint(keyLength);
    if (key !== null) this.#put(key, keyLength);
    this.#varint(valueLength);
    if (value !== null) this.#put(value, valueLength);
    this.#varint(headersCount);
    if (source !== null) this.#at = source.write(bytes, this.#at);
    for (const name in headers) {
      const data = headers[name] as Uint8Array | string;
      const nameLength = lengthOf(name);
      this.#varint(nameLength);
      this.#put(name, nameLength);
      const dataLength = lengthOf(data);
      this.#varint(dataLength);
      this.#put(data, dataLength);
    }
    this.#count++;
    return this.#at - from;
  }

  /** The finished batch, for one producer and the sequence number of its first record. It can be finished again. */
  finish(producer: ProducerIdentity, sequence: number): Buffer {
    const bytes = this.#bytes;
    const size = this.#at;
    writeInt64(bytes, 0, AT.baseOffset);
    bytes.writeInt32BE(size - LENGTH_FROM, AT.batchLength);
    bytes.writeInt32BE(-1, LENGTH_FROM);
    bytes[AT.magic] = MAGIC;
    bytes.writeInt16BE(0, AT.attributes);
    bytes.writeInt32BE(this.#count - 1, AT.lastOffsetDelta);
    bytes.copy(bytes, AT.maxTimestamp, AT.baseTimestamp, AT.baseTimestamp + 8);
    writeInt64(bytes, producer.id, AT.producerId);
    bytes.writeInt16BE(producer.epoch, AT.producerEpoch);
    bytes.writeInt32BE(sequence, AT.baseSequence);
    bytes.writeInt32BE(this.#count, AT.recordsCount);
    bytes.writeUInt32BE(crc32c(bytes, AT.attributes, size), AT.crc);
    return bytes.subarray(0, size);
  }

  /** Begins anew. What `finish` gave before must not be in use any more. */
  clear(): void {
    this.#at = AT.records;
    this.#count = 0;
  }

  #reserve(length: number): void {
    const needed = this.#at + length;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, needed));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }

  #varint(value: number): void {
    this.#at = writeVarint(this.#bytes, value, this.#at);
  }

  #put(data: Uint8Array | string, length: number): void {
    if (typeof data !== "string") this.#bytes.set(data, this.#at);
    else if (length === data.length && length <= SHORT_TEXT) {
      for (let i = 0; i < length; i++) this.#bytes[this.#at + i] = data.charCodeAt(i);
    } else this.#bytes.write(data, this.#at, length, "utf8");
    this.#at += length;
  }
}

/** Of null: -1. */
function lengthOf(data: Uint8Array | string | null): number {
  if (data === null) return -1;
  if (typeof data !== "string") return data.length;
  if (data.length > SHORT_TEXT) return Buffer.byteLength(data);
  for (let i = 0; i < data.length; i++) if (data.charCodeAt(i) > 0x7f) return Buffer.byteLength(data);
  return data.length;
}

function sizeOfData(data: Uint8Array | string): number {
  const length = lengthOf(data);
  return sizeOfVarint(length) + length;
}
