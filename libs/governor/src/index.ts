/**
 * Governor: shall this trigger lead to a training run? `decide.ts` has the rules, `causes.ts` the names of the
 * triggers that time and counts give rise to. All times and durations are event time.
 *
 * Invariants
 * G1 At most one run of a line is in flight.
 * G2 One cause leads to at most one run.
 * G3 Within any 24 hours of event time, drift leads to at most `maxRunsPerDay` runs, each at least `cooldown`
 *    after the run before it.
 * G4 A champion that is older than `staleAfter` is retrained, whatever cooldown and budget say.
 */

export * from "./causes.ts";
export * from "./decide.ts";
