import { GOLDEN_ROWS_MAX, type Golden } from "./contract.ts";
import type { Examples } from "./examples.ts";

/**
 * Rows for the parity check, the same for the same examples: one with nothing known, one of zeros, the others
 * spread evenly over the examples, every second of them with one value made unknown, in turn. Float32Array
 * [rows x features], row-major.
 */
export function goldenMatrix(
  { rows, matrix }: Pick<Examples, "rows" | "matrix">,
  features: number,
): Float32Array {
  const taken = Math.min(rows, GOLDEN_ROWS_MAX - 2);
  const golden = new Float32Array((taken + 2) * features);
  golden.fill(Number.NaN, 0, features);
  for (let i = 0; i < taken; i++) {
    const from = Math.floor((i * rows) / taken) * features;
    const to = (i + 2) * features;
    // JSON has no infinity.
    for (let j = 0; j < features; j++) {
      const value = matrix[from + j] as number;
      golden[to + j] = Number.isFinite(value) ? value : Number.NaN;
    }
    if (i % 2 === 1) golden[to + (((i - 1) / 2) % features)] = Number.NaN;
  }
  return golden;
}

/** Golden rows as they are written: null where unknown. */
export function goldenOf(matrix: Float32Array, features: number, scores: Iterable<number>): Golden {
  const values = Array.from(matrix, (value) => (Number.isNaN(value) ? null : value));
  const inputs = Array.from({ length: values.length / features }, (_, i) =>
    values.slice(i * features, (i + 1) * features),
  );
  return { inputs, scores: [...scores] };
}
