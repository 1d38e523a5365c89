/**
 * Lines: the one definition a user writes, its types, and its check.
 * `definition.ts` what a line is; `define.ts` the typed helper for authors; `check.ts` every rule, each with a
 * remedy; `duration.ts` durations as text.
 */

export * from "./check.ts";
export * from "./define.ts";
export * from "./definition.ts";
export * from "./duration.ts";
