import type { Broker, CheckpointStore } from "@millrace/stream";

/** Where a process can die, as seen from its step: around writing records and around saving a checkpoint. */
export const CRASH_POINTS = ["before-send", "after-send", "before-save", "after-save"] as const;
export type CrashPoint = (typeof CRASH_POINTS)[number];

export class Crash extends Error {
  constructor(point: CrashPoint) {
    super(`crashed ${point}`);
    this.name = "Crash";
  }
}

export interface Mortal {
  readonly broker: Broker;
  readonly checkpoints: CheckpointStore;
  /** True once the process is dead: nothing that it does has an effect any more. */
  dead(): boolean;
}

/**
 * The ports of a process that dies at the `count`-th passing of a crash point (1: the first). What it has written by
 * then stays written; everything later is refused, as if the process were gone. `latency` is how long records are on
 * their way: what is done without waiting for them can be seen to overtake them.
 */
export function mortal(
  broker: Broker,
  checkpoints: CheckpointStore,
  point: CrashPoint,
  count: number,
  latency: () => Promise<void>,
): Mortal {
  let left = count;
  let dead = false;
  const pass = (here: CrashPoint): void => {
    if (here === point && --left <= 0) dead = true;
    if (dead) throw new Crash(here);
  };
  return {
    dead: () => dead,
    broker: {
      ...broker,
      producer: async () => {
        const producer = await broker.producer();
        return {
          send: async (records) => {
            await latency();
            pass("before-send");
            await producer.send(records);
            pass("after-send");
          },
          stop: () => producer.stop(),
        };
      },
    },
    checkpoints: {
      load: (partition) => checkpoints.load(partition),
      save: async (partition, checkpoint) => {
        pass("before-save");
        await checkpoints.save(partition, checkpoint);
        pass("after-save");
      },
    },
  };
}
