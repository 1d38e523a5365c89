/**
 * Tree ensembles compiled to WebAssembly: models that score faster than an onnxruntime that is fed with them.
 *
 * - `read-graph.ts` reads a model: a tree operator (`tree-operators.ts`, `read-ensemble.ts`) and the steps behind it
 *   (`steps.ts`); `ensemble.ts` is what it finds, `attributes.ts` how it looks into ONNX;
 * - `questions.ts` makes one kind of question of all kinds of splits;
 * - `table.ts` lays trees out in memory for the kernel;
 * - `kernel.ts` walks them; `wasm.ts` writes WebAssembly;
 * - `compile.ts` puts it together to an image, which passes between threads; `start.ts` starts one and scores.
 *
 * Invariants
 * T1. Every split decides as in onnxruntime 1.30, for every FP32 value: NaN, infinities, both zeros.
 * T2. Weights are added in FP32 in the order of the trees; scores are within 1e-6 of onnxruntime's (of the larger of the
 *     score and 1).
 * T3. What is not known to be so does not compile (`unsupported`), whatever bytes are given; nothing is approximated.
 * T4. Memory is bounded before it is taken: nodes, weights, slots and targets have limits.
 */
export { compileTrees, type TreesImage } from "./compile.ts";
export { type CompiledTrees, startTrees } from "./start.ts";
