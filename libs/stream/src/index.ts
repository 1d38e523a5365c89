/**
 * Stream: how a step reads partitions, keeps state and writes records, so that what it writes stands in the log
 * exactly once, for every reader.
 *
 * `broker.ts` the port to Kafka; `step.ts` what a step is; `start-step.ts` the engine that runs it; `task-runner.ts`
 * one partition of it; `take-over.ts` and `tail.ts` how a partition changes hands; `outputs.ts` what is written;
 * `merge.ts` one order over several topics; `saves.ts` when to save; `stall-watch.ts` whether it
 * goes on; `checkpoint.ts` what is saved, and where:
 * `file-checkpoints.ts`, `object-checkpoints.ts`, `layered-checkpoints.ts`; `archive.ts` a topic as Parquet blocks;
 * `follow-lines.ts` one set of steps per applied line.
 *
 * Invariants
 * S1 A partition is taken over by opening its writer first: from then on no former owner can write to its output
 *    partitions. Only then are the checkpoint and the ends of the output partitions read.
 * S2 A checkpoint is of one moment: state, input offsets, where the outputs ended. It is saved only after every output
 *    of what lies before its offsets is acknowledged. The input is replayed from it.
 * S3 In each output partition the outputs that one source partition caused stand once each, in the order of their
 *    source positions, and nothing is missing below the highest one. A new owner writes only what lies above it.
 * S4 Memory is bounded: records that wait for the task, bytes that wait for their acknowledgement, and copies of state.
 *
 * Why S3 holds. A source's outputs are a sequence, given by the task being deterministic; its positions rise.
 * (a) One owner appends them in that order to one idempotent producer, whose batches a partition takes only without
 *     gap or repetition: what it has written is a contiguous part of the sequence, also when it dies in between or an
 *     acknowledgement is lost.
 * (b) Where that part begins: the owner replays from a checkpoint, below which everything is written (S2), and leaves
 *     out what is not above the highest position found behind it. That position is final, because it was read after
 *     the fence (S1): the part begins where what others wrote ends.
 * (c) A former owner that goes on (a zombie: paused, cut off, thought dead) can write only before the fence, and what
 *     it writes then is a contiguous part by the same argument, which the tail shows. Its checkpoints are its own
 *     file's, or are refused by the index; and even one that were read would be right by S2, only older.
 * A reader that stops anywhere has seen a prefix of each sequence. Sequences of several sources are interleaved as the
 * owner merged them; a replay may merge otherwise, which is why what a record causes must not depend on it, or the
 * step holds its outputs until the checkpoint that decided them is saved: then they are replayed from it as they were.
 */

export * from "./archive.ts";
export * from "./block-message.ts";
export * from "./broker.ts";
export * from "./checkpoint.ts";
export * from "./file-checkpoints.ts";
export * from "./follow-lines.ts";
export * from "./layered-checkpoints.ts";
export * from "./member-memory.ts";
export * from "./merge.ts";
export * from "./object-checkpoints.ts";
export * from "./partition.ts";
export { StallError } from "./stall-watch.ts";
export * from "./start-step.ts";
export * from "./step.ts";
export { highestPositions } from "./tail.ts";
