/**
 * Labels: joins the vectors of a partition with the labels that tell what was true. `label-join.ts` holds the rules,
 * `conflict.ts` the one about several labels; the other files are its memory: `entry-table.ts` finds what is known of
 * an id, `deadline-queue.ts` what is over next, `vector-slab.ts` keeps values and `text-slab.ts` ids. An example is an
 * `ExampleRow`; `toExample` and `ExampleWriter` make a message of it.
 *
 * Invariants
 * L1 The same vectors, labels and stream times in the same order give the same examples, wherever they are cut into
 *    batches and wherever a join goes on from a snapshot.
 * L2 Every vector ends in exactly one of matched, silent, expired, given up; every label in exactly one of matched,
 *    corrected, repeated, conflicting, late, unmatched.
 * L3 The examples of a vector are numbered 0, 1, 2, ... and have its values, bit for bit.
 */

export * from "./example-row.ts";
export * from "./example-writer.ts";
export type { LabelCounts } from "./label-counts.ts";
export * from "./label-join.ts";
