import type { LearningLine, LineDefinition } from "@millrace/lines";
import { type AnswerOptions, answerQuestions, type LateQuestions } from "./answer-questions.ts";
import { decideExamples, type ExampleOptions } from "./decide-examples.ts";
import type { ExampleColumns } from "./example-columns.ts";
import type { PartitionQuestions } from "./questions.ts";
import type { ReplayScan } from "./scan-module.ts";

/** The replay of one partition, as it is sent to a thread. `rows`: about how many events its files hold. */
export type ReplayJob = {
  readonly files: readonly string[];
  readonly rows: number;
} & (
  | {
      readonly kind: "questions";
      readonly line: LineDefinition;
      readonly questions: PartitionQuestions;
      readonly options: AnswerOptions;
      /** Shared memory. */
      readonly values: Float64Array;
    }
  | {
      readonly kind: "examples";
      readonly line: LearningLine;
      readonly features: string;
      readonly options: ExampleOptions;
    }
);

export type ReplayResult =
  | { readonly kind: "questions"; readonly late: LateQuestions }
  | { readonly kind: "examples"; readonly examples: ExampleColumns };

interface JobPorts {
  readonly scan: ReplayScan;
  readonly onEvents: (events: number) => void;
  readonly signal: AbortSignal;
}

export async function doReplay(job: ReplayJob, ports: JobPorts): Promise<ReplayResult> {
  switch (job.kind) {
    case "questions": {
      const { line, files, questions, options, values } = job;
      return {
        kind: "questions",
        late: await answerQuestions(line, files, questions, options, values, ports),
      };
    }
    case "examples": {
      const { line, features, files, options } = job;
      return { kind: "examples", examples: await decideExamples(line, features, files, options, ports) };
    }
  }
}
