import type { ModelSignature } from "@millrace/onnx-graph";
import type { Tensor } from "@millrace/open-inference";
import { type CompiledTrees, compileTrees, startTrees } from "@millrace/trees";
import { scatteredRows } from "./samples.ts";
import { openSession, type Session, type SessionOptions } from "./session.ts";
import { answerShape, type CompiledModel, type OneInOneOut, oneInOneOut } from "./trees-model.ts";
import { InputRefused, type Value, valuesOf } from "./value.ts";

/** Of the larger of the score and 1: what `@millrace/trees` promises. */
const TOLERANCE = 1e-6;

/** Why a model is left to onnxruntime, and what inspection found; null where it found or did nothing. */
export interface NotCompiled {
  readonly signature: ModelSignature | null;
  readonly notCompiled: string;
}

export type Outcome = CompiledModel | NotCompiled;

/**
 * Compiles a model of trees that passed inspection, and compares its scores with onnxruntime's on scattered rows and on
 * those samples that the model takes. Holds the calling thread for 0.1 to 0.5 s per megabyte. Throws an Error when
 * onnxruntime cannot load or run the model.
 */
export async function compileModel(
  bytes: Uint8Array,
  signature: ModelSignature,
  options: SessionOptions,
  samples: readonly (readonly Tensor[])[],
): Promise<Outcome> {
  const ends = oneInOneOut(signature);
  if (ends === null) {
    return { signature, notCompiled: "it is not FP32 [rows, n] in and FP32 [rows] or [rows, k] out" };
  }
  const image = compileTrees(bytes);
  if ("unsupported" in image) return { signature, notCompiled: image.unsupported };

  const trees = startTrees(image);
  const session = await openSession(bytes, options);
  try {
    const recorded = samples.flatMap((inputs) => matrixOf(ends, inputs) ?? []);
    for (const matrix of [scatteredRows(trees.features), ...recorded]) {
      const notCompiled = await differenceOf(trees, session, ends, matrix);
      if (notCompiled !== null) return { signature, notCompiled };
    }
    return { signature, image };
  } finally {
    await session.release();
  }
}

/** What the trees answer otherwise than onnxruntime to the rows of a matrix; null when nothing. */
export async function differenceOf(
  trees: CompiledTrees,
  session: Session,
  { input, output }: OneInOneOut,
  matrix: Float32Array,
): Promise<string | null> {
  const rows = matrix.length / trees.features;
  const ours = new Float32Array(rows * trees.outputs);
  trees.score(matrix, rows, ours);
  const value: Value = { type: "float32", dims: [rows, trees.features], data: matrix };
  const theirs = (await session.run({ [input.name]: value }, [output.name]))[output.name] as Value;
  const shape = answerShape(output, trees.outputs, rows);
  if (theirs.type !== "float32" || theirs.dims.join() !== shape.join()) {
    return `onnxruntime answers ${theirs.type} [${theirs.dims}], the trees float32 [${shape}]`;
  }
  for (const [i, score] of (theirs.data as Float32Array).entries()) {
    const own = ours[i] as number;
    if (!(Math.abs(own - score) <= TOLERANCE * Math.max(1, Math.abs(score)))) {
      return `onnxruntime answers ${score} to row ${Math.floor(i / trees.outputs)}, the trees ${own}`;
    }
  }
  return null;
}

/** Recorded requests may have been meant for a model of another signature: null. */
function matrixOf({ input }: OneInOneOut, inputs: readonly Tensor[]): Float32Array | null {
  try {
    return valuesOf([input], inputs)[input.name]?.data as Float32Array;
  } catch (error) {
    if (error instanceof InputRefused) return null;
    throw error;
  }
}
