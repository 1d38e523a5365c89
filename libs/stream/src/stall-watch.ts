const STALL_MS = 60_000;

/** Records can be read but none arrive: the client has stalled silently. */
export class StallError extends Error {
  constructor(step: string, partition: number, stalledMs: number) {
    super(
      `step ${step} has read nothing of partition ${partition} for ${stalledMs} ms although there is more`,
    );
    this.name = "StallError";
  }
}

/** What the watch sees of a partition. */
interface Watched {
  /** ms without progress although there is something to read. */
  stalledMs(): number;
  /** Whether anything was processed since the consumption began. */
  hasProgressed(): boolean;
}

export interface Stall {
  readonly partition: number;
  readonly stalledMs: number;
  /** The consumption was started anew because of it, and has read nothing since. */
  readonly again: boolean;
}

/** Finds partitions that read nothing although there is more, and remembers for which the remedy was tried. */
export class StallWatch {
  readonly #tried = new Set<number>();

  /** The first stalled partition; null: all go on. Whoever gets one starts the consumption anew, or gives up. */
  look(partitions: ReadonlyMap<number, Watched>): Stall | null {
    for (const [partition, watched] of partitions) {
      if (watched.hasProgressed()) this.#tried.delete(partition);
      const stalledMs = watched.stalledMs();
      if (stalledMs <= STALL_MS) continue;
      const again = this.#tried.has(partition);
      this.#tried.add(partition);
      return { partition, stalledMs, again };
    }
    return null;
  }
}
