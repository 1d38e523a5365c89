import { type Clock, type Log, withDeadline } from "@millrace/runtime";
import { FencedError } from "./broker.ts";
import type { Checkpoint, CheckpointStore } from "./checkpoint.ts";
import type { SharedCheckpointStore } from "./object-checkpoints.ts";

/** How long a take-over waits for a shared store that is away, when there is a checkpoint here. */
const AWAY_MS = 5_000;
/** How long a partition that is given up waits until its last checkpoint is shared. */
const LAST_MS = 5_000;

interface Sharing {
  sharedAtMs: number;
  running: Promise<void> | null;
  /** Somebody else has taken the partition over. */
  fenced: FencedError | null;
}

/**
 * Checkpoints here, each time, and in a store that others reach, every so many ms and when the partition is given up;
 * `load` takes whichever has read further. While the shared store is away the step goes on.
 */
export function layeredCheckpoints(
  here: CheckpointStore,
  shared: SharedCheckpointStore,
  options: { readonly everyMs: number; readonly clock: Clock; readonly log: Log },
): CheckpointStore {
  const { everyMs, clock, log } = options;
  const sharings = new Map<number, Sharing>();
  const begin = (partition: number): Sharing => {
    const sharing = { sharedAtMs: clock.now(), running: null, fenced: null };
    sharings.set(partition, sharing);
    return sharing;
  };

  /** Copies at once, stores in the background. Never rejects. */
  const share = (
    sharing: Sharing,
    partition: number,
    checkpoint: Checkpoint,
    last: boolean,
  ): Promise<void> => {
    sharing.sharedAtMs = clock.now();
    sharing.running = shared.save(partition, checkpoint, last).catch((error: unknown) => {
      if (error instanceof FencedError) sharing.fenced = error;
      log.warn({ err: error, partition }, "a checkpoint could not be shared");
    });
    void sharing.running.then(() => {
      sharing.running = null;
    });
    return sharing.running;
  };

  return {
    load: async (partition, version, signal) => {
      begin(partition);
      const found = await here.load(partition, version, signal);
      if (found === null) return shared.load(partition, version, signal);
      const patience = AbortSignal.any([signal, AbortSignal.timeout(AWAY_MS)]);
      const newer = shared.loadNewer(partition, version, patience, found.offsets);
      return (
        (await newer.catch((error: unknown) => {
          signal.throwIfAborted();
          log.warn({ err: error, partition }, "the shared checkpoints are away: going on from the one here");
          return null;
        })) ?? found
      );
    },

    save: async (partition, checkpoint, last) => {
      const sharing = sharings.get(partition) ?? begin(partition);
      if (sharing.fenced !== null) throw sharing.fenced;
      const isDue = clock.now() - sharing.sharedAtMs >= everyMs;
      const saved = here.save(partition, checkpoint, last);
      if (!last && isDue && sharing.running === null) void share(sharing, partition, checkpoint, last);
      await saved;
      if (!last) return;
      // Nothing changes the state of a partition that is given up: it can be copied later.
      const sharedLast = (sharing.running ?? Promise.resolve()).then(() =>
        share(sharing, partition, checkpoint, last),
      );
      await withDeadline(LAST_MS, "sharing the last checkpoint", sharedLast).catch((error: unknown) => {
        log.warn({ err: error, partition }, "the last checkpoint is not shared yet");
      });
    },
  };
}
