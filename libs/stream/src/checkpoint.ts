import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { deserialize, serialize } from "node:v8";
import { sha256Hex, writeFileDurably } from "@millrace/runtime";
import type { SeenPositions } from "./seen.ts";

/** Everything a task needs to go on after a crash, of one moment (S1). */
export interface Checkpoint {
  /** Next offset to read, by topic. */
  readonly offsets: Readonly<Record<string, number>>;
  readonly seen: SeenPositions;
  /** The task's own state: structured-cloneable data. null: the task is at its beginning. */
  readonly state: unknown;
}

/** Where checkpoints live, one per partition of a step. */
export interface CheckpointStore {
  load(partition: number): Promise<Checkpoint | null>;
  save(partition: number, checkpoint: Checkpoint): Promise<void>;
}

/** A checkpoint file is damaged. Nothing is guessed: an operator removes it, and the step replays from the start. */
export class DamagedCheckpointError extends Error {
  readonly file: string;
  constructor(file: string) {
    super(`checkpoint ${file} is damaged: remove it to replay the step's input from its beginning`);
    this.name = "DamagedCheckpointError";
    this.file = file;
  }
}

/**
 * Checkpoints as files in `folder`: SHA-256 of the body as 64 hex digits, then the body (V8 structured clone).
 * A crash while saving leaves the checkpoint before.
 */
export function fileCheckpoints(folder: string): CheckpointStore {
  const fileOf = (partition: number): string => join(folder, `partition-${partition}.checkpoint`);
  return {
    load: async (partition) => {
      const file = fileOf(partition);
      const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return null;
        throw error;
      });
      if (bytes === null) return null;
      const body = bytes.subarray(64);
      if (bytes.length < 64 || sha256Hex(body) !== bytes.subarray(0, 64).toString("latin1")) {
        throw new DamagedCheckpointError(file);
      }
      return deserialize(body) as Checkpoint;
    },
    save: async (partition, checkpoint) => {
      const body = serialize(checkpoint);
      await writeFileDurably(
        fileOf(partition),
        Buffer.concat([Buffer.from(sha256Hex(body), "latin1"), body]),
      );
    },
  };
}
