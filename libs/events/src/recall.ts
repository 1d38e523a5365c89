import type { StreamMemory } from "./acceptor.ts";
import { DEDUP_IDS_DEFAULT, DedupWindow } from "./dedup-window.ts";
import { Watermark } from "./watermark.ts";

/** A block of a partition's archive, as far as it matters here. */
export interface AcceptedBlock {
  readonly rows: number;
  /** Newest event time among its rows. */
  readonly maxTimeMs: number;
}

/** Rows of a block in the order of their acceptance. */
export interface AcceptedRows {
  readonly ids: readonly string[];
  readonly times: ArrayLike<number>;
}

/**
 * Makes an acceptor's memory of a stream anew from the archive of its partition: all blocks of accepted events of that
 * stream alone, in order. What an acceptor remembers depends on the newest ids and the newest event times only, so that
 * few blocks are read: those that hold the newest 262,144 rows, and those that can hold one of the newest times. The
 * memory equals that of an acceptor that took every record; its counts are 0.
 */
export async function recallStream<B extends AcceptedBlock>(
  blocks: readonly B[],
  read: (block: B) => Promise<AcceptedRows>,
  idsMax: number = DEDUP_IDS_DEFAULT,
): Promise<StreamMemory> {
  let first = blocks.length;
  for (let rows = 0; first > 0 && rows < idsMax; ) rows += (blocks[--first] as B).rows;
  const dedup = new DedupWindow(idsMax);
  const watermark = new Watermark(0);
  for (const block of blocks.slice(first)) {
    const { ids, times } = await read(block);
    for (const id of ids) dedup.admit(id);
    observe(watermark, times);
  }
  const older = blocks.slice(0, first).sort((a, b) => b.maxTimeMs - a.maxTimeMs);
  for (const block of older) {
    // What comes after it in this order is older still.
    if (block.maxTimeMs <= watermark.ms) break;
    observe(watermark, (await read(block)).times);
  }
  return { received: 0, accepted: 0, dedup: dedup.snapshot(), newest: watermark.snapshot() };
}

function observe(watermark: Watermark, times: ArrayLike<number>): void {
  for (let i = 0; i < times.length; i++) watermark.observe(times[i] as number);
}
