import { readInt64 } from "./byte-reader.ts";
import { decompress } from "./compression.ts";
import { CorruptBatchError } from "./corrupt-batch-error.ts";
import { crc32c } from "./crc32c.ts";
import type { AbortedTransaction } from "./messages/fetch.ts";
import { ABORT_MARK, AT, ATTRIBUTE, LENGTH_FROM, MAGIC } from "./record-batch.ts";
import { type BatchView, RecordView } from "./record-view.ts";
import { VarintReader } from "./varint-reader.ts";

/** Written by a producer older than Kafka 0.11 (2017), or by an emulation of Kafka: nothing else is refused. */
export class OldFormatError extends Error {
  constructor(magic: number) {
    super(
      `messages in format ${magic} (Kafka 0.10 or older) are not read: have their producer write record batches, ` +
        "format 2",
    );
    this.name = "OldFormatError";
  }
}

/** What a reader has asked for. */
export interface Wanted {
  readonly topic: string;
  readonly partition: number;
  /** Batches may begin before it; their earlier records are passed over. */
  readonly offset: number;
  /** As the broker has answered them. */
  readonly aborted: readonly AbortedTransaction[];
}

export interface Decoded {
  readonly records: RecordView[];
  /** Where reading goes on: after the last whole batch. `wanted.offset` when there is none. */
  readonly nextOffset: number;
}

/**
 * The committed records of fetched batches, in place: neither control records nor those of aborted transactions. A last
 * batch that is cut off is left out. Throws a CorruptBatchError where the bytes are not what was written.
 */
export function decodeBatches(bytes: Buffer, wanted: Wanted): Decoded {
  const records: RecordView[] = [];
  const transactions = new Transactions(wanted.aborted);
  let nextOffset = wanted.offset;
  let at = 0;
  while (bytes.length - at >= LENGTH_FROM) {
    const end = at + LENGTH_FROM + bytes.readInt32BE(at + AT.batchLength);
    const magic = bytes[at + AT.magic] ?? MAGIC;
    if (magic < MAGIC) throw new OldFormatError(magic);
    if (magic > MAGIC) throw new CorruptBatchError(`a batch in format ${magic}`);
    if (end > bytes.length) break;
    if (end < at + AT.records) throw new CorruptBatchError(`a batch of ${end - at} bytes`);
    if (crc32c(bytes, at + AT.attributes, end) !== bytes.readUInt32BE(at + AT.crc)) {
      throw new CorruptBatchError("the checksum is not that of the bytes");
    }
    const lastOffset = readInt64(bytes, at + AT.baseOffset) + bytes.readInt32BE(at + AT.lastOffsetDelta);
    const good = transactions.holdsGood(bytes, at, end, lastOffset);
    if (lastOffset >= nextOffset) {
      if (good) decodeRecords(bytes, at, end, wanted, nextOffset, records);
      nextOffset = lastOffset + 1;
    }
    at = end;
  }
  return { records, nextOffset };
}

/** Which batches belong to aborted transactions, seen from batch to batch. */
class Transactions {
  readonly #aborted: readonly AbortedTransaction[];
  #next = 0;
  /** Producers with an aborted transaction that has begun and whose mark has not come yet. */
  readonly #ending = new Set<number>();

  constructor(aborted: readonly AbortedTransaction[]) {
    this.#aborted = aborted.length < 2 ? aborted : aborted.toSorted((a, b) => a.firstOffset - b.firstOffset);
  }

  /** Whether the batch holds records for a reader. Call it for each batch, in order. */
  holdsGood(bytes: Buffer, at: number, end: number, lastOffset: number): boolean {
    const attributes = bytes.readInt16BE(at + AT.attributes);
    for (; this.#next < this.#aborted.length; this.#next++) {
      const { producerId, firstOffset } = this.#aborted[this.#next] as AbortedTransaction;
      if (firstOffset > lastOffset) break;
      this.#ending.add(producerId);
    }
    if ((attributes & (ATTRIBUTE.transactional | ATTRIBUTE.control)) === 0) return true;
    const producerId = readInt64(bytes, at + AT.producerId);
    if ((attributes & ATTRIBUTE.control) !== 0) {
      if (isAbortMark(bytes, at, end)) this.#ending.delete(producerId);
      return false;
    }
    return !this.#ending.has(producerId);
  }
}

function isAbortMark(bytes: Buffer, at: number, end: number): boolean {
  const reader = new VarintReader(bytes, at + AT.records);
  reader.varint();
  reader.at++;
  reader.varlong();
  reader.varint();
  const keyLength = reader.varint();
  return keyLength >= 4 && reader.at + 4 <= end && bytes.readInt16BE(reader.at + 2) === ABORT_MARK;
}

function decodeRecords(
  batch: Buffer,
  at: number,
  end: number,
  { topic, partition }: Wanted,
  fromOffset: number,
  records: RecordView[],
): void {
  const attributes = batch.readInt16BE(at + AT.attributes);
  const codec = attributes & ATTRIBUTE.codec;
  const bytes = codec === 0 ? batch : decompress(codec, batch.subarray(at + AT.records, end));
  const limit = codec === 0 ? end : bytes.length;
  const baseOffset = readInt64(batch, at + AT.baseOffset);
  const brokerTime = (attributes & ATTRIBUTE.brokerTime) !== 0;
  const view: BatchView = {
    topic,
    partition,
    bytes,
    baseOffset,
    baseTimestamp: readInt64(batch, at + (brokerTime ? AT.maxTimestamp : AT.baseTimestamp)),
  };
  const first = fromOffset - baseOffset;
  const lastOffsetDelta = batch.readInt32BE(at + AT.lastOffsetDelta);
  const reader = new VarintReader(bytes, codec === 0 ? at + AT.records : 0);
  let before = -1;
  for (let left = batch.readInt32BE(at + AT.recordsCount); left > 0; left--) {
    const recordEnd = place(reader.varint(), reader, limit);
    reader.at++;
    const timestampDelta = reader.varlong();
    const offsetDelta = reader.varint();
    const keyLength = reader.varint();
    const keyStart = keyLength < 0 ? -1 : reader.at;
    reader.at += keyLength < 0 ? 0 : keyLength;
    const keyEnd = keyLength < 0 ? -1 : reader.at;
    const valueLength = reader.varint();
    const valueStart = valueLength < 0 ? -1 : reader.at;
    reader.at += valueLength < 0 ? 0 : valueLength;
    const valueEnd = valueLength < 0 ? -1 : reader.at;
    const headersStart = bytes[reader.at] === 0 ? -1 : reader.at;
    if (headersStart < 0) reader.at++;
    else passHeaders(reader);
    if (reader.at !== recordEnd || offsetDelta <= before || offsetDelta > lastOffsetDelta) {
      throw new CorruptBatchError(`a record of the batch at offset ${baseOffset} contradicts itself`);
    }
    before = offsetDelta;
    if (offsetDelta < first) continue;
    records.push(
      new RecordView(
        view,
        offsetDelta,
        brokerTime ? 0 : timestampDelta,
        keyStart,
        keyEnd,
        valueStart,
        valueEnd,
        headersStart,
      ),
    );
  }
}

/** Where something of that length ends. */
function place(length: number, reader: VarintReader, limit: number): number {
  const end = reader.at + length;
  if (length < 0 || end > limit) throw new CorruptBatchError("a record is longer than its batch");
  return end;
}

function passHeaders(reader: VarintReader): void {
  const count = reader.varint();
  if (count < 0) throw new CorruptBatchError("a record has less than no headers");
  for (let left = count; left > 0 && reader.at < reader.bytes.length; left--) {
    const nameLength = reader.varint();
    reader.at += nameLength;
    const valueLength = reader.varint();
    reader.at += valueLength < 0 ? 0 : valueLength;
    if (nameLength < 0) throw new CorruptBatchError("a header has no name");
  }
}
