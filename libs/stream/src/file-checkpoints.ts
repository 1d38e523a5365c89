import { open } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { writeFileDurably } from "@millrace/runtime";
import type { CheckpointStore } from "./checkpoint.ts";
import { CheckpointEncoder, decodeCheckpoint } from "./checkpoint-codec.ts";

const MAGIC = Buffer.from("MRCHECK2");
/** Hashed and written at once: the event loop goes on in between. */
const PIECE_BYTES = 1024 * 1024;
const SECTIONS_MAX = 1_000_000;

/** A checkpoint file is damaged. Nothing is guessed: an operator removes it, and the step replays from the start. */
export class DamagedCheckpointError extends Error {
  readonly file: string;
  constructor(file: string, options?: ErrorOptions) {
    super(`checkpoint ${file} is damaged: remove it to replay the step's input from its beginning`, options);
    this.name = "DamagedCheckpointError";
    this.file = file;
  }
}

/**
 * Checkpoints as files in `folder`: "MRCHECK2", the number of sections, the length of each in bytes (unsigned 32 and
 * 64 bits, little-endian), the sections, and the CRC-32 of all before it. A crash while saving leaves the checkpoint
 * before. The copy is made at once, the file written in the background.
 */
export function fileCheckpoints(folder: string): CheckpointStore {
  const encoder = new CheckpointEncoder();
  const fileOf = (partition: number): string => join(folder, `partition-${partition}.checkpoint`);
  return {
    load: async (partition, version) => {
      const file = fileOf(partition);
      const sections = await readSections(file).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return null;
        throw error.code === undefined ? new DamagedCheckpointError(file, { cause: error }) : error;
      });
      if (sections === null) return null;
      const checkpoint = decodeCheckpoint(sections);
      return version === null || checkpoint.version === version ? checkpoint : null;
    },
    save: async (partition, checkpoint) => {
      const { sections, release } = encoder.encode(checkpoint);
      try {
        await writeFileDurably(fileOf(partition), fileBytes(sections));
      } finally {
        release();
      }
    },
  };
}

function* fileBytes(sections: readonly Uint8Array[]): Generator<Uint8Array> {
  const directory = Buffer.alloc(MAGIC.length + 4 + 8 * sections.length);
  MAGIC.copy(directory);
  directory.writeUInt32LE(sections.length, MAGIC.length);
  sections.forEach(({ length }, i) => {
    directory.writeBigUInt64LE(BigInt(length), MAGIC.length + 4 + 8 * i);
  });
  let sum = 0;
  for (const bytes of [directory, ...sections]) {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      const piece = bytes.subarray(at, at + PIECE_BYTES);
      sum = crc32(piece, sum);
      yield piece;
    }
  }
  const check = Buffer.alloc(4);
  check.writeUInt32LE(sum);
  yield check;
}

/** Rejects with an error without a `code` when the file is not whole. */
async function readSections(file: string): Promise<Uint8Array<ArrayBuffer>[]> {
  const handle = await open(file, "r");
  let sum = 0;
  const read = async (length: number): Promise<Uint8Array<ArrayBuffer>> => {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const { bytesRead } = await handle.read(bytes, at, Math.min(PIECE_BYTES, length - at));
      if (bytesRead === 0) throw new Error("it ends too early");
      sum = crc32(bytes.subarray(at, at + bytesRead), sum);
      at += bytesRead;
    }
    return bytes;
  };
  const view = (bytes: Uint8Array<ArrayBuffer>): DataView => new DataView(bytes.buffer);
  try {
    const { size } = await handle.stat();
    const start = await read(MAGIC.length + 4);
    if (!MAGIC.equals(start.subarray(0, MAGIC.length))) throw new Error("it is no checkpoint of this form");
    const count = view(start).getUint32(MAGIC.length, true);
    if (count > SECTIONS_MAX) throw new Error("it has too many sections");
    const directory = view(await read(8 * count));
    const lengths = Array.from({ length: count }, (_, i) => Number(directory.getBigUint64(8 * i, true)));
    const whole = start.length + 8 * count + lengths.reduce((a, b) => a + b, 0) + 4;
    if (whole !== size) throw new Error(`it has ${size} bytes instead of ${whole}`);
    const sections: Uint8Array<ArrayBuffer>[] = [];
    for (const length of lengths) sections.push(await read(length));
    const expected = sum;
    if (view(await read(4)).getUint32(0, true) !== expected) throw new Error("its check sum is wrong");
    return sections;
  } finally {
    await handle.close();
  }
}
