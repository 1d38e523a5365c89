import { ADAPTERS, type AdapterName, NOT_OFFERED } from "./adapters.ts";

export interface Outcome {
  readonly lost: number;
  readonly duplicated: number;
  /** The longest time in which nothing went on. */
  readonly stalledMs: number;
  readonly note?: string;
}

/** What came of each fault, per adapter. */
export class Report {
  readonly #title: string;
  readonly #rows: { readonly fault: string; readonly adapter: AdapterName; readonly outcome: Outcome }[] = [];

  constructor(title: string) {
    this.#title = title;
  }

  add(fault: string, adapter: AdapterName, outcome: Outcome): void {
    this.#rows.push({ fault, adapter, outcome });
  }

  /** The peer could not go on. Ours must not. */
  gaveUp(fault: string, adapter: AdapterName, error: unknown): void {
    if (adapter === "millrace") throw error;
    const note = `gave up: ${error instanceof Error ? error.message : String(error)}`.slice(0, 80);
    this.add(fault, adapter, { lost: 0, duplicated: 0, stalledMs: 0, note });
  }

  print(): void {
    const rows = this.#rows.map(({ fault, adapter, outcome: { lost, duplicated, stalledMs, note = "" } }) => [
      fault,
      adapter,
      String(lost),
      String(duplicated),
      (stalledMs / 1_000).toFixed(1),
      note,
    ]);
    const all = [["fault", "adapter", "lost", "duplicated", "stalled s", "note"], ...rows];
    const widths = (all[0] as string[]).map((_, i) =>
      Math.max(...all.map((row) => (row[i] as string).length)),
    );
    const lines = all.map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] as number))
        .join("  ")
        .trimEnd(),
    );
    const lacks = ADAPTERS.map((adapter) => `not offered by ${adapter}: ${NOT_OFFERED[adapter].join("; ")}`);
    process.stdout.write(`\n${[this.#title, ...lines, ...lacks].join("\n")}\n\n`);
  }
}

/** What of the expected values is missing in a log, and what stands there more than once. */
export function compare(
  expected: Iterable<string>,
  found: readonly string[],
): { readonly lost: number; readonly duplicated: number } {
  const distinct = new Set(found);
  const lost = [...new Set(expected)].filter((value) => !distinct.has(value)).length;
  return { lost, duplicated: found.length - distinct.size };
}
