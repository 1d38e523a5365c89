/**
 * Judges candidates on examples that are later than all they learnt from. `quality.ts` measures one set of scores,
 * `confidence.ts` says how sure a gain is, `judge.ts` chooses the best candidate and checks the gates.
 */
export * from "./confidence.ts";
export * from "./judge.ts";
export * from "./quality.ts";
