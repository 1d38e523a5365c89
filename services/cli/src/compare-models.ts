import type { LoadedModel, ModelRequest } from "./mesh.ts";

/** How one model's answers differ from another's on the same rows. */
export interface Comparison {
  readonly rows: number;
  /** Of a row: the largest absolute difference of its outputs. null: an answer was no finite number. */
  readonly meanDifference: number | null;
  readonly maxDifference: number | null;
  /** Share of the rows that differ by more than the tolerance. */
  readonly shareBeyond: number;
  /** Median time of a run, divided by its rows. */
  readonly microsPerRow: { readonly before: number; readonly after: number };
}

/** Inputs of so many rows. */
export interface RowsRequest {
  readonly inputs: ModelRequest;
  readonly rows: number;
}

type Answer = Awaited<ReturnType<LoadedModel["run"]>>;

/**
 * Runs the requests, of which there is at least one, on both models in turn. Throws an Error for outputs that are
 * texts: they are no distance apart.
 */
export async function compareModels(
  before: LoadedModel,
  after: LoadedModel,
  requests: readonly RowsRequest[],
  tolerance: number,
): Promise<Comparison> {
  const differences: number[] = [];
  const micros: { before: number[]; after: number[] } = { before: [], after: [] };
  for (const { inputs, rows } of requests) {
    const start = performance.now();
    const expected = await before.run(inputs);
    const between = performance.now();
    const actual = await after.run(inputs);
    const end = performance.now();
    micros.before.push(((between - start) * 1_000) / rows);
    micros.after.push(((end - between) * 1_000) / rows);
    differences.push(...rowDifferences(expected, actual, rows));
  }
  const beyond = differences.filter((difference) => difference > tolerance).length;
  return {
    rows: differences.length,
    meanDifference: finite(differences.reduce((sum, one) => sum + one, 0) / differences.length),
    maxDifference: finite(differences.reduce((largest, one) => Math.max(largest, one), 0)),
    shareBeyond: beyond / differences.length,
    microsPerRow: { before: median(micros.before), after: median(micros.after) },
  };
}

/** Of each row the largest absolute difference; Infinity where one of two numbers is not finite. */
function rowDifferences(expected: Answer, actual: Answer, rows: number): number[] {
  const largest = new Array<number>(rows).fill(0);
  for (const [i, tensor] of expected.entries()) {
    const [a, b] = [numbersOf(tensor), numbersOf(actual[i] as Answer[number])];
    if (a.length !== b.length) return largest.fill(Number.POSITIVE_INFINITY);
    for (let at = 0; at < a.length; at++) {
      const row = Math.floor((at * rows) / a.length);
      largest[row] = Math.max(largest[row] as number, distance(Number(a[at]), Number(b[at])));
    }
  }
  return largest;
}

function distance(a: number, b: number): number {
  if (Object.is(a, b)) return 0;
  const difference = Math.abs(a - b);
  return Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
}

function numbersOf({ name, datatype, data }: Answer[number]): ArrayLike<number | bigint> {
  if (!ArrayBuffer.isView(data)) throw new Error(`output "${name}" is text`);
  return datatype === "FP16" ? new Float16Array(data.buffer, data.byteOffset, data.length) : data;
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}
