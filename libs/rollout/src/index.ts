/**
 * Which version answers whom, and how two versions' answers compare. `assign.ts` gives each unit an arm,
 * `interleave.ts` mixes two rankings and credits clicks, `comparison.ts` sums up how mirrored answers differ;
 * `murmur3.ts` is the chance that the first two draw from.
 *
 * Invariants:
 * R1. The same plan and unit give the same arm, in every process and at any time.
 * R2. A challenger whose share grows only takes units from the champion; one whose share shrinks only gives units back.
 * R3. The propensity returned is the probability, over salts, with which the arm or the draft is drawn.
 * R4. The champion and the challenger can be exchanged in an interleaving without changing its distribution.
 */
export * from "./assign.ts";
export * from "./comparison.ts";
export * from "./interleave.ts";
