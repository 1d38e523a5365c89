import type { SourcePosition } from "@millrace/contracts";

/** Highest source position seen, by `topic/partition` of the source. Plain data, part of a checkpoint. */
export type SeenPositions = Record<string, readonly [offset: number, index: number]>;

/**
 * Tells whether a position is new and remembers it. Positions of one source partition arrive in order except
 * for repetitions after a crash, so that one highest position per source is memory enough.
 */
export class Seen {
  readonly #highest: Map<string, readonly [number, number]>;

  constructor(positions: SeenPositions = {}) {
    this.#highest = new Map(Object.entries(positions));
  }

  /** True when the position is above the highest one seen of its source; it is the highest from then on. */
  advance(position: SourcePosition): boolean {
    const source = `${position.topic}/${position.partition}`;
    const highest = this.#highest.get(source);
    if (highest !== undefined) {
      const [offset, index] = highest;
      if (position.offset < offset || (position.offset === offset && position.index <= index)) return false;
    }
    this.#highest.set(source, [position.offset, position.index]);
    return true;
  }

  snapshot(): SeenPositions {
    return Object.fromEntries(this.#highest);
  }
}
