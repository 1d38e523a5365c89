import type { Clock, Fail, Log } from "@millrace/runtime";
import type { Broker, MemberMemory, Output, StreamRecord } from "./broker.ts";
import type { CheckpointStore } from "./checkpoint.ts";

/**
 * Writes a record to the task's own partition of `topic`, caused by the input record `cause`. It is copied at once.
 * The causes of a topic's records come in the order in which the records were given to `process`.
 */
export type Emit = (cause: StreamRecord, topic: string, output: Output) => void;

/** The part of a step that is the step's own: one per partition. */
export interface Task {
  /**
   * Processes records in order. Must be deterministic: the same state and records give the same state and outputs,
   * in whatever batches they come. Where a step reads several topics, what a record causes must depend on the records
   * of its own topic alone, because a replay merges topics otherwise; or the step holds its outputs (`holdOutputs`).
   * May wait (a model, a store); the next call comes after it has resolved.
   */
  process(records: readonly StreamRecord[], emit: Emit): void | Promise<void>;
  /** The state as structured-cloneable data; copied at once, before the next call of `process`. */
  snapshot(): unknown;
}

export interface StepDefinition {
  /** For example `flights.accept`: also the name of its writers, and the consumer group's after `millrace.`. */
  readonly name: string;
  readonly topics: readonly string[];
  /** The topics that it writes, and nobody else. A step without outputs needs no writer. */
  readonly outputs: readonly string[];
  readonly checkpoints: CheckpointStore;
  /**
   * What the state belongs to, for example a digest of the definition: a checkpoint of another version is not used,
   * and the state is built anew from the input, without writing anything twice. Without it every checkpoint is used.
   */
  readonly version?: string;
  /** Where the member's id in the consumer group is kept over a kill. Without it a restart waits for the group. */
  readonly member?: MemberMemory;
  /**
   * Makes the task of a partition: from its snapshot, or (null) at the beginning. `stopping` aborts when the
   * partition is to be given up. A task that is waiting for something then throws `stopping.reason`: the records in
   * its hands are read again by whoever comes next.
   */
  readonly createTask: (partition: number, snapshot: unknown, stopping: AbortSignal) => Task;
  /** Least time between two checkpoints. They come less often where saves take long: see `Saves`. */
  readonly checkpointEveryMs: number;
  /** Most records given to `process` at once. */
  readonly recordsMax?: number;
  /**
   * Writes an output only when the checkpoint that holds it is saved, so that a replay that merges the topics
   * otherwise cannot decide it anew. For few outputs that may come some ms later.
   */
  readonly holdOutputs?: true;
}

export interface StepPorts {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the process: the supervisor starts it anew, from the last checkpoint. */
  readonly fail: Fail;
  /** Numbers in [0, 1), for waits that are not to coincide with another process's. Default Math.random. */
  readonly chance?: () => number;
  /** About how long a fenced partition rests before it is taken over again. Default 3 s: the group tells sooner. */
  readonly fencedWaitMs?: number;
}

export interface RunningStep {
  /** Records still to be read over all partitions owned. */
  lag(): number;
  /** Partitions owned now. */
  partitions(): readonly number[];
  /** Finishes the batch in hand, saves a checkpoint of every task, leaves the group. */
  stop(): Promise<void>;
}
