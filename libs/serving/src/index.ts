/**
 * Serving: loaded models, how requests share them, and how they replace each other without anybody noticing.
 * `model.ts` the port to a model runtime; `generation.ts` one loaded version, from load to drain, and the handles that
 * keep it alive; `batch.ts` the waiting room of a generation, `batch-clock.ts` how long its batches take,
 * `score-in-lane.ts` many rows through it;
 * `swap.ts` what a swap is told and tells; `swap-controller.ts` applies aspired sets, deciding by `planNode` of
 * @millrace/versions; `load-version.ts` brings a version to where it may serve, `warm-up.ts`, `compare.ts` and
 * `recent.ts` what it runs before anybody waits for it; `artifacts.ts` verified model bytes from a local folder or the
 * object store.
 *
 * Invariants
 * G1 A handle's model can score until the handle is released: a generation is released when nobody holds it.
 * G2 A generation is released exactly once.
 * G3 `acquire` never waits, and from the first champion on it never finds none: the old champion answers until the
 *    new one is loaded and warm, and the change between them is one assignment. Broken by necessity where the champion's
 *    own thread dies (`failed`), and by order while the line is parked or once it is stopped.
 * G4 The newest aspired set wins: what is loaded for an older one is dropped when it arrives.
 * G5 A version that cannot be loaded, or dies, changes nothing for the others that serve; it is tried again, with a pause.
 * G6 Every job that a lane has taken is answered exactly once, whatever the model, or another job's `done`, throws.
 */

export * from "./artifacts.ts";
export * from "./batch.ts";
export type { RunTimes } from "./batch-clock.ts";
export * from "./generation.ts";
export * from "./model.ts";
export * from "./recent.ts";
export * from "./score-in-lane.ts";
export * from "./swap.ts";
export * from "./swap-controller.ts";
