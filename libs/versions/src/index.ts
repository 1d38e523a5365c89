/**
 * Versions: what may serve and who may say so. All functions are stateless: snapshots in, a decision out.
 * `aspired.ts` the aspired set, its aliases and how it changes; `lease.ts` one writer per line, by epochs;
 * `run.ts` the states of a training run; `node.ts` what an inference node does about an aspired set.
 *
 * Invariants
 * V1 A generation never decreases: every change of an aspired set, a rollback too, adds exactly one.
 * V2 An aspired set with models has exactly one champion.
 * V3 Of several writers that expect the same generation, one wins.
 * V4 A write with an epoch that is not the lease's is refused; an epoch has one holder.
 * V5 A node that serves goes on serving: its champion is never dropped before another one is ready.
 */

export * from "./aspired.ts";
export * from "./lease.ts";
export * from "./node.ts";
export * from "./run.ts";
