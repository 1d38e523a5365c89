/** An archived block of examples: a contiguous half-open offset range of one partition. Times are event time. */
export interface Block {
  /** SHA-256 of the Parquet object. */
  readonly digest: string;
  readonly bytes: number;
  readonly partition: number;
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly rows: number;
  readonly minTimeMs: number;
  readonly maxTimeMs: number;
  readonly maxKnownAtMs: number;
}

/** The blocks that hold rows at or after `fromMs`, by partition and offset. Blocks without rows are left out. */
export function selectBlocks(blocks: readonly Block[], fromMs: number): Block[] {
  return blocks
    .filter((block) => block.rows > 0 && block.maxTimeMs >= fromMs)
    .sort((a, b) => a.partition - b.partition || a.firstOffset - b.firstOffset);
}

/**
 * Rows at or after `sinceMs` and before `untilMs`, from the blocks' time ranges alone: exact for blocks that lie on one
 * side of each, in proportion for those that straddle one. Superseded rows count.
 */
export function rowsBetween(blocks: readonly Block[], sinceMs: number, untilMs: number): number {
  return Math.round(
    blocks.reduce((sum, { rows, minTimeMs, maxTimeMs }) => {
      if (maxTimeMs < sinceMs || minTimeMs >= untilMs) return sum;
      if (minTimeMs >= sinceMs && maxTimeMs < untilMs) return sum + rows;
      const inside = Math.min(maxTimeMs, untilMs) - Math.max(minTimeMs, sinceMs);
      return sum + (rows * inside) / (maxTimeMs - minTimeMs);
    }, 0),
  );
}
