import type { SourcePosition } from "@millrace/contracts";
import type { Output } from "./broker.ts";

/** Everything a task needs to go on after a crash, of one moment (S2). */
export interface Checkpoint {
  /** The step's version; empty where it has none. */
  readonly version: string;
  /** Next offset to read, by input topic. */
  readonly offsets: Readonly<Record<string, number>>;
  /** By output topic: outputs of what lies at or behind `offsets` stand nowhere before this offset. */
  readonly ends: Readonly<Record<string, number>>;
  /** Outputs decided and not yet written, in order (`holdOutputs`). */
  readonly held: readonly HeldOutput[];
  /** The task's own state: structured-cloneable data. null: the task is at its beginning. */
  readonly state: unknown;
}

export interface HeldOutput {
  readonly topic: string;
  readonly output: Output;
  readonly cause: SourcePosition;
}

/** Where checkpoints live, the newest of each partition of a step. */
export interface CheckpointStore {
  /** A save copies no state, and may take as long as it likes without coming less often. */
  readonly copiesNothing?: true;
  /**
   * The newest checkpoint, if it is of this version (null: of whichever); else null. May wait for a store that is
   * away, until the signal aborts; then rejects with its reason. Whoever loads owns the partition from then on.
   */
  load(partition: number, version: string | null, signal: AbortSignal): Promise<Checkpoint | null>;
  /**
   * Copies at once, and resolves when the copy is safe. `last`: the partition is being given up. Rejects with a
   * FencedError when somebody else has loaded the partition meanwhile.
   */
  save(partition: number, checkpoint: Checkpoint, last: boolean): Promise<void>;
}
