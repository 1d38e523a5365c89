import { deserialize, serialize } from "node:v8";
import type { Checkpoint, CheckpointStore } from "@millrace/stream";

/** Checkpoints in memory, through the same encoding as those on disk. Outlives the step that saves them. */
export function memoryCheckpoints(): CheckpointStore & { readonly saves: number } {
  const saved = new Map<number, Buffer>();
  let saves = 0;
  return {
    get saves() {
      return saves;
    },
    load: async (partition) => {
      const bytes = saved.get(partition);
      return bytes === undefined ? null : (deserialize(bytes) as Checkpoint);
    },
    save: async (partition, checkpoint) => {
      saved.set(partition, serialize(checkpoint));
      saves++;
    },
  };
}
