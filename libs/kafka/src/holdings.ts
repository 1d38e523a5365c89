interface Holding {
  wanted: boolean;
  held: boolean;
  /** It is being taken or let go of. */
  moving: boolean;
}

/**
 * The partition numbers that this process works on, brought one by one to what it has been given: taken when they are
 * new, let go of when they are not given any more, and left alone else.
 */
export class Holdings {
  readonly #take: (partition: number) => Promise<void>;
  readonly #letGo: (partition: number) => Promise<void>;
  readonly #onReleased: () => void;
  readonly #onFailed: (error: unknown) => void;
  readonly #holdings = new Map<number, Holding>();

  constructor(options: {
    readonly take: (partition: number) => Promise<void>;
    readonly letGo: (partition: number) => Promise<void>;
    /** One has been let go of. */
    readonly onReleased: () => void;
    readonly onFailed: (error: unknown) => void;
  }) {
    this.#take = options.take;
    this.#letGo = options.letGo;
    this.#onReleased = options.onReleased;
    this.#onFailed = options.onFailed;
  }

  /** Held, or being taken or let go of; ascending. */
  list(): number[] {
    return [...this.#holdings.keys()].toSorted((a, b) => a - b);
  }

  give(partitions: readonly number[]): void {
    for (const [partition, holding] of this.#holdings) holding.wanted = partitions.includes(partition);
    for (const partition of partitions) {
      if (this.#holdings.has(partition)) continue;
      this.#holdings.set(partition, { wanted: true, held: false, moving: false });
    }
    for (const [partition, holding] of this.#holdings) void this.#bring(partition, holding);
  }

  async #bring(partition: number, holding: Holding): Promise<void> {
    if (holding.moving || holding.held === holding.wanted) return;
    holding.moving = true;
    try {
      while (holding.held !== holding.wanted) {
        if (holding.held) await this.#letGo(partition);
        else await this.#take(partition);
        holding.held = !holding.held;
      }
    } catch (error) {
      this.#onFailed(error);
      return;
    }
    holding.moving = false;
    if (holding.held) return;
    this.#holdings.delete(partition);
    this.#onReleased();
  }
}
