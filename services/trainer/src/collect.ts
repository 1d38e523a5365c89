import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { BlockFiles } from "@millrace/archive";
import { type Example, lineTopic } from "@millrace/contracts";
import { type Block, ripeUntil, rowsBetween } from "@millrace/datasets";
import { checkedDurationMs, type LearningLine } from "@millrace/lines";
import {
  type ArchivedRow,
  type BlockColumn,
  BlockIndexUnavailableError,
  blockMessage,
  blockOf,
  type Block as IndexedBlock,
  memberFile,
  type StreamRecord,
  startArchive,
} from "@millrace/stream";
import { isAway, patiently } from "./patience.ts";
import type { Ports } from "./ports.ts";

const ROWS_MAX = 5_000;
const EVERY_MS = 5_000;

/** Archives `LINE.examples` as Parquet blocks and knows how many there are. */
export interface Collector {
  /** Archived blocks, in any order. */
  blocks(): readonly Block[];
  /** Archived examples that are ripe to be learnt from. */
  examples(): number;
  /** Of these, the ones whose event time lies at or after a time. */
  examplesSince(timeMs: number): number;
  /** Newest event time at which an archived label became known; 0: there are none. */
  streamTimeMs(): number;
  /** Archives what has been read so far. */
  flush(): Promise<void>;
  lag(): number;
  stop(): Promise<void>;
}

/** Starts collecting a line's examples behind the newest block in the registry. */
export async function startCollect(
  line: LearningLine,
  files: BlockFiles,
  scratch: string,
  ports: Ports,
  signal: AbortSignal,
): Promise<Collector> {
  const { registry, objects, parquet } = ports;
  const topic = lineTopic(line.name, "examples");
  await mkdir(scratch, { recursive: true });
  const listed = await patiently("list the blocks", ports, signal, () =>
    registry.listBlocks({ topic, sinceTimeMs: 0n }),
  );
  const blocks = new Map<string, Block>();
  const nextOffsets = new Map<number, number>();
  const keep = (block: Block): void => {
    blocks.set(`${block.partition}/${block.firstOffset}`, block);
    nextOffsets.set(block.partition, Math.max(block.nextOffset, nextOffsets.get(block.partition) ?? 0));
  };
  for (const block of listed.blocks) keep(blockOf(block));

  const add = async (block: IndexedBlock): Promise<void> => {
    await registry.addBlock({ block: blockMessage(block) }).catch((error: unknown) => {
      if (!isAway(ports.codeOf(error))) throw error;
      throw new BlockIndexUnavailableError("the registry is away", { cause: error });
    });
    keep(block);
  };

  const archive = await startArchive(
    {
      name: `${line.name}.collect`,
      line: line.name,
      topic,
      member: memberFile(join(scratch, "member")),
      rowsMax: ROWS_MAX,
      everyMs: EVERY_MS,
      read: readExample,
      columns: exampleColumns,
    },
    {
      ...ports,
      // What is archived here is needed here: it need not be fetched for a build.
      objects: {
        ...objects,
        put: async (bytes) => {
          const digest = await objects.put(bytes);
          await files.keep(digest, bytes);
          return digest;
        },
      },
      index: {
        nextOffset: async (_topic, partition) => nextOffsets.get(partition) ?? null,
        add,
      },
      writeParquet: (file, columns) => parquet.write(file, columns),
      scratch,
    },
  );
  const silence = { silence: line.label.silence, waitMs: checkedDurationMs(line.label.waitFor) };
  const streamTimeMs = (): number =>
    [...blocks.values()].reduce((max, block) => Math.max(max, block.maxKnownAtMs), 0);
  const examplesSince = (timeMs: number): number =>
    rowsBetween([...blocks.values()], timeMs, ripeUntil(silence, streamTimeMs()));
  return {
    blocks: () => [...blocks.values()],
    examples: () => examplesSince(Number.NEGATIVE_INFINITY),
    examplesSince,
    streamTimeMs,
    flush: () => archive.flush(),
    lag: () => archive.lag(),
    stop: () => archive.stop(),
  };
}

/** Reads an example; null when the record is none. */
function readExample(record: StreamRecord): ArchivedRow<Example> | null {
  if (record.value === null) return null;
  try {
    const row = JSON.parse(Buffer.from(record.value).toString("utf8")) as Example;
    const isExample =
      typeof row.id === "string" &&
      typeof row.features === "string" &&
      typeof row.labelled === "string" &&
      Array.isArray(row.values);
    if (!isExample) return null;
    return { row, timeMs: row.time, knownAtMs: row.knownAt };
  } catch {
    return null;
  }
}

/**
 * Columns of a block: id, time, known_at, label, labelled (event, silence), revision, vector_accepted_at,
 * label_accepted_at, features (digest), f0, f1, ... NaN where a value is unknown.
 */
export function exampleColumns(rows: readonly Example[]): Record<string, BlockColumn> {
  // Rows on both sides of a change of the features have different widths; a build takes such a block for neither.
  const width = rows.reduce((max, { values }) => Math.max(max, values.length), 0);
  const column = (index: number): BlockColumn => ({
    kind: "float32",
    values: Float32Array.from(rows, ({ values }) => values[index] ?? Number.NaN),
  });
  const integers = (of: (example: Example) => number): BlockColumn => ({
    kind: "integer",
    values: Float64Array.from(rows, of),
  });
  return {
    id: { kind: "text", values: rows.map(({ id }) => id) },
    time: integers(({ time }) => time),
    known_at: integers(({ knownAt }) => knownAt),
    label: { kind: "float32", values: Float32Array.from(rows, ({ label }) => label) },
    labelled: { kind: "text", values: rows.map(({ labelled }) => labelled) },
    revision: integers(({ revision }) => revision),
    vector_accepted_at: integers(({ vectorAcceptedAtMs }) => vectorAcceptedAtMs),
    label_accepted_at: integers(({ labelAcceptedAtMs }) => labelAcceptedAtMs),
    features: { kind: "text", values: rows.map(({ features }) => features) },
    ...Object.fromEntries(Array.from({ length: width }, (_, index) => [`f${index}`, column(index)])),
  };
}
