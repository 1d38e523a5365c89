/**
 * Features: windows over event time, the same code for the stream, for online requests and for replay.
 *
 * `feature-engine.ts` a line's features over one partition; `compile-features.ts` from the line to the plan
 * (`feature-plan.ts`); `event-inputs.ts` what is taken from an event; `window-table.ts` the keys of one grouping;
 * `pane-level.ts` their panes of one length; `algebra/` how values are counted in panes; `sketches/` how they are
 * estimated; `distinct-pairs.ts` which values a key has met; `memory/` slabs, hash tables, texts.
 *
 * Invariants
 * F1 No look-ahead: a vector holds nothing of a pane later than that of its event, and nothing of an event that was
 *    accepted after it.
 * F2 Deterministic: the same accepted events in the same order give bit-equal vectors, whenever state is swept, saved
 *    or restored, and whatever is asked in between.
 * F3 Exact: counts, sums, means, deviations and extremes of whole numbers, and different values, are those of all
 *    events in the window, in whatever order they came, as long as none is later than `lateMax`.
 * F4 Bounded: what no window reaches any more is forgotten.
 */

export { categoryCoder } from "./category-code.ts";
export { compileFeatures } from "./compile-features.ts";
export type { CodedRow } from "./event-inputs.ts";
export { FeatureEngine, type FeatureSizes, type FeatureSnapshot } from "./feature-engine.ts";
export type { FeaturePlan } from "./feature-plan.ts";
export { isPositive, isPositiveRow } from "./is-positive.ts";
export { featuresReachMs } from "./reach.ts";
export { TOP_CATEGORIES_MAX } from "./sketches/top-counts.ts";
