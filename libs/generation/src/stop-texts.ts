/** Lets text pass up to the first stop text, and holds back what may yet become one; however the text is split. */
export class StopTexts {
  readonly #stops: readonly string[];
  #held = "";

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** What may be given out after `text` came. `stopped`: a stop text has come; it and what is behind it are dropped. */
  push(text: string): { readonly text: string; readonly stopped: boolean } {
    const all = this.#held + text;
    const first = this.#first(all);
    if (first !== null) {
      this.#held = "";
      return { text: all.slice(0, first), stopped: true };
    }
    const passed = all.length - this.#begunLength(all);
    this.#held = all.slice(passed);
    return { text: all.slice(0, passed), stopped: false };
  }

  /** What was held back: nothing more comes. */
  end(): string {
    return this.#held;
  }

  /** Where the stop text begins that is whole first; of those that end together the longest. null: none is there. */
  #first(text: string): number | null {
    let first: { readonly start: number; readonly end: number } | null = null;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop);
      const end = start + stop.length;
      if (start < 0) continue;
      if (first === null || end < first.end || (end === first.end && start < first.start))
        first = { start, end };
    }
    return first === null ? null : first.start;
  }

  /** Length of the longest end of `text` that a stop text begins with. */
  #begunLength(text: string): number {
    const longest = Math.max(0, ...this.#stops.map((stop) => stop.length - 1));
    for (let length = Math.min(longest, text.length); length > 0; length--) {
      const end = text.slice(-length);
      if (this.#stops.some((stop) => stop.startsWith(end))) return length;
    }
    return 0;
  }
}
