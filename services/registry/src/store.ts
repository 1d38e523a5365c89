import type { RegistryChange, Trigger } from "@millrace/contracts";
import type { Aspired, Change, Lease, RunState } from "@millrace/versions";

/** The applied definition of a line. Times are wall-clock ms unless the name says otherwise. */
export interface LineRow {
  readonly name: string;
  /** Canonical JSON, and its SHA-256. */
  readonly definitionJson: string;
  readonly digest: string;
  /** Counts applied definitions of this line, from 1. */
  readonly revision: number;
  readonly appliedAtMs: number;
}

/** A Parquet object that holds the offsets [firstOffset, nextOffset) of one partition of one topic. */
export interface BlockRow {
  readonly line: string;
  readonly topic: string;
  readonly partition: number;
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly rows: number;
  readonly digest: string;
  readonly bytes: number;
  /** Event times. */
  readonly minTimeMs: number;
  readonly maxTimeMs: number;
  readonly maxKnownAtMs: number;
}

/** The state of one partition of a step, in the object store. */
export interface CheckpointRow {
  readonly line: string;
  readonly step: string;
  readonly partition: number;
  readonly manifestDigest: string;
  readonly bytes: number;
  readonly version: string;
  /** Next offset to read, by input topic. */
  readonly offsets: Readonly<Record<string, number>>;
  /** Of the owner that saved it. */
  readonly epoch: number;
  readonly savedAtMs: number;
}

export interface RunRow {
  readonly id: string;
  readonly line: string;
  readonly cause: string;
  readonly trigger: Trigger | "quality";
  readonly state: RunState;
  readonly reason: string;
  readonly epoch: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  /** Event times. */
  readonly streamTimeMs: number;
  readonly changeTimeMs: number;
  readonly datasetDigest: string;
  readonly version: number;
  readonly traceparent: string;
  readonly stageMs: Readonly<Record<string, number>>;
  readonly attempts: number;
}

export interface VersionRow {
  readonly line: string;
  readonly version: number;
  readonly artifactDigest: string;
  readonly artifactBytes: number;
  readonly recipe: string;
  readonly featureDigest: string;
  readonly featureNames: readonly string[];
  readonly datasetDigest: string;
  readonly runId: string;
  readonly epoch: number;
  readonly parentVersion: number;
  readonly registeredAtMs: number;
  readonly evidenceJson: string;
  readonly passed: boolean;
  /** Event time. */
  readonly trainedUntilMs: number;
  /** DSSE envelope; empty: nobody has signed it. */
  readonly signature: string;
}

/** One generation of a line's aspired set. */
export interface AspiredRow extends Aspired {
  readonly line: string;
  readonly changedAtMs: number;
  readonly change: Change;
  readonly reason: string;
  readonly traceparent: string;
}

/** A change that was committed and is not on Kafka yet. */
export interface PendingChange {
  readonly seq: number;
  readonly change: RegistryChange;
  readonly traceparent: string;
}

/** Sizes of one line, for the status. */
export interface LineCounts {
  readonly versions: number;
  readonly runs: number;
  readonly blocks: number;
  /** Newest event time in a block; 0 when there is none. */
  readonly streamTimeMs: number;
}

/** Everything the registry keeps. Lookups answer null where nothing is found. */
export interface Tables {
  line(name: string): Promise<LineRow | null>;
  /** By name. */
  lines(): Promise<readonly LineRow[]>;
  /** Adds the line, or replaces its definition. */
  putLine(line: LineRow): Promise<void>;
  lineCounts(name: string): Promise<LineCounts>;

  block(topic: string, partition: number, firstOffset: number): Promise<BlockRow | null>;
  /** The block with the highest offsets. */
  lastBlock(topic: string, partition: number): Promise<BlockRow | null>;
  /** Those that reach `sinceTimeMs`, by partition and offset. */
  blocks(topic: string, sinceTimeMs: number): Promise<readonly BlockRow[]>;
  addBlock(block: BlockRow): Promise<void>;

  /** Of the newest owner; 0: there was none. */
  checkpointEpoch(line: string, step: string, partition: number): Promise<number>;
  putCheckpointEpoch(line: string, step: string, partition: number, epoch: number): Promise<void>;
  /** By step and partition, newest first. */
  checkpoints(line: string): Promise<readonly CheckpointRow[]>;
  /** Newest first. */
  checkpointsOf(line: string, step: string, partition: number): Promise<readonly CheckpointRow[]>;
  addCheckpoint(checkpoint: CheckpointRow): Promise<void>;
  /** Removes all but the newest `kept`, and answers what it removed. */
  dropCheckpoints(
    line: string,
    step: string,
    partition: number,
    kept: number,
  ): Promise<readonly CheckpointRow[]>;

  lease(line: string): Promise<Lease | null>;
  putLease(line: string, lease: Lease): Promise<void>;

  run(id: string): Promise<RunRow | null>;
  runOfCause(line: string, cause: string): Promise<RunRow | null>;
  /** Newest first. */
  runs(line: string, limit: number): Promise<readonly RunRow[]>;
  addRun(run: RunRow): Promise<void>;
  updateRun(run: RunRow): Promise<void>;

  version(line: string, version: number): Promise<VersionRow | null>;
  versionOfRun(line: string, runId: string, artifactDigest: string): Promise<VersionRow | null>;
  /** By number. */
  versions(line: string): Promise<readonly VersionRow[]>;
  addVersion(version: VersionRow): Promise<void>;

  /** The newest generation. */
  aspired(line: string): Promise<AspiredRow | null>;
  /** Every generation, oldest first. */
  history(line: string): Promise<readonly AspiredRow[]>;
  addAspired(aspired: AspiredRow): Promise<void>;

  /** Oldest first. */
  pendingChanges(limit: number): Promise<readonly PendingChange[]>;
  addChange(change: RegistryChange, traceparent: string): Promise<void>;
  /** Removes those up to and including `seq`. */
  dropChanges(seq: number): Promise<void>;
}

/** Where the registry keeps its tables. Narrow, so that another database can stand behind it. */
export interface Store {
  /**
   * Runs `work` in one transaction, serialised with all others: durable when this resolves, undone when `work`
   * throws. `work` waits for nothing but its tables.
   */
  transaction<T>(work: (tables: Tables) => Promise<T>): Promise<T>;
  /** Lets the transactions begun end, then closes. May be called more than once. */
  close(): Promise<void>;
}

/** The start stops here: the store is damaged, or not of a form that this version reads. */
export class UnusableStoreError extends Error {
  readonly file: string;
  constructor(file: string, problem: string, remedy: string, options?: { cause?: unknown }) {
    super(`registry store ${file}: ${problem}. ${remedy}`, options);
    this.name = "UnusableStoreError";
    this.file = file;
  }
}
