import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type ObjectStore, ObjectStoreUnavailableError, sleep } from "@millrace/runtime";
import type { MemberMemory, StreamRecord } from "./broker.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { startStep } from "./start-step.ts";
import type { RunningStep, StepPorts, Task } from "./step.ts";

/**
 * A column of a block; NaN and null are unknown. `integer` holds whole numbers, `boolean` 0 or 1, `decimal` whole
 * numbers of units of 10^-scale.
 */
export type BlockColumn =
  | { readonly kind: "float32"; readonly values: Float32Array }
  | { readonly kind: "float64" | "integer" | "boolean"; readonly values: Float64Array }
  | { readonly kind: "decimal"; readonly scale: number; readonly values: Float64Array }
  | { readonly kind: "text"; readonly values: readonly (string | null)[] };

/** A Parquet object that holds the records of one partition from `firstOffset` up to, not including, `nextOffset`. */
export interface Block {
  readonly line: string;
  readonly topic: string;
  readonly partition: number;
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly rows: number;
  /** SHA-256 of the object, its key in the object store. */
  readonly digest: string;
  readonly bytes: number;
  /** Event-time range of the rows, and the greatest time at which one of them became known. */
  readonly minTimeMs: number;
  readonly maxTimeMs: number;
  readonly maxKnownAtMs: number;
}

/**
 * The port to the index of blocks: the only memory an archive has. Both calls reject with a
 * BlockIndexUnavailableError when the index is away (try again), and with anything else when it refuses.
 */
export interface BlockIndex {
  /** Where the newest block of a partition ends; null when there is none. */
  nextOffset(topic: string, partition: number): Promise<number | null>;
  /** Adds a block behind the newest one. It refuses for example when somebody else has added one meanwhile. */
  add(block: Block): Promise<void>;
}

/** The index of blocks is away or slow: ask again later. A block may have been added or not; add it again. */
export class BlockIndexUnavailableError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "BlockIndexUnavailableError";
  }
}

export interface ArchivedRow<R> {
  readonly row: R;
  /** Event time, and when the row became known; ms. */
  readonly timeMs: number;
  readonly knownAtMs: number;
}

export interface ArchiveDefinition<R> {
  /** Name of the step, for example `flights.archive`. */
  readonly name: string;
  readonly line: string;
  readonly topic: string;
  /** See `StepDefinition`. */
  readonly member?: MemberMemory;
  /** A block is written when it has so many rows, and every so many ms when there are any. */
  readonly rowsMax: number;
  readonly everyMs: number;
  /**
   * Called when a partition was taken over, before its first record, with the offset of that (null: the partition's
   * first). May reject as the index does, and is then called again.
   */
  readonly begin?: (partition: number, nextOffset: number | null) => Promise<void>;
  /** The row of a record; null when it is none of ours: it is left out, with a warning. "refused": it is to be. */
  readonly read: (record: StreamRecord) => ArchivedRow<R> | "refused" | null;
  /** The columns of rows, by name. The same rows give the same columns. */
  readonly columns: (rows: readonly R[]) => Readonly<Record<string, BlockColumn>>;
}

export interface ArchivePorts extends StepPorts {
  readonly objects: ObjectStore;
  readonly index: BlockIndex;
  /** Writes columns of equal length to a Parquet file. */
  readonly writeParquet: (file: string, columns: Readonly<Record<string, BlockColumn>>) => Promise<void>;
  /** Folder for the block being written. It exists. */
  readonly scratch: string;
}

export interface RunningArchive extends RunningStep {
  /** Blocks and rows written by this process. */
  written(): { readonly blocks: number; readonly rows: number };
  /** Writes what is held now as blocks; resolves when they are indexed. */
  flush(): Promise<void>;
}

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 10_000;

/**
 * Runs a step that archives a topic: rows are collected and written as Parquet blocks into the object store, then
 * added to the index. The step keeps no checkpoints of its own: the index says where to go on (S2), so that each
 * record is in exactly one indexed block. Blocks that were stored but not indexed when the process died are
 * orphans, named by their digest. While store or index is away the step waits; at a stop it tries once.
 */
export async function startArchive<R>(
  definition: ArchiveDefinition<R>,
  ports: ArchivePorts,
): Promise<RunningArchive> {
  const { name, topic, member, everyMs } = definition;
  const tasks = new Map<number, ArchiveTask<R>>();
  const say = (error: unknown): void =>
    ports.log.warn({ err: error, step: name }, "archive: waits for store and index");
  const step = await startStep(
    {
      name,
      topics: [topic],
      outputs: [],
      ...(member === undefined ? {} : { member }),
      checkpointEveryMs: everyMs,
      checkpoints: {
        copiesNothing: true,
        load: async (partition, _version, signal) => {
          const begin = async (): Promise<number | null> => {
            const nextOffset = await ports.index.nextOffset(topic, partition);
            await definition.begin?.(partition, nextOffset);
            return nextOffset;
          };
          const nextOffset = await patiently(begin, signal, say);
          return nextOffset === null ? null : toCheckpoint(topic, nextOffset);
        },
        save: async (partition) => tasks.get(partition)?.flush(),
      },
      createTask: (partition, snapshot, stopping) => {
        const task = new ArchiveTask(partition, snapshot as number | null, stopping, definition, ports, say);
        tasks.set(partition, task);
        return task;
      },
    },
    ports,
  );
  return {
    ...step,
    flush: async () => {
      await Promise.all([...tasks.values()].map((task) => task.flush()));
    },
    written: () => {
      const all = [...tasks.values()];
      return {
        blocks: all.reduce((sum, task) => sum + task.blocks, 0),
        rows: all.reduce((sum, task) => sum + task.rows, 0),
      };
    },
  };
}

/** Tries again while store or index is away, until the signal aborts: then throws the signal's reason. */
async function patiently<T>(
  work: () => Promise<T>,
  signal: AbortSignal,
  onWait: (error: unknown) => void,
): Promise<T> {
  for (let waitMs = RETRY_MS_MIN; ; waitMs = Math.min(2 * waitMs, RETRY_MS_MAX)) {
    try {
      return await work();
    } catch (error) {
      const isAway =
        error instanceof ObjectStoreUnavailableError || error instanceof BlockIndexUnavailableError;
      if (!isAway) throw error;
      onWait(error);
      await sleep(waitMs, signal);
      if (signal.aborted) throw signal.reason;
    }
  }
}

function toCheckpoint(topic: string, nextOffset: number): Checkpoint {
  return { version: "", offsets: { [topic]: nextOffset }, ends: {}, held: [], state: nextOffset };
}

/** The rows of a block to be, and its range of offsets. */
interface Cut<R> {
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly rows: readonly ArchivedRow<R>[];
}

class ArchiveTask<R> implements Task {
  blocks = 0;
  rows = 0;
  readonly #partition: number;
  readonly #stopping: AbortSignal;
  readonly #definition: ArchiveDefinition<R>;
  readonly #ports: ArchivePorts;
  readonly #onWait: (error: unknown) => void;
  #held: ArchivedRow<R>[] = [];
  /** Where the next block begins (null: at the first record that comes), and where it would end now. */
  #firstOffset: number | null;
  #nextOffset = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(
    partition: number,
    nextOffset: number | null,
    stopping: AbortSignal,
    definition: ArchiveDefinition<R>,
    ports: ArchivePorts,
    onWait: (error: unknown) => void,
  ) {
    this.#partition = partition;
    this.#stopping = stopping;
    this.#definition = definition;
    this.#ports = ports;
    this.#onWait = onWait;
    this.#firstOffset = nextOffset;
  }

  async process(records: readonly StreamRecord[]): Promise<void> {
    for (const record of records) {
      this.#firstOffset ??= record.offset;
      this.#nextOffset = record.offset + 1;
      const row = this.#definition.read(record);
      if (row === null) this.#warnAbout(record);
      else if (row !== "refused") this.#held.push(row);
    }
    if (this.#held.length >= this.#definition.rowsMax) await this.flush();
  }

  /** The state is in the index. */
  snapshot(): null {
    return null;
  }

  /** Writes what is held as a block, after the blocks before it. What comes meanwhile belongs to the next one. */
  flush(): Promise<void> {
    if (this.#held.length > 0) {
      const cut = {
        firstOffset: this.#firstOffset ?? 0,
        nextOffset: this.#nextOffset,
        rows: this.#held,
      };
      this.#held = [];
      this.#firstOffset = cut.nextOffset;
      this.#writing = this.#writing.then(() => this.#write(cut));
    }
    return this.#writing;
  }

  async #write(cut: Cut<R>): Promise<void> {
    const { line, topic, columns } = this.#definition;
    const { objects, index, writeParquet, scratch } = this.#ports;
    const file = join(scratch, `${topic}-${this.#partition}.parquet`);
    await writeParquet(file, columns(cut.rows.map(({ row }) => row)));
    const bytes = await readFile(file);
    await rm(file);
    // At a stop it is tried once: nothing is lost, the records are read again.
    const store = async (): Promise<void> => {
      const digest = await objects.put(bytes);
      await index.add({
        line,
        topic,
        partition: this.#partition,
        firstOffset: cut.firstOffset,
        nextOffset: cut.nextOffset,
        rows: cut.rows.length,
        digest,
        bytes: bytes.length,
        minTimeMs: cut.rows.reduce((min, { timeMs }) => Math.min(min, timeMs), Number.POSITIVE_INFINITY),
        maxTimeMs: cut.rows.reduce((max, { timeMs }) => Math.max(max, timeMs), Number.NEGATIVE_INFINITY),
        maxKnownAtMs: cut.rows.reduce((max, row) => Math.max(max, row.knownAtMs), Number.NEGATIVE_INFINITY),
      });
    };
    await patiently(store, this.#stopping, this.#onWait);
    this.blocks++;
    this.rows += cut.rows.length;
  }

  #warnAbout(record: StreamRecord): void {
    const { topic, partition, offset } = record;
    this.#ports.log.warn({ topic, partition, offset }, "archive: a record that is none of ours is left out");
  }
}
