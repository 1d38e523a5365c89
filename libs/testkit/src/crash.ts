import type { Broker, Checkpoint, CheckpointStore, StepDefinition } from "@millrace/stream";

/** Where a process can die, as seen from its step: around everything that it waits for, and around its own work. */
export const CRASH_POINTS = [
  "before-open",
  "after-open",
  "before-load",
  "after-load",
  "before-read",
  "after-read",
  "before-process",
  "after-process",
  "before-flush",
  "after-flush",
  "before-save",
  "after-save",
] as const;
export type CrashPoint = (typeof CRASH_POINTS)[number];

export class Crash extends Error {
  constructor(point: CrashPoint) {
    super(`crashed ${point}`);
    this.name = "Crash";
  }
}

export interface Mortal {
  readonly broker: Broker;
  /** The step as the mortal process runs it: with its checkpoints, and tasks that die with it. */
  readonly definition: StepDefinition;
  /** True once the process is dead: nothing that it does has an effect any more. */
  dead(): boolean;
  /** Ends it now. */
  kill(): void;
}

/**
 * A process that dies at the `count`-th passing of a crash point (1: the first). What it has written by then stays
 * written; everything later is refused, as if the process were gone. `latency` is how long everything is on its way:
 * what is done without waiting for it can be seen to overtake it.
 */
export function mortal(
  broker: Broker,
  definition: StepDefinition,
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
  const around = async <T>(what: "open" | "load" | "flush" | "save", work: () => Promise<T>): Promise<T> => {
    await latency();
    pass(`before-${what}`);
    const result = await work();
    pass(`after-${what}`);
    return result;
  };
  return {
    dead: () => dead,
    kill: () => {
      dead = true;
    },
    broker: {
      ...broker,
      read: async function* (...range) {
        await latency();
        pass("before-read");
        yield* broker.read(...range);
        pass("after-read");
      },
      writer: (...name) =>
        around("open", async () => {
          const writer = await broker.writer(...name);
          return {
            ends: writer.ends,
            get pendingBytes() {
              return writer.pendingBytes;
            },
            append: (...output) => writer.append(...output),
            flush: () => around("flush", () => writer.flush()),
            stop: () => writer.stop(),
          };
        }),
    },
    definition: {
      ...definition,
      checkpoints: mortalCheckpoints(definition.checkpoints, around),
      createTask: (...from) => {
        const task = definition.createTask(...from);
        return {
          snapshot: () => task.snapshot(),
          process: (records, emit) => {
            pass("before-process");
            const working = task.process(records, emit);
            return working === undefined ? pass("after-process") : working.then(() => pass("after-process"));
          },
        };
      },
    },
  };
}

function mortalCheckpoints(
  checkpoints: CheckpointStore,
  around: <T>(what: "load" | "save", work: () => Promise<T>) => Promise<T>,
): CheckpointStore {
  return {
    load: (...which) => around("load", () => checkpoints.load(...which)),
    save: (partition, checkpoint, last) => {
      // It is copied at once, however long the copy then is on its way.
      const copy = structuredClone(checkpoint) as Checkpoint;
      return around("save", () => checkpoints.save(partition, copy, last));
    },
  };
}

/** The broker as a member sees it whom its group has forgotten: it goes on, beside the one that took over. */
export function estranged(broker: Broker, name: string): Broker {
  return {
    ...broker,
    consume: (options) => broker.consume({ ...options, group: `${options.group}.${name}` }),
  };
}
