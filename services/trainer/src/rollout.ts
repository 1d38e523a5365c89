import { join } from "node:path";
import { lineTopic } from "@millrace/contracts";
import { type Decision, decide, mergedMeans, type PairedLosses } from "@millrace/judge";
import type { RolloutPolicy } from "@millrace/lines";
import { every } from "@millrace/runtime";
import { fileCheckpoints, memberFile, startStep } from "@millrace/stream";
import { patiently } from "./patience.ts";
import type { Bench } from "./run.ts";
import { createTrialTask, NO_PAIRS, type Trial, type TrialTask } from "./trial.ts";

const LOOK_MS = 1_000;
const CHECKPOINT_MS = 2_000;
/** Parsing JSON: more at once would let the lease wait. */
const RECORDS_MAX = 256;

/** The rollout that is on, as the status shows it. */
export interface TrialView {
  readonly challenger: number;
  readonly labels: number;
  readonly outcome: Decision["outcome"];
  readonly reason: string;
}

export interface RolloutJudge {
  view(): TrialView | null;
  lag(): number;
  stop(): Promise<void>;
}

/**
 * Judges the line's rollouts, whoever began them: follows predictions and examples, and ends a rollout once the labelled
 * rows have decided. What a row was decided by is in the step's checkpoints, so that a restart loses nothing.
 */
export async function startRolloutJudge(bench: Bench): Promise<RolloutJudge> {
  const { line, ports, settings, signal, serving, epoch } = bench;
  const folder = join(settings.data, line.name, "rollout");
  const tasks = new Map<number, TrialTask>();
  let trial: Trial | null = null;
  let view: TrialView | null = null;

  /** The generation at which the trial is on. */
  const readTrial = async (): Promise<bigint> => {
    const { generation, championVersion, rollout } = await patiently("read what serves", ports, signal, () =>
      serving.read(),
    );
    trial =
      rollout === null
        ? null
        : { salt: rollout.salt, champion: Number(championVersion), challenger: Number(rollout.version) };
    return generation;
  };

  const look = async (): Promise<void> => {
    const expectedGeneration = await readTrial();
    if (trial === null) {
      view = null;
      return;
    }
    const current = trial;
    const losses = [...tasks.values()].map((task) => task.losses(current)).reduce(mergedMeans, NO_PAIRS);
    const { outcome, reason } = ruling(losses, line.rollout);
    view = { challenger: current.challenger, labels: losses.rows, outcome, reason };
    if (outcome === "undecided") return;
    await ports.registry.endRollout({ line: line.name, expectedGeneration, epoch, outcome, reason });
    ports.log.info({ line: line.name, ...view }, "rollout ended");
  };

  // A step that begins before it knows of a trial would pass over the trial's rows.
  await readTrial();
  const step = await startStep(
    {
      name: `${line.name}.rollout`,
      topics: [lineTopic(line.name, "predictions"), lineTopic(line.name, "examples")],
      outputs: [],
      recordsMax: RECORDS_MAX,
      member: memberFile(join(folder, "member")),
      checkpoints: fileCheckpoints(folder),
      checkpointEveryMs: CHECKPOINT_MS,
      createTask: (partition, snapshot) => {
        const task = createTrialTask(line, () => trial, snapshot);
        tasks.set(partition, task);
        return task;
      },
    },
    ports,
  );
  const stopped = new AbortController();
  const looking = every(LOOK_MS, AbortSignal.any([signal, stopped.signal]), look, (error) =>
    ports.log.warn({ err: error, line: line.name }, "the rollout could not be judged"),
  );
  return {
    view: () => view,
    lag: () => step.lag(),
    stop: async () => {
      stopped.abort();
      await step.stop();
      await looking;
    },
  };
}

/** What the evidence is enough for. A challenger that is not proven by `maxLabels` rows is given up. */
export function ruling(losses: PairedLosses, policy: RolloutPolicy): Decision {
  const { alpha, minLabels, maxLabels } = policy;
  const decision = decide({ loss: losses, failures: {} }, { alpha, minRows: minLabels, margin: 0, harm: 0 });
  if (decision.outcome !== "undecided" || losses.rows < maxLabels) return decision;
  return { outcome: "rollback", reason: `not proven by ${losses.rows} labels: ${decision.reason}` };
}
