import type { ServedModel } from "@millrace/serving";
import { Refusal } from "./refusal.ts";

/** Scores rows together with whatever else arrived in the same event-loop turn for the same model. */
export interface Batcher {
  /**
   * One score per row. `matrix` is [rows x features] and must not change before the promise settles; the model must
   * be held until then. Throws a Refusal when too many rows wait.
   */
  score(model: ServedModel, matrix: Float32Array, rows: number): Promise<Float32Array>;
}

interface Waiting {
  readonly matrix: Float32Array;
  readonly rows: number;
  readonly resolve: (scores: Float32Array) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Batches per event-loop turn: a lone request waits for nothing, and under load batches fill by themselves. One
 * batch has at most `rowsMax` rows (a larger request goes alone); at most `waitingRowsMax` rows wait in all.
 */
export function createBatcher(limits: {
  readonly rowsMax: number;
  readonly waitingRowsMax: number;
}): Batcher {
  let queues = new Map<ServedModel, Waiting[]>();
  let rowsWaiting = 0;

  const runTurn = (): void => {
    const turn = queues;
    queues = new Map();
    for (const [model, waiting] of turn) {
      for (const batch of cut(waiting, limits.rowsMax)) void run(model, batch);
    }
  };

  const run = async (model: ServedModel, batch: readonly Waiting[]): Promise<void> => {
    try {
      await runTogether(model, batch);
    } finally {
      for (const { rows } of batch) rowsWaiting -= rows;
    }
  };

  return {
    score: (model, matrix, rows) =>
      new Promise((resolve, reject) => {
        if (rowsWaiting + rows > limits.waitingRowsMax) {
          const message = `${rowsWaiting} rows wait already: slow down and try again`;
          return reject(new Refusal("resourceExhausted", message));
        }
        rowsWaiting += rows;
        if (queues.size === 0) setImmediate(runTurn);
        const queue = queues.get(model);
        if (queue === undefined) queues.set(model, [{ matrix, rows, resolve, reject }]);
        else queue.push({ matrix, rows, resolve, reject });
      }),
  };
}

/** Cuts requests, in order, into batches of at most `rowsMax` rows. */
function* cut(waiting: readonly Waiting[], rowsMax: number): Generator<Waiting[]> {
  let batch: Waiting[] = [];
  let rows = 0;
  for (const one of waiting) {
    if (batch.length > 0 && rows + one.rows > rowsMax) {
      yield batch;
      batch = [];
      rows = 0;
    }
    batch.push(one);
    rows += one.rows;
  }
  yield batch;
}

/** One run for all. Where it fails each request runs alone, so that one bad request fails by itself. */
async function runTogether(model: ServedModel, batch: readonly Waiting[]): Promise<void> {
  const [first] = batch;
  if (first === undefined) return;
  if (batch.length === 1) {
    return await model.score(first.matrix, first.rows).then(first.resolve, first.reject);
  }
  const rows = batch.reduce((sum, one) => sum + one.rows, 0);
  const matrix = new Float32Array(rows * model.features);
  let at = 0;
  for (const one of batch) {
    matrix.set(one.matrix, at);
    at += one.matrix.length;
  }
  let scores: Float32Array;
  try {
    scores = await model.score(matrix, rows);
  } catch {
    for (const one of batch) await runTogether(model, [one]);
    return;
  }
  let row = 0;
  for (const one of batch) {
    one.resolve(scores.subarray(row, row + one.rows));
    row += one.rows;
  }
}
