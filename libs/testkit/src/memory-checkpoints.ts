import type { Checkpoint, CheckpointStore } from "@millrace/stream";

/** Checkpoints in memory, as copies. Outlives the step that saves them. */
export function memoryCheckpoints(): CheckpointStore & { readonly saves: number } {
  const saved = new Map<number, Checkpoint>();
  let saves = 0;
  return {
    get saves() {
      return saves;
    },
    load: async (partition, version) => {
      const checkpoint = saved.get(partition);
      const isWanted = version === null || checkpoint?.version === version;
      return checkpoint !== undefined && isWanted ? structuredClone(checkpoint) : null;
    },
    save: async (partition, checkpoint) => {
      saved.set(partition, structuredClone(checkpoint));
      saves++;
    },
  };
}
