import { gunzipSync, zstdDecompressSync } from "node:zlib";
import lz4 from "lz4-napi";
import snappy from "snappyjs";
import { CorruptBatchError } from "./corrupt-batch-error.ts";

/** A batch that grows beyond this is no batch of events: it is refused before the memory is taken. */
const BATCH_BYTES_MAX = 64 * 1024 * 1024;

/** By the number that a batch's attributes hold. */
const CODECS: Readonly<Record<number, (data: Buffer) => Buffer>> = {
  1: (data) => gunzipSync(data, { maxOutputLength: BATCH_BYTES_MAX }),
  2: (data) => (isXerial(data) ? fromXerial(data) : fromSnappy(data, BATCH_BYTES_MAX)),
  3: (data) => {
    checkLz4(data);
    return lz4.decompressFrameSync(data);
  },
  4: (data) => zstdDecompressSync(data, { maxOutputLength: BATCH_BYTES_MAX }),
};

/** The records of a compressed batch: gzip, snappy (raw, and Java's stream), lz4 or zstd. Throws a CorruptBatchError. */
export function decompress(codec: number, data: Buffer): Buffer {
  const decode = CODECS[codec];
  if (decode === undefined)
    throw new CorruptBatchError(`compressed with codec ${codec}, which is not known here`);
  try {
    return decode(data);
  } catch (cause) {
    if (cause instanceof CorruptBatchError) throw cause;
    throw new CorruptBatchError(`it cannot be decompressed, to at most ${BATCH_BYTES_MAX} bytes`, { cause });
  }
}

/** Java's snappy stream: magic, version, compatible version, then blocks, each a length and Snappy data. */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;

function isXerial(data: Buffer): boolean {
  return data.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC);
}

function fromXerial(data: Buffer): Buffer {
  const blocks: Buffer[] = [];
  let left = BATCH_BYTES_MAX;
  for (let at = XERIAL_HEADER_BYTES; at < data.length; ) {
    const end = at + 4 + data.readUInt32BE(at);
    const block = fromSnappy(data.subarray(at + 4, end), left);
    blocks.push(block);
    left -= block.length;
    at = end;
  }
  return Buffer.concat(blocks);
}

function fromSnappy(data: Buffer, bytesMax: number): Buffer {
  const bytes = snappy.uncompress(data, bytesMax);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const LZ4_MAGIC = 0x184d2204;

/**
 * The codec for lz4 takes no limit: this adds up what the blocks of the frame can grow to at most (the frame format of
 * https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md), before anything is decompressed.
 */
function checkLz4(data: Buffer): void {
  if (data.readUInt32LE(0) !== LZ4_MAGIC) throw new CorruptBatchError("it is no lz4 frame");
  const flags = data.readUInt8(4);
  const blockBytesMax = 2 ** (8 + 2 * ((data.readUInt8(5) >>> 4) & 7));
  const checksumBytes = flags & 0x10 ? 4 : 0;
  let at = 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0);
  let grown = 0;
  for (;;) {
    const size = data.readUInt32LE(at);
    if (size === 0) return;
    const bytes = size & 0x7fff_ffff;
    grown += size > 0x7fff_ffff ? bytes : Math.min(blockBytesMax, 255 * bytes);
    if (grown > BATCH_BYTES_MAX) {
      throw new CorruptBatchError(`its lz4 blocks could grow beyond ${BATCH_BYTES_MAX} bytes`);
    }
    at += 4 + bytes + checksumBytes;
  }
}
