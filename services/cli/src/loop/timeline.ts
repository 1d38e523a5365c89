/**
 * The timeline of a loop, from the shock to the better model serving, read off what the mesh wrote down. Pure: the
 * same facts give the same timeline, whether they were seen live or read after a restart.
 */
import type { Decision, DriftReport, Progress, RegistryChange } from "@millrace/contracts";
import type { Swap } from "./details.ts";

export const STAGES = [
  "shock",
  "drift",
  "decision",
  "dataset",
  "training",
  "judgement",
  "registered",
  "promoted",
  "swapped",
] as const;
export type StageName = (typeof STAGES)[number];

/** What was seen of one line, each with the wall-clock time at which it happened. Oldest first. */
export interface Facts {
  /** The injected change: its event time, and when the player sent it (null: not yet). */
  readonly shock: { readonly eventTimeMs: number; readonly atMs: number | null } | null;
  readonly reports: readonly { readonly report: DriftReport; readonly atMs: number }[];
  readonly decisions: readonly Decision[];
  readonly progress: readonly Progress[];
  readonly changes: readonly RegistryChange[];
  readonly swaps: readonly Swap[];
  /** As the registry holds them now. */
  readonly runs: readonly RunFact[];
}

export interface RunFact {
  readonly id: string;
  readonly trigger: string;
  readonly state: string;
  readonly reason: string;
  /** 0: nothing registered (yet). */
  readonly version: number;
  readonly stageMs: Readonly<Record<string, number>>;
}

export interface Stage {
  readonly name: StageName;
  /** Wall clock; null: not reached (or, for the shock: not injected). */
  readonly atMs: number | null;
}

export interface Loop {
  readonly stages: readonly Stage[];
  readonly report: DriftReport | null;
  readonly decision: Decision | null;
  readonly runId: string | null;
  /** The version that the loop promoted. */
  readonly version: number | null;
  /** complete: the version that it promoted serves. ended: its run ended without a promotion. */
  readonly state: "waiting" | "running" | "ended" | "complete";
}

const ORDER: readonly Progress["stage"][] = ["build", "train", "judge", "register", "promote", "end"];

/**
 * The loop to show. It begins with the shock and the first drift report after it (reports from before belong to the
 * stream's own changes), and goes on with the first admitted decision on any of these reports whose version serves
 * in the end, else with the newest admitted one. Without a shock it begins with the report of the newest decision.
 */
export function timeline(facts: Facts): Loop {
  if (facts.shock !== null && facts.shock.atMs === null) return emptyLoop(facts);
  const since = facts.shock?.eventTimeMs ?? Number.NEGATIVE_INFINITY;
  const reports = facts.reports.filter(({ report }) => report.time >= since);
  const [first] = reports;
  if (first === undefined) return emptyLoop(facts);
  const loops = facts.decisions
    .filter(({ outcome }) => outcome === "admitted")
    .flatMap((decision) => {
      const cause = reports.find(({ report }) => report.id === decision.cause);
      if (cause === undefined) return [];
      return [follow(facts.shock === null ? cause : first, decision, facts)];
    });
  const complete = facts.shock === null ? undefined : loops.find(({ state }) => state === "complete");
  return (
    complete ?? loops.at(-1) ?? follow(facts.shock === null ? (reports.at(-1) ?? first) : first, null, facts)
  );
}

function emptyLoop(facts: Facts): Loop {
  return {
    stages: STAGES.map((name) => ({ name, atMs: name === "shock" ? (facts.shock?.atMs ?? null) : null })),
    report: null,
    decision: null,
    runId: null,
    version: null,
    state: "waiting",
  };
}

/** From a drift report through the decision to retrain (null: none yet), run, promotion and swap. */
function follow(found: Facts["reports"][number], decision: Decision | null, facts: Facts): Loop {
  const { report, atMs } = found;
  const runId = decision?.runId ?? null;
  const steps = runId === null ? [] : facts.progress.filter((step) => step.runId === runId);
  const begun = (stage: Progress["stage"]): number | null =>
    steps.find((step) => ORDER.indexOf(step.stage) >= ORDER.indexOf(stage))?.atMs ?? null;
  // A stage has several steps (one candidate after another): it has ended when the next one begins.
  const ended = (stage: Progress["stage"]): number | null =>
    begun(ORDER[ORDER.indexOf(stage) + 1] as Progress["stage"]);

  const run = facts.runs.find(({ id }) => id === runId);
  const version = run !== undefined && run.version > 0 ? run.version : null;
  const changeTo = (kind: RegistryChange["kind"]): number | null =>
    facts.changes.find((change) => change.kind === kind && change.version === version)?.atMs ?? null;
  const promotedAtMs = changeTo("promoted");
  const swap = promotedAtMs === null ? undefined : facts.swaps.find((one) => one.version === version);
  const at: Record<StageName, number | null> = {
    shock: facts.shock?.atMs ?? null,
    drift: atMs,
    decision: decision?.decidedAtMs ?? null,
    dataset: ended("build"),
    training: ended("train"),
    judgement: ended("judge"),
    registered: changeTo("registered"),
    promoted: promotedAtMs,
    swapped: swap?.atMs ?? null,
  };
  const over = run?.state === "rejected" || run?.state === "failed";
  return {
    stages: STAGES.map((name) => ({ name, atMs: at[name] })),
    report,
    decision,
    runId,
    version: promotedAtMs === null ? null : version,
    state: swap !== undefined ? "complete" : over ? "ended" : "running",
  };
}

/** ms from one stage to another; null when one of them was not reached. */
export function between(loop: Loop, from: StageName, to: StageName): number | null {
  const at = (name: StageName): number | null =>
    loop.stages.find((stage) => stage.name === name)?.atMs ?? null;
  const [start, end] = [at(from), at(to)];
  return start === null || end === null ? null : end - start;
}
