/**
 * ONNX models as bytes, without any ONNX library. `graph.ts` writes a model, `models.ts` the models that are
 * formulas, `trees.ts` tree ensembles, `lightgbm.ts` reads LightGBM's text form. `inspect.ts` checks a stranger's
 * model before anything runs it: `outline.ts` reads what it looks at, `allocation.ts` counts what constants ask for.
 * `quantise.ts` makes the weights of a model int8.
 *
 * Every model written here keeps a line's contract: input `features` FP32 [rows, features], NaN where a value is
 * unknown; output `score` FP32 [rows], the probability of the positive label. `inspectModel` takes any signature;
 * `lineContract` says whether it is a line's.
 */

export type { ModelDescription } from "./graph.ts";
export * from "./inspect.ts";
export * from "./lightgbm.ts";
export * from "./models.ts";
export * from "./quantise.ts";
export * from "./trees.ts";
