import { meter } from "@millrace/runtime";

/** The trainer's metrics. Made after telemetry has started. */
export interface TrainerMetrics {
  /** `outcome`: promoted, rolling-out, rejected or failed. */
  runEnded(line: string, trigger: string, outcome: string): void;
  stageEnded(stage: string, seconds: number): void;
  decided(line: string, trigger: string, outcome: string): void;
}

export function createMetrics(): TrainerMetrics {
  const runs = meter().createCounter("millrace_training_runs", {
    description: "Training runs that ended, by line, trigger and outcome",
  });
  const stages = meter().createHistogram("millrace_training_stage_seconds", {
    description: "Duration of the stages of training runs",
    unit: "s",
    advice: { explicitBucketBoundaries: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800] },
  });
  const decisions = meter().createCounter("millrace_training_decisions", {
    description: "Decisions of the governor, by line, trigger and outcome",
  });
  return {
    runEnded: (line, trigger, outcome) => runs.add(1, { line, trigger, outcome }),
    stageEnded: (stage, seconds) => stages.record(seconds, { stage }),
    decided: (line, trigger, outcome) => decisions.add(1, { line, trigger, outcome }),
  };
}
