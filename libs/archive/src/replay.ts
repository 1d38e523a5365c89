import type { EventRow } from "@millrace/events";
import type { LineDefinition } from "@millrace/lines";
import type { Block } from "@millrace/stream";
import type { BlockFiles } from "./block-files.ts";
import { type ColumnBatch, type ColumnKind, EventColumns } from "./event-columns.ts";

/** The port to Parquet files. The adapter is `libs/parquet`. */
export interface ColumnScan {
  /** Rows in the order of the files, in batches; a column that a file lacks is unknown there (NaN, null). */
  scan(
    files: readonly string[],
    schema: Readonly<Record<string, ColumnKind>>,
  ): AsyncIterable<{ readonly rows: number; readonly columns: ColumnBatch }>;
}

export interface ArchivePorts {
  readonly files: BlockFiles;
  readonly parquet: ColumnScan;
}

/** A range of offsets, half-open. */
export interface Span {
  readonly from: number;
  readonly until: number;
}

/**
 * Gives the archived events of one partition's event log, in its order, from the blocks that hold the span. `take` gets
 * each event with its offset; its row is used again. Throws a RangeError when blocks of the span are missing, and the
 * signal's reason when it aborts. The event loop goes on in between.
 */
export async function replay(
  line: Pick<LineDefinition, "name" | "streams">,
  blocks: readonly Block[],
  span: Span,
  { files, parquet }: ArchivePorts,
  take: (row: EventRow, offset: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const columns = new EventColumns(line);
  for (const block of blocksOf(blocks, span)) {
    signal.throwIfAborted();
    await files.fetch([block]);
    for await (const batch of parquet.scan([files.file(block.digest)], columns.schema)) {
      signal.throwIfAborted();
      const offsets = batch.columns["offset"] as Float64Array;
      for (let i = 0; i < batch.rows; i++) {
        const offset = offsets[i] as number;
        if (offset < span.from || offset >= span.until) continue;
        const row = columns.read(batch.columns, i);
        if (row !== null) take(row, offset);
      }
      await new Promise(setImmediate);
    }
  }
}

/** The blocks that hold the span, in order. Throws a RangeError when they leave a gap. */
export function blocksOf(blocks: readonly Block[], { from, until }: Span): readonly Block[] {
  const held = blocks
    .filter((block) => block.nextOffset > from && block.firstOffset < until)
    .sort((a, b) => a.firstOffset - b.firstOffset);
  let next = from;
  for (const { firstOffset, nextOffset, topic, partition } of held) {
    if (firstOffset > next && next > 0) {
      throw new RangeError(
        `the archive of ${topic}/${partition} has nothing from ${next} to ${firstOffset - 1}`,
      );
    }
    next = nextOffset;
  }
  if (next < until) throw new RangeError(`the archive ends at offset ${next}, before ${until}`);
  return held;
}

/** The blocks that hold what lies less than `reachMs` of event time behind the newest archived event. */
export function blocksWithin(blocks: readonly Block[], reachMs: number): readonly Block[] {
  const newestMs = blocks.reduce(
    (newest, block) => Math.max(newest, block.maxTimeMs),
    Number.NEGATIVE_INFINITY,
  );
  const from = blocks
    .filter((block) => block.maxTimeMs >= newestMs - reachMs)
    .reduce((first, block) => Math.min(first, block.firstOffset), Number.POSITIVE_INFINITY);
  return blocks.filter((block) => block.firstOffset >= from);
}
