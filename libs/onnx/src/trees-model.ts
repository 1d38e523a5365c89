import type { ModelSignature } from "@millrace/onnx-graph";
import type { Tensor, TensorSpec } from "@millrace/open-inference";
import { startTrees, type TreesImage } from "@millrace/trees";
import { lineOf, type Model } from "./model.ts";
import { outputNames } from "./session.ts";
import { valuesOf } from "./value.ts";

/** A model whose compiled trees gave onnxruntime's answers. */
export interface CompiledModel {
  readonly signature: ModelSignature;
  readonly image: TreesImage;
}

/** A model that compiled trees run, on the calling thread. */
export function treesModel({ signature, image }: CompiledModel): Model {
  const trees = startTrees(image);
  const { checkMatrix, ...line } = lineOf(signature);
  const { input, output } = oneInOneOut(signature) as OneInOneOut;
  const scoresOf = (matrix: Float32Array, rows: number): Float32Array => {
    const scores = new Float32Array(rows * trees.outputs);
    trees.score(matrix, rows, scores);
    return scores;
  };
  const answer = (inputs: readonly Tensor[], outputs?: readonly string[]): Tensor[] => {
    const names = outputNames(signature, outputs);
    const value = valuesOf(signature.inputs, inputs)[input.name];
    const rows = value?.dims[0] as number;
    const data = scoresOf(value?.data as Float32Array, rows);
    return names.map((name) => ({
      name,
      datatype: "FP32",
      shape: answerShape(output, trees.outputs, rows),
      data,
    }));
  };
  return {
    ...line,
    place: "here",
    evaluator: "trees",
    notCompiled: null,
    provider: "cpu",
    providersFailed: [],
    memoryBytes: trees.bytes,
    run(inputs, outputs) {
      try {
        return answer(inputs, outputs);
      } catch (error) {
        return Promise.reject(error);
      }
    },
    async score(matrix, rows) {
      checkMatrix(matrix, rows);
      return scoresOf(matrix, rows);
    },
    release: async () => trees.release(),
  };
}

export interface OneInOneOut {
  readonly input: TensorSpec;
  readonly output: TensorSpec;
}

/** The input FP32 [rows, n] and the output FP32 [rows] or [rows, k] of a model; null when it has others. */
export function oneInOneOut({ inputs, outputs }: ModelSignature): OneInOneOut | null {
  const [input] = inputs;
  const [output] = outputs;
  if (input === undefined || output === undefined || inputs.length > 1 || outputs.length > 1) return null;
  const isFp32Rows = ({ datatype, shape }: TensorSpec): boolean => datatype === "FP32" && shape[0] === -1;
  if (!isFp32Rows(input) || !isFp32Rows(output)) return null;
  return input.shape.length === 2 && output.shape.length <= 2 ? { input, output } : null;
}

/** The shape of the answer to so many rows, by what the model declares. */
export const answerShape = (output: TensorSpec, width: number, rows: number): readonly number[] =>
  output.shape.length === 1 ? [rows] : [rows, width];
