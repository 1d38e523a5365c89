import { MODEL_INPUT } from "@millrace/lines";
import type { Tensor, TensorSpec } from "@millrace/open-inference";
import type { VersionModel } from "./generation.ts";

/** What a model takes and gives, in this order. */
export interface Signature {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Whether the first dimension of every input and output is the number of rows, so that requests can share a run. */
  readonly batches: boolean;
  /** What the model says about itself, by key. */
  readonly metadata?: ReadonlyMap<string, string>;
}

/** A model that can run. `libs/onnx` gives one. */
export interface ServedModel {
  readonly signature: Signature;
  /** here: a run takes the calling thread. worker: it takes another one. */
  readonly place: "here" | "worker";
  /** What it holds in memory, about. */
  readonly memoryBytes: number;
  /**
   * One run: inputs in the signature's order, outputs likewise. The inputs' data must not change before it has ended.
   * Rejects when the model fails.
   */
  run(inputs: readonly Tensor[]): Promise<readonly Tensor[]> | readonly Tensor[];
  /** Frees the model's memory. */
  release(): Promise<void>;
}

/** Makes a model from bytes whose digest was verified. Rejects with the reason when they are no model that may run. */
export type Loader = (bytes: Uint8Array, of: VersionModel) => Promise<ServedModel>;

/** A model was loaded and does not keep the contract. */
export class ModelContractError extends Error {
  constructor(problem: string) {
    super(`the model does not keep the contract: ${problem}`);
    this.name = "ModelContractError";
  }
}

/** Feature values as the input of a line's model: `matrix` is [rows x features], row-major, NaN where not known. */
export function featureTensor(matrix: Float32Array, rows: number): Tensor {
  return { name: MODEL_INPUT, datatype: "FP32", shape: [rows, matrix.length / rows], data: matrix };
}

/**
 * One score per row from a line's model. Throws a ModelContractError when it answers with anything else than one
 * finite FP32 number per row.
 */
export async function scoreRows(
  model: ServedModel,
  matrix: Float32Array,
  rows: number,
): Promise<Float32Array> {
  const [output] = await model.run([featureTensor(matrix, rows)]);
  return scoresOf(output, rows);
}

/** The scores in a line model's answer to so many rows. Throws a ModelContractError. */
export function scoresOf(output: Tensor | undefined, rows: number): Float32Array {
  if (!(output?.data instanceof Float32Array) || output.data.length !== rows) {
    throw new ModelContractError(
      `${output?.datatype} [${output?.shape}] for ${rows} rows, expected FP32 [rows]`,
    );
  }
  const wrong = output.data.findIndex((score) => !Number.isFinite(score));
  if (wrong >= 0) throw new ModelContractError(`it answers ${output.data[wrong]} to row ${wrong}`);
  return output.data;
}
