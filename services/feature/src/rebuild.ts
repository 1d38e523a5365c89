import { type ArchivePorts, blocksWithin, replay } from "@millrace/archive";
import { lineTopic } from "@millrace/contracts";
import { Acceptor, type AcceptorSnapshot, recallStream } from "@millrace/events";
import { featuresReachMs } from "@millrace/features";
import { eventLog, isLearning, type LineDefinition } from "@millrace/lines";
import type { Log } from "@millrace/runtime";
import {
  type Block,
  type Broker,
  type Checkpoint,
  type CheckpointStore,
  highestPositions,
} from "@millrace/stream";
import { type ComputeSnapshot, createComputeTask } from "./compute.ts";

/** What a state is built from when there is no checkpoint of it. */
export interface RebuildPorts extends ArchivePorts {
  readonly broker: Broker;
  /** Archived blocks of a topic, in any order. */
  readonly blocks: (topic: string) => Promise<readonly Block[]>;
  readonly log: Log;
}

/** What the state belongs to. */
export interface ComputeVersion {
  readonly line: LineDefinition;
  readonly featureDigest: string;
  /** Digest of both the feature definition and the number of partitions. */
  readonly version: string;
}

/** The topics that a line's compute step writes. */
export function computeOutputs(line: LineDefinition): readonly string[] {
  const kinds = isLearning(line) ? (["features", "examples"] as const) : (["features"] as const);
  return kinds.map((kind) => lineTopic(line.name, kind));
}

/**
 * Builds the state of a partition as it was before the event at `until`, from the archive and, beyond it, from the
 * event log, by the code of the stream itself. Everything that is caused by events before `until` must be written
 * already: of what is built here nothing is. As much is read as the features reach back.
 */
export async function rebuild(
  { line, featureDigest, version }: ComputeVersion,
  partition: number,
  until: number,
  ports: RebuildPorts,
  signal: AbortSignal,
): Promise<Checkpoint> {
  const { broker, log } = ports;
  const { topic, direct } = eventLog(line);
  const startedAtMs = performance.now();
  log.info({ line: line.name, partition, until }, "the state is built from the archive");
  const archived = (await ports.blocks(topic)).filter(
    (block) => block.partition === partition && block.firstOffset < until,
  );
  const archiveEnd = archived.reduce((end, block) => Math.max(end, Math.min(block.nextOffset, until)), 0);

  const first = createComputeTask(line, featureDigest, null);
  const held = blocksWithin(archived, featuresReachMs(first.computation.plan));
  const from = held.reduce((start, block) => Math.min(start, block.firstOffset), archiveEnd);
  const sink = { vector: () => {}, example: () => {} };
  const span = { from, until: archiveEnd };
  await replay(line, held, span, ports, (row) => first.computation.take(row, sink), signal);
  const state: ComputeSnapshot = {
    computation: first.computation.snapshot(),
    acceptor: direct ? await recallAcceptor(line, archived, until, ports, signal) : null,
  };

  const task = createComputeTask(line, featureDigest, state);
  for await (const records of broker.read(topic, partition, archiveEnd, until)) {
    signal.throwIfAborted();
    await task.process(records, () => {});
    await new Promise(setImmediate);
  }
  const seconds = (performance.now() - startedAtMs) / 1_000;
  log.info({ line: line.name, partition, from, archiveEnd, until, seconds }, "the state is built");
  return { version, offsets: { [topic]: until }, ends: {}, held: [], state: task.snapshot() };
}

/**
 * A store that builds what it does not have, where the output topics show how far the partition has come: everything
 * before the last cause that stands in each of them is written. null where nothing is: the step begins with the log.
 */
export function rebuiltCheckpoints(
  store: CheckpointStore,
  version: ComputeVersion,
  ports: RebuildPorts,
): CheckpointStore {
  return {
    load: async (partition, wanted, signal) => {
      const found = await store.load(partition, wanted, signal);
      if (found !== null) return found;
      const until = await writtenBefore(version.line, partition, ports.broker);
      return until === 0 ? null : rebuild(version, partition, until, ports, signal);
    },
    save: (partition, checkpoint, last) => store.save(partition, checkpoint, last),
  };
}

/** The offset of the event log before which all that was caused is written. What the log has let go of was. */
async function writtenBefore(line: LineDefinition, partition: number, broker: Broker): Promise<number> {
  const { topic } = eventLog(line);
  let until = Number.POSITIVE_INFINITY;
  for (const output of computeOutputs(line)) {
    const { first: from, end } = await boundsOf(broker, output, partition);
    const highest = await highestPositions(broker, output, partition, { from, end }, [topic]);
    until = Math.min(until, highest.get(topic)?.offset ?? 0);
  }
  const { first } = await boundsOf(broker, topic, partition);
  return Math.max(until, first);
}

async function boundsOf(
  broker: Broker,
  topic: string,
  partition: number,
): Promise<{ readonly first: number; readonly end: number }> {
  const all = await broker.offsets(topic);
  return all.find((one) => one.partition === partition) ?? { first: 0, end: 0 };
}

/** The memory of the producers' topic as it was before the record at `until`, as far as it is archived. */
async function recallAcceptor(
  line: LineDefinition,
  archived: readonly Block[],
  until: number,
  { files, parquet }: ArchivePorts,
  signal: AbortSignal,
): Promise<AcceptorSnapshot> {
  // Of a block that goes beyond, it is not known how many rows count.
  const inOrder = archived
    .map((block) => (block.nextOffset > until ? { ...block, rows: 0 } : block))
    .sort((a, b) => a.firstOffset - b.firstOffset);
  const schema = { id: "text", time: "float64", offset: "float64" } as const;
  const memory = await recallStream(inOrder, async (block) => {
    signal.throwIfAborted();
    await files.fetch([block]);
    const ids: string[] = [];
    const times: number[] = [];
    for await (const { rows, columns } of parquet.scan([files.file(block.digest)], schema)) {
      const offsets = columns["offset"] as Float64Array;
      for (let i = 0; i < rows && (offsets[i] as number) < until; i++) {
        ids.push((columns["id"] as readonly string[])[i] as string);
        times.push((columns["time"] as Float64Array)[i] as number);
      }
    }
    return { ids, times };
  });
  const [stream] = Object.keys(line.streams) as [string];
  return new Acceptor(line, { streams: { [stream]: memory }, rejected: {} }).snapshot();
}
