import type { RevisionColumns } from "@millrace/datasets";
import type { ExampleRow } from "@millrace/labels";

/** Examples by column, all of the same length. */
export interface ExampleColumns extends RevisionColumns {
  readonly ids: readonly string[];
  /** 0 or 1. */
  readonly labels: Float64Array;
  readonly labelled: readonly ExampleRow["labelled"][];
  /** Float64Array [examples x values], row-major, NaN where unknown. */
  readonly values: Float64Array;
}

/** Columns of numbers that an example has besides its values. */
const NUMBERS = ["times", "knownAt", "labels", "revisions", "vectorAcceptedAt", "labelAcceptedAt"] as const;

/** An id may begin with a byte order mark. */
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Keeps examples as they are given, one after the other. */
export class ExampleCollector {
  readonly #width: number;
  readonly #ids: string[] = [];
  readonly #labelled: ExampleRow["labelled"][] = [];
  /** [examples x (NUMBERS + values)], with room for more. */
  #numbers: Float64Array = new Float64Array(0);

  constructor(width: number) {
    this.#width = width;
  }

  add(row: ExampleRow): void {
    const { bytes, start, end } = row.id;
    const stride = NUMBERS.length + this.#width;
    const at = this.#ids.length * stride;
    if (at + stride > this.#numbers.length) {
      const grown = new Float64Array(Math.max(1_024 * stride, 2 * this.#numbers.length));
      grown.set(this.#numbers);
      this.#numbers = grown;
    }
    this.#ids.push(utf8.decode(bytes.subarray(start, end)));
    this.#labelled.push(row.labelled);
    const { time, knownAt, label, revision, vectorAcceptedAtMs, labelAcceptedAtMs } = row;
    this.#numbers.set([time, knownAt, label, revision, vectorAcceptedAtMs, labelAcceptedAtMs], at);
    this.#numbers.set(row.values, at + NUMBERS.length);
  }

  columns(): ExampleColumns {
    const stride = NUMBERS.length + this.#width;
    const rows = this.#ids.length;
    const values = new Float64Array(rows * this.#width);
    for (let row = 0; row < rows; row++) {
      const from = row * stride + NUMBERS.length;
      values.set(this.#numbers.subarray(from, from + this.#width), row * this.#width);
    }
    const numbers = NUMBERS.map((name, i) => {
      return [
        name,
        Float64Array.from(this.#ids, (_, row) => this.#numbers[row * stride + i] as number),
      ] as const;
    });
    return {
      ids: this.#ids,
      labelled: this.#labelled,
      values,
      ...(Object.fromEntries(numbers) as Pick<ExampleColumns, (typeof NUMBERS)[number]>),
    };
  }
}

/** Some rows of several sets together, each named by its set and its row there. */
export function gatherExamples(
  sets: readonly ExampleColumns[],
  rows: readonly (readonly [set: number, row: number])[],
  width: number,
): ExampleColumns {
  const of = <T>(get: (set: ExampleColumns) => ArrayLike<T>): T[] =>
    rows.map(([set, row]) => get(sets[set] as ExampleColumns)[row] as T);
  const values = new Float64Array(rows.length * width);
  rows.forEach(([set, row], i) => {
    values.set((sets[set] as ExampleColumns).values.subarray(row * width, (row + 1) * width), i * width);
  });
  const numbers = NUMBERS.map((name) => [name, Float64Array.from(of((set) => set[name]))] as const);
  return {
    ids: of((set) => set.ids),
    labelled: of((set) => set.labelled),
    values,
    ...(Object.fromEntries(numbers) as Pick<ExampleColumns, (typeof NUMBERS)[number]>),
  };
}
