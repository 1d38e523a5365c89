/**
 * Computation: what a line makes of one partition's event log. `computation.ts` takes accepted events one by one, in
 * the log's order, and gives feature vectors and examples; it is the same code on the stream, when a lost state is
 * built again from the archive, and when a sample of what was served is verified.
 *
 * Invariants
 * C1 What is given, and the state after it, depends on the events and their order alone: not on batches, restarts or
 *    the time of day.
 * C2 A vector and its example are decided by the same order of events.
 */

export * from "./computation.ts";
export * from "./row-id.ts";
