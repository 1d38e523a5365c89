/**
 * Events: from a producer's record to an accepted event or a refusal with its reason. `read-event.ts` the way of
 * one record, `cloud-event.ts` its envelope, `read-field.ts` and `event-time.ts` its values, `reasons.ts` the
 * catalogue of refusals, `dedup-window.ts` which ids were there before.
 *
 * Invariants
 * E1 The reader never throws, whatever bytes a record holds.
 * E2 An accepted event has exactly the declared fields, each of its declared type, and a well-formed id and time.
 * E3 The window never admits an id that is among the newest `idsMax` ones it admitted.
 */

export * from "./dedup-window.ts";
export * from "./read-event.ts";
export * from "./reasons.ts";
