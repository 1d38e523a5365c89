/**
 * Versions: what may serve and who may say so. All functions are stateless: snapshots in, a decision out.
 * `aspired.ts` the aspired set, its aliases and how it changes; `rollout.ts` how a version gets a share of the requests
 * before it is champion; `lease.ts` one writer per line, by epochs; `run.ts` the states of a training run; `node.ts`
 * what an inference node does about an aspired set.
 *
 * Invariants
 * V1 A generation never decreases: every change of an aspired set, a rollback too, adds exactly one.
 * V2 An aspired set with models has exactly one champion, and a challenger while a rollout runs, else none.
 * V3 Of several writers that expect the same generation, one wins.
 * V4 A write with an epoch that is not the lease's is refused; an epoch has one holder.
 * V5 A node that serves goes on serving: its champion is never dropped before another one is ready.
 */

export {
  type Aspired,
  type AspiredChange,
  type AspiredModel,
  type AspiredModels,
  aliases,
  BASELINE_RECIPE,
  type Change,
  type Changed,
  championOf,
  firstTrained,
  IMPORTED_RECIPE,
  NOTHING_ASPIRED,
  nextAspired,
  OPERATOR_RECIPES,
  previousChampion,
  QUANTISED_RECIPE,
  type Role,
  type Rollout,
  type RolloutStrategy,
  type Succession,
  type VersionFacts,
} from "./aspired.ts";
export * from "./lease.ts";
export * from "./node.ts";
export * from "./rollout.ts";
export * from "./run.ts";
