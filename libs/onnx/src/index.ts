/**
 * ONNX models in onnxruntime, and models of trees compiled. `load.ts` loads one as a `model.ts`:
 * - `check-model.ts` inspects it; `background.ts` and `background-worker.ts` are the two ends of the thread that does so
 *   where it takes long, and that compiles trees with `compile.ts`; `trees-model.ts` is a model on what comes of it;
 * - `session-model.ts` is a model on onnxruntime, `session.ts` onnxruntime itself and `value.ts` the tensors it takes;
 *   `worker-session.ts` and `worker.ts` are the two ends of a session in a thread;
 * - `provider.ts` names what onnxruntime can run on; `copy-in-pieces.ts` makes the copies that threads get.
 *
 * `prover.ts` and `prove-child.ts` are the two ends of the process that proves a model with `proof.ts`. `samples.ts`
 * makes requests up.
 *
 * 1. onnxruntime sees no byte of a model that inspection refuses, and no file.
 * 2. Values go in and come back bit for bit, or are refused.
 * 3. The caller's arrays stay the caller's: nothing here detaches or changes them.
 * 4. Whatever a model does to the process that proves it, the caller gets an answer within the time limit.
 * 5. Compiled trees serve only where they gave onnxruntime's answers, to within 1e-6 of the larger of the score and 1.
 */

export { ModelRefused } from "./check-model.ts";
export { type LoadOptions, loadModel } from "./load.ts";
export type { Model } from "./model.ts";
export type { GoldenRun, ProofFailure } from "./proof.ts";
export * from "./prover.ts";
export type { Provider } from "./provider.ts";
export { madeUpSamples } from "./samples.ts";
export { InputRefused } from "./value.ts";
export { ModelFailed } from "./worker-session.ts";
