/** Testkit: fakes that pass the same contract suites as the real adapters, and what tests share. Never shipped. */

export * from "./crash.ts";
export * from "./memory-broker.ts";
export * from "./memory-checkpoints.ts";
export * from "./memory-record.ts";
export * from "./models.ts";
export * from "./objects.ts";
export * from "./random.ts";
export * from "./read-topic.ts";
