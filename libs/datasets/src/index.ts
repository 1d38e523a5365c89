/**
 * Datasets: which examples a run learns from and is judged on. `blocks.ts` chooses archived blocks, `known.ts` the rows
 * that stand by a time, `split.ts` divides them by time, `profile.ts` describes them, `validate.ts` says what is wrong with them, `manifest.ts` is
 * the immutable record whose SHA-256 names the dataset.
 *
 * Invariants
 * D1 No row that a candidate learns from is as new as the oldest row that it is judged on.
 * D2 Equal blocks, filters and causes give the same manifest text, thus the same digest.
 * D3 Of an event nobody learns from, or is judged on, more than the newest label known.
 */

export * from "./blocks.ts";
export * from "./known.ts";
export * from "./manifest.ts";
export * from "./profile.ts";
export * from "./split.ts";
export * from "./validate.ts";
