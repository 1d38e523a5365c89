import type {
  DriftPolicy,
  Gates,
  LabelDefinition,
  Limits,
  RetrainPolicy,
  RolloutPolicy,
  ServePolicy,
  StreamDefinition,
  VectorFormat,
} from "./definition.ts";

export const STREAM: Pick<StreamDefinition, "format" | "lateMax"> = { format: "json", lateMax: "1d" };
export const LABEL: Pick<LabelDefinition, "silence" | "conflict" | "waitingMax"> = {
  silence: "unknown",
  conflict: "first",
  waitingMax: 1_000_000,
};
export const VECTORS: VectorFormat = { format: "json", decimals: 6 };
/** Of a line of features only, where nothing is trained. */
export const RETRAIN: RetrainPolicy = {
  firstAfter: 100,
  minChange: 100,
  cooldown: "1d",
  staleAfter: "365d",
  maxRunsPerDay: 0,
  learnFrom: "365d",
};
export const DRIFT: DriftPolicy = { falseAlarmEvery: 1_000_000, tolerance: 0.05 };
export const GATES: Gates = { heldOut: 0.25, minGain: 0.001, parity: 1e-4 };
export const LIMITS: Limits = { eventBytesMax: 1_000_000, aheadMax: "1h" };
export const SERVE: ServePolicy = {
  latencyMs: 20,
  priority: "normal",
  threads: 1,
  optimisation: "all",
  providers: ["cpu"],
};
export const ROLLOUT: RolloutPolicy = {
  strategy: "direct",
  share: 0.1,
  by: "request",
  alpha: 0.05,
  minLabels: 1_000,
  maxLabels: 100_000,
};
