import type { Decision, DriftReport } from "@millrace/contracts";
import { checkedDurationMs, type RetrainPolicy } from "@millrace/lines";

/** Something that may lead to a training run. `cause` is unique per line. */
export type RetrainTrigger =
  /** The line has no version at all: the baseline is registered, so that predictions exist from the start. */
  | { readonly trigger: "bootstrap"; readonly cause: string }
  /** Only the baseline serves and there are enough examples to learn from. */
  | { readonly trigger: "first"; readonly cause: string }
  /** `examplesSinceChange`: labelled examples so far whose event time lies after the report's change time. */
  | {
      readonly trigger: "drift";
      readonly cause: string;
      readonly report: Pick<DriftReport, "kind" | "changeTime" | "version">;
      readonly examplesSinceChange: number;
    }
  | { readonly trigger: "stale"; readonly cause: string }
  /** A person asks. */
  | { readonly trigger: "manual"; readonly cause: string };

/** A run of the line, as far as the governor needs it. */
export interface GovernedRun {
  readonly id: string;
  readonly cause: string;
  readonly trigger: string;
  readonly inFlight: boolean;
  /** Event time of the line when the run was admitted. */
  readonly streamTimeMs: number;
}

/** What is known of the line at the moment of the decision. */
export interface GovernorState {
  /** Newest event time of the line. */
  readonly streamTimeMs: number;
  /** Examples of the line so far. */
  readonly examples: number;
  /** Runs of the line, in any order; at least those of the last 24 hours of event time and of the causes at hand. */
  readonly runs: readonly GovernedRun[];
  /** null: no version serves. */
  readonly champion: {
    readonly version: number;
    /** False: the baseline. */
    readonly trained: boolean;
    readonly trainedUntilMs: number;
  } | null;
}

/** What to do, and a sentence why. `delayed` and `merged` triggers may be asked about again; the rest are final. */
export type Ruling = Pick<Decision, "outcome" | "reason">;

const DAY_MS = 24 * 60 * 60 * 1000;

/** Decides about one trigger. Pure: the same trigger, state and policy give the same ruling. */
export function decide(trigger: RetrainTrigger, state: GovernorState, policy: RetrainPolicy): Ruling {
  const same = state.runs.find((run) => run.cause === trigger.cause);
  if (same !== undefined) return refused(`Run ${same.id} has this cause already.`);
  const running = state.runs.find((run) => run.inFlight);
  if (running !== undefined) {
    return { outcome: "merged", reason: `Run ${running.id} (${running.trigger}) is in flight already.` };
  }
  switch (trigger.trigger) {
    case "bootstrap":
      return state.champion === null
        ? admitted("No version serves yet: the baseline comes first.")
        : refused(`Version ${state.champion.version} serves already.`);
    case "first":
      return decideFirst(state, policy);
    case "drift":
      return decideDrift(trigger, state, policy);
    case "stale":
      return decideStale(state, policy);
    case "manual":
      return admitted("A person asked for it.");
    default:
      return trigger satisfies never;
  }
}

function decideFirst({ champion, examples }: GovernorState, policy: RetrainPolicy): Ruling {
  if (champion?.trained === true) {
    return refused(`Version ${champion.version} serves already and was trained on examples.`);
  }
  if (examples < policy.firstAfter) {
    return delayed(
      `${count(examples)} examples so far; the first training needs ${count(policy.firstAfter)}.`,
    );
  }
  return admitted(
    `Only the baseline serves, and there are ${count(examples)} examples (at least ${count(policy.firstAfter)} needed).`,
  );
}

function decideStale({ champion, streamTimeMs }: GovernorState, policy: RetrainPolicy): Ruling {
  if (champion === null || !champion.trained)
    return refused("No trained version serves that could be stale.");
  const ageMs = streamTimeMs - champion.trainedUntilMs;
  const what = `Version ${champion.version} knows nothing of the last ${span(ageMs)}`;
  return ageMs < checkedDurationMs(policy.staleAfter)
    ? refused(`${what}; it is stale only after ${policy.staleAfter}.`)
    : admitted(`${what}, and more than ${policy.staleAfter} is too stale, whatever cooldown and budget say.`);
}

function decideDrift(
  { report, examplesSinceChange }: Extract<RetrainTrigger, { trigger: "drift" }>,
  { champion, runs, streamTimeMs }: GovernorState,
  policy: RetrainPolicy,
): Ruling {
  if (champion === null || !champion.trained) {
    return refused(
      `Only the baseline serves, which learnt nothing; the first training comes at ${count(policy.firstAfter)} examples.`,
    );
  }
  if (report.version !== champion.version) {
    return refused(`The report is about version ${report.version}; version ${champion.version} serves now.`);
  }
  if (report.kind === "inputs") {
    return delayed(
      "The features are distributed differently, but the labels do not confirm yet that predictions got worse.",
    );
  }
  if (examplesSinceChange < policy.minChange) {
    return delayed(
      `${count(examplesSinceChange)} examples since the change; a retraining needs ${count(policy.minChange)}.`,
    );
  }
  const earlier = runs.filter((run) => run.trigger !== "bootstrap");
  const last = earlier.reduce<GovernedRun | null>(
    (newest, run) => (newest === null || run.streamTimeMs > newest.streamTimeMs ? run : newest),
    null,
  );
  if (last !== null && streamTimeMs - last.streamTimeMs < checkedDurationMs(policy.cooldown)) {
    const sinceMs = streamTimeMs - last.streamTimeMs;
    return delayed(
      `Run ${last.id} was admitted ${span(sinceMs)} ago in event time; the cooldown is ${policy.cooldown}.`,
    );
  }
  const ofDay = earlier.filter(
    (run) => run.trigger === "drift" && run.streamTimeMs > streamTimeMs - DAY_MS,
  ).length;
  if (ofDay >= policy.maxRunsPerDay) {
    return delayed(
      `Drift led to ${count(ofDay)} runs within the last 24 hours of event time; the line allows ${count(policy.maxRunsPerDay)}.`,
    );
  }
  return admitted(
    `Predictions got worse, and there are ${count(examplesSinceChange)} examples since the change (at least ${count(policy.minChange)} needed).`,
  );
}

const admitted = (reason: string): Ruling => ({ outcome: "admitted", reason });
const delayed = (reason: string): Ruling => ({ outcome: "delayed", reason });
const refused = (reason: string): Ruling => ({ outcome: "refused", reason });

const count = (value: number): string => Math.round(value).toLocaleString("en-US");

function span(ms: number): string {
  const hours = ms / 3_600_000;
  return hours < 48 ? `${hours.toFixed(1)} hours` : `${(hours / 24).toFixed(1)} days`;
}
