/**
 * Archive: what was archived, read back.
 *
 * `block-files.ts` local copies of blocks; `event-columns.ts` columns to event rows; `replay.ts` a partition's event log
 * out of its blocks; `verify.ts` whether what was served can be computed again.
 * `training-set.ts` the vectors of questions: `questions.ts` what is asked, `question-table.ts` out of somebody's file,
 * `answer-questions.ts` one partition, with rows of codes (`event-codes.ts`, `question-rows.ts`). `example-set.ts` the
 * examples that the stream decided: `decide-examples.ts` one partition, `example-columns.ts`. Both replay partitions
 * side by side: `replay-threads.ts`, `replay-thread.ts`, `replay-job.ts`, each thread with a port of its own
 * (`scan-module.ts`).
 *
 * Invariants
 * A1 No question sees an event that its order does not let it see: of a later time, or accepted later.
 * A2 The same archive and questions give the same bits, with however many threads.
 * A3 In order of acceptance, a question that counts is answered as the stream answered the event in its place.
 */

export type { AnswerOptions, ReplayOrder } from "./answer-questions.ts";
export * from "./block-files.ts";
export type { ExampleOptions } from "./decide-examples.ts";
export * from "./event-columns.ts";
export type { ExampleColumns } from "./example-columns.ts";
export * from "./example-set.ts";
export * from "./question-table.ts";
export { type FieldValues, QuestionError, type Questions } from "./questions.ts";
export * from "./replay.ts";
export type { ScanModule } from "./scan-module.ts";
export { type ReplaySource, type TrainingSet, trainingSet } from "./training-set.ts";
export * from "./verify.ts";
