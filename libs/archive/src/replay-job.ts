import { type AnswerJob, answerQuestions, type LateQuestions } from "./answer-questions.ts";
import { decideExamples, type ExampleJob } from "./decide-examples.ts";
import type { ExampleColumns } from "./example-columns.ts";
import type { ReplayScan } from "./scan-module.ts";

/** The replay of one partition, as it is sent to a thread: `values` of questions are in shared memory. */
export type ReplayJob =
  | ({ readonly kind: "questions" } & AnswerJob)
  | ({ readonly kind: "examples" } & ExampleJob);

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
    case "questions":
      return { kind: "questions", late: await answerQuestions(job, ports) };
    case "examples":
      return { kind: "examples", examples: await decideExamples(job, ports) };
  }
}
