import type { Aggregate } from "./ensemble.ts";
import { kernelModule, type Places } from "./kernel.ts";
import type { Slot } from "./questions.ts";
import { readTreeModel, type TreeModel } from "./read-graph.ts";
import type { Step } from "./steps.ts";
import { layOut } from "./table.ts";
import { Unsupported } from "./unsupported.ts";

/**
 * A compiled tree ensemble at rest: plain data for `startTrees`, here or, by `postMessage`, on another thread. The
 * buffers of `kernel` and `tables` are its own and may be transferred.
 */
export interface TreesImage {
  /** Values per row of the input. */
  readonly features: number;
  /** Values per row of the output. */
  readonly outputs: number;
  readonly slots: readonly Slot[];
  /** Rows that the kernel scores at once. */
  readonly blockRows: number;
  /** Room for the values of a row: sums, or what a step makes of them. */
  readonly valuesMax: number;
  /** The weights that the kernel combines per row, and what it begins with. */
  readonly targets: number;
  readonly neutral: number;
  readonly places: Places;
  /** What stands in the kernel's memory from `places.groups` on. */
  readonly tables: Uint8Array<ArrayBuffer>;
  /** A WebAssembly module. */
  readonly kernel: Uint8Array<ArrayBuffer>;
  readonly steps: readonly Step[];
}

const COMBINE: Readonly<Record<Aggregate, readonly ["add" | "min" | "max", neutral: number]>> = {
  SUM: ["add", 0],
  AVERAGE: ["add", 0],
  MIN: ["min", Infinity],
  MAX: ["max", -Infinity],
};

/**
 * Compiles an ONNX model that is a tree ensemble: a TreeEnsembleRegressor, TreeEnsembleClassifier or TreeEnsemble of
 * ai.onnx.ml on one FP32 input [rows, features], followed by nothing but Identity, Cast, Sigmoid, Softmax, Add, Sub and
 * Mul with constants, Squeeze, Reshape and Gather of columns, with one FP32 output. Every split decides as in
 * onnxruntime, and scores differ from its by at most 1e-6 (of the larger of the score and 1). What it would not compute
 * so it calls unsupported, and says why; no bytes make it throw. It holds the thread for 0.1 to 0.4 s per megabyte.
 */
export function compileTrees(bytes: Uint8Array): TreesImage | { readonly unsupported: string } {
  try {
    return imageOf(readTreeModel(bytes));
  } catch (error) {
    if (error instanceof Unsupported) return { unsupported: error.message };
    throw error;
  }
}

function imageOf({ features, ensemble, steps }: TreeModel): TreesImage {
  const { targets, aggregate } = ensemble;
  const [combine, neutral] = COMBINE[aggregate];
  const valuesMax = Math.max(targets, ...steps.map(({ width }) => width));
  const { width, ...table } = layOut(ensemble, neutral, valuesMax);
  return {
    ...table,
    features,
    outputs: steps.at(-1)?.width ?? targets,
    valuesMax,
    targets,
    neutral,
    kernel: kernelModule(table.places, targets, width, combine),
    steps,
  };
}
