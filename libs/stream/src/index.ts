/**
 * Stream: how a step reads partitions, keeps state and writes records, with an exactly-once effect at
 * at-least-once speed. `broker.ts` the port to Kafka; `step.ts` what a step is; `start-step.ts` the
 * engine that runs it; `task-runner.ts` one partition of it; `checkpoint.ts` state on disk;
 * `seen.ts` drops what was written again after a crash; `follow-lines.ts` one
 * set of steps per applied line; `merge.ts` one order over several topics; `archive.ts` a topic as Parquet blocks.
 *
 * Invariants
 * S1 A checkpoint holds state, input offsets and seen positions of one moment, and is saved only after every
 *    record written before that moment is acknowledged.
 * S2 After a restart the input is replayed from the checkpoint; records written again carry the same source
 *    position, and whoever reads them drops them.
 * S3 One task per partition number: it alone reads that partition of the step's topics and writes the partition
 *    of the same number.
 * S4 Memory is bounded: a task takes a batch only when the one before it is processed.
 */

export * from "./archive.ts";
export * from "./broker.ts";
export * from "./checkpoint.ts";
export * from "./follow-lines.ts";
export * from "./merge.ts";
export * from "./partition.ts";
export * from "./seen.ts";
export * from "./start-step.ts";
export * from "./step.ts";
