/**
 * Events: from what a producer sent to an accepted event, or to a refusal that says why.
 *
 * - `acceptor.ts` decides about the records of one partition: reads, refuses known ids and late events, counts.
 * - `read-event.ts` the slow reader, which decides in doubt: sizes, envelope (`cloud-event.ts`), then each declared
 *   field (`read-field.ts`); `reasons.ts` the catalogue of refusals.
 * - `row-reader.ts` the fast reader: plain JSON from bytes into an `EventRow` (`field-scanner.ts`, `json-scan.ts`).
 * - `accepted-writer.ts`, `accepted-reader.ts` the values of `LINE.events`.
 * - `dedup-window.ts`, `watermark.ts` what an acceptor remembers; `recall.ts` how that is made anew from an archive.
 * - `schema-frame.ts` the frame of a schema registry around a record; `schema-reader.ts` the port to its schemas.
 *
 * E1  The slow reader never throws, and accepts exactly the declared fields with values of their types.
 * E2  What the fast reader accepts, the slow reader accepts with the same values; the converse need not hold.
 * E3  An id among the newest 262,144 accepted ones of its stream and partition is never accepted.
 * E4  The same records in the same order give the same decisions, also over a snapshot.
 */

export * from "./accepted-reader.ts";
export * from "./accepted-writer.ts";
export * from "./acceptor.ts";
export * from "./dedup-window.ts";
export * from "./event-row.ts";
export * from "./exact-decimal.ts";
export { type JsonObject, readJsonObject } from "./json-object.ts";
export * from "./read-entity.ts";
export * from "./read-event.ts";
export { type Deposit, readField, TEXT_MEDIA_TYPE } from "./read-field.ts";
export * from "./reasons.ts";
export * from "./recall.ts";
export * from "./row-reader.ts";
export * from "./schema-frame.ts";
export * from "./schema-reader.ts";
export * from "./watermark.ts";
