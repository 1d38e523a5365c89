import { promisify } from "node:util";
import { zstdCompress, zstdDecompress } from "node:zlib";
import kafkajs from "kafkajs";
import lz4 from "lz4-napi";
import snappy from "snappyjs";

/** Java's snappy stream: magic, version, compatible version, then blocks, each a length and Snappy data. */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;

/** A batch that grows beyond this is no batch of events: it is refused before the memory is taken. */
const BATCH_BYTES_MAX = 64 * 1024 * 1024;

const compressZstd = promisify(zstdCompress);
const decompressZstd = promisify(zstdDecompress);

/** What kafkajs calls for a compressed record batch. */
interface Codec {
  compress(encoder: { readonly buffer: Buffer }): Promise<Buffer>;
  decompress(buffer: Buffer): Promise<Buffer>;
}

const CODECS: Readonly<Record<"Snappy" | "LZ4" | "ZSTD", Codec>> = {
  Snappy: {
    compress: async ({ buffer }) => Buffer.from(snappy.compress(buffer)),
    decompress: async (buffer) =>
      isXerial(buffer) ? fromXerial(buffer) : Buffer.from(snappy.uncompress(buffer, BATCH_BYTES_MAX)),
  },
  LZ4: {
    compress: async ({ buffer }) => lz4.compressFrame(buffer),
    decompress: async (buffer) => lz4.decompressFrame(buffer),
  },
  ZSTD: {
    compress: async ({ buffer }) => compressZstd(buffer),
    decompress: async (buffer) => decompressZstd(buffer, { maxOutputLength: BATCH_BYTES_MAX }),
  },
};

/** Teaches kafkajs the codecs that other producers use (it brings gzip itself). Once per process is enough. */
export function registerCodecs(): void {
  const { CompressionCodecs, CompressionTypes } = kafkajs;
  for (const [name, codec] of Object.entries(CODECS)) {
    CompressionCodecs[CompressionTypes[name as keyof typeof CODECS]] = () => codec;
  }
}

function isXerial(buffer: Buffer): boolean {
  return buffer.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC);
}

function fromXerial(buffer: Buffer): Buffer {
  const blocks: Buffer[] = [];
  for (let at = XERIAL_HEADER_BYTES; at < buffer.length; ) {
    const end = at + 4 + buffer.readUInt32BE(at);
    blocks.push(Buffer.from(snappy.uncompress(buffer.subarray(at + 4, end), BATCH_BYTES_MAX)));
    at = end;
  }
  return Buffer.concat(blocks);
}
