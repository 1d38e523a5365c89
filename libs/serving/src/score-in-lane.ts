import type { Tensor } from "@millrace/open-inference";
import type { Job, Lane } from "./batch.ts";
import type { Handle } from "./generation.ts";
import { featureTensor, scoresOf } from "./model.ts";

/** Lowest: a stream can wait for its rows longer than a caller for his. */
const PRIORITY = 2;

/**
 * One score per row of a line's model, in batches that its lane likes, between the requests that wait there. Rejects with
 * a ModelContractError, or with the model's own error.
 */
export async function scoreInLane(
  { lane }: Handle,
  matrix: Float32Array,
  rows: number,
): Promise<Float32Array> {
  const width = matrix.length / rows;
  const scores = new Float32Array(rows);
  for (let from = 0; from < rows; ) {
    const until = Math.min(rows, from + lane.rowsLiked);
    const part = matrix.subarray(from * width, until * width);
    const [output] = await runInLane(lane, {
      inputs: [featureTensor(part, until - from)],
      rows: until - from,
      priority: PRIORITY,
      arrivedAt: performance.now(),
      deadlineAt: Number.POSITIVE_INFINITY,
      isCancelled: () => false,
    });
    scores.set(scoresOf(output, until - from), from);
    from = until;
  }
  return scores;
}

/** One job's outputs in the signature's order. Rejects with the lane's RpcError, or with the model's own error. */
export function runInLane(lane: Lane, job: Omit<Job, "done">): Promise<readonly Tensor[]> {
  return new Promise((resolve, reject) => {
    lane.submit({ ...job, done: (error, outputs) => (error === null ? resolve(outputs) : reject(error)) });
  });
}
