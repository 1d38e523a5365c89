/**
 * Judges candidates: before they serve, on held-out examples that are later than all they learnt from, and on trial,
 * while labels of what they answered come in.
 *
 * Before: `quality.ts` measures one set of scores, `confidence.ts` says how sure a gain is, `judge.ts` chooses the best
 * candidate and checks the gates.
 * On trial: `sequential.ts` takes in losses row by row and decides at any row; it stands on `bounded-mean.ts`, a test of
 * a mean that holds over all looks at once, and `failure-odds.ts`, the same for rates of failures.
 */
export * from "./bounded-mean.ts";
export * from "./confidence.ts";
export * from "./failure-odds.ts";
export * from "./judge.ts";
export * from "./quality.ts";
export * from "./sequential.ts";
