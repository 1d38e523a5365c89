import type { Clock, Fail, Log } from "@millrace/runtime";
import type { Broker, StreamRecord } from "./broker.ts";
import type { CheckpointStore } from "./checkpoint.ts";

/** Writes a record to the task's own partition of `topic`, caused by the input record `cause`. */
export type Emit = (
  cause: StreamRecord,
  topic: string,
  output: {
    readonly key: Uint8Array | string | null;
    readonly value: Uint8Array | string | null;
    readonly headers?: Readonly<Record<string, Uint8Array | string>>;
  },
) => void;

/** The part of a step that is the step's own: one per partition. */
export interface Task {
  /**
   * Processes records in order; repetitions are already dropped. Must be deterministic: the same state and records
   * give the same state and outputs. May wait (a model, a store); the next call comes after it has resolved.
   */
  process(records: readonly StreamRecord[], emit: Emit): void | Promise<void>;
  /** The state as structured-cloneable data; serialised at once, before the next call of `process`. */
  snapshot(): unknown;
}

export interface StepDefinition {
  /** For example `flights.accept`: also the consumer group's name, after the prefix `millrace.`. */
  readonly name: string;
  readonly topics: readonly string[];
  /** The topics are strangers': a header `mr-source` on their records means nothing, and no record is dropped. */
  readonly foreign?: true;
  readonly checkpoints: CheckpointStore;
  /**
   * Makes the task of a partition: from its snapshot, or (null) at the beginning. `stopping` aborts when the
   * partition is to be given up. A task that is waiting for something then throws `stopping.reason`: the records in
   * its hands are read again by whoever comes next.
   */
  readonly createTask: (partition: number, snapshot: unknown, stopping: AbortSignal) => Task;
  /** Least time between two checkpoints. */
  readonly checkpointEveryMs: number;
  /** Most records given to `process` at once. */
  readonly recordsMax?: number;
}

export interface StepPorts {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the process: the supervisor starts it anew, from the last checkpoint. */
  readonly fail: Fail;
}

export interface RunningStep {
  /** Records still to be read over all partitions owned. */
  lag(): number;
  /** Partitions owned now. */
  partitions(): readonly number[];
  /** Finishes the batch in hand, saves a checkpoint of every task, leaves the group. */
  stop(): Promise<void>;
}
