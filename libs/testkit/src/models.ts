import { MODEL_INPUT, MODEL_OUTPUT } from "@millrace/lines";
import {
  createBatcher,
  ROWS_MAX,
  type ServedModel,
  type Signature,
  type SwapControllerOptions,
} from "@millrace/serving";

/** The signature of a line's model of so many features. */
export function lineSignature(features: number): Signature {
  return {
    inputs: [{ name: MODEL_INPUT, datatype: "FP32", shape: [-1, features] }],
    outputs: [{ name: MODEL_OUTPUT, datatype: "FP32", shape: [-1] }],
    batches: true,
  };
}

/** A line's model that answers each row with `score`. */
export function rowModel(
  features: number,
  score: (row: Float32Array) => number,
): ServedModel & { readonly runs: number[] } {
  const runs: number[] = [];
  return {
    runs,
    signature: lineSignature(features),
    place: "here",
    memoryBytes: 1,
    run: async ([input]) => {
      const rows = input?.shape[0] as number;
      runs.push(rows);
      const matrix = input?.data as Float32Array;
      const data = Float32Array.from({ length: rows }, (_, row) =>
        score(matrix.subarray(row * features, (row + 1) * features)),
      );
      return [{ name: MODEL_OUTPUT, datatype: "FP32", shape: [rows], data }];
    },
    release: async () => {},
  };
}

/** What a swap controller needs beside its models: everything passes the proof, nothing was recorded, nobody is told. */
export function servingPorts(): Pick<SwapControllerOptions, "prove" | "lane" | "recent" | "onServing"> {
  const batcher = createBatcher({
    now: () => performance.now(),
    rowsMax: ROWS_MAX,
    waitingRowsMax: 65_536,
    onDefect: (error) => {
      throw error;
    },
  });
  return {
    prove: async () => {},
    lane: (model, observed) => batcher.lane(model, { objectiveMs: 20 }, observed),
    recent: { offer: () => {}, all: () => [] },
    onServing: () => {},
  };
}
