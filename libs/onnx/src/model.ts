import { lineContract, lineWidth, type ModelSignature } from "@millrace/onnx-graph";
import type { Tensor } from "@millrace/open-inference";
import type { Provider } from "./provider.ts";

/** A loaded model. */
export interface Model {
  /** `features`: as below. */
  readonly signature: ModelSignature & { readonly features: number };
  /** Values per row of a model that keeps a line's contract, 0 of another. */
  readonly features: number;
  /** "here": a run blocks the thread that loaded the model. "worker": it runs in a thread of its own. */
  readonly place: "here" | "worker";
  /** "trees": compiled to WebAssembly (`@millrace/trees`), and compared with onnxruntime before. */
  readonly evaluator: "trees" | "onnxruntime";
  /** Why `compile` left the model to onnxruntime; null where it did not, or was not asked for. */
  readonly notCompiled: string | null;
  readonly provider: Provider;
  /** Why the providers asked for before it are not used. */
  readonly providersFailed: readonly string[];
  /** Estimate of what the model holds: its bytes once more in onnxruntime, and its thread. Runs take more. */
  readonly memoryBytes: number;
  /**
   * Runs the model. Inputs are matched by name, in any order; the answer has the named outputs in that order, without
   * names all outputs in the model's order. Compiled trees answer at once, onnxruntime with a promise; failures always
   * reject. Inputs are read after the call and must not change before the answer is there. Rejects with an
   * InputRefused when an input is not what the signature says, a RangeError for an unknown output, a ModelFailed when
   * the model's thread has ended, an Error when the model fails or was released.
   */
  run(inputs: readonly Tensor[], outputs?: readonly string[]): Promise<Tensor[]> | Tensor[];
  /**
   * Scores `rows` rows with a model that keeps a line's contract. `matrix` is Float32Array [rows x features],
   * row-major, NaN where a value is unknown, and must not change before the promise settles. The answer has one score
   * per row; a model from outside may answer values that are not probabilities: check them. Throws a RangeError when
   * the matrix does not have that size or the model another contract, otherwise as `run`.
   */
  score(matrix: Float32Array, rows: number): Promise<Float32Array>;
  /** Frees the model's memory once the runs in flight have ended. May be called more than once. */
  release(): Promise<void>;
}

/** What a signature says of a model, and the check of what `score` is given. */
export function lineOf(signature: ModelSignature): Pick<Model, "signature" | "features"> & {
  /** Throws a RangeError unless the model keeps a line's contract and the matrix has `rows` rows of its width. */
  checkMatrix(matrix: Float32Array, rows: number): void;
} {
  const features = lineWidth(signature) ?? 0;
  const noLine = lineContract(signature);
  return {
    signature: { ...signature, features },
    features,
    checkMatrix(matrix, rows) {
      if (noLine !== null) throw new RangeError(`it cannot score rows: ${noLine}`);
      if (matrix.length !== rows * features) {
        throw new RangeError(`${matrix.length} values are not ${rows} rows of ${features} features`);
      }
    },
  };
}
