/**
 * Features: windowed aggregates in event time, the same code for the stream, for online requests and for replay.
 * `pane-series.ts` one key's panes; `window-table.ts` all keys of one grouping; `feature-engine.ts` a line's
 * features over one partition.
 *
 * Invariants
 * F1 No look-ahead: a vector at event time t holds nothing of an event later than t, and nothing of an event that
 *    was not accepted before it.
 * F2 Deterministic: the same accepted events in the same order give bit-equal vectors.
 */

export * from "./feature-engine.ts";
export { PANES_PER_SHORTEST_WINDOW } from "./window-table.ts";
