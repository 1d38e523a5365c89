/** The end of a complete loop: do the counts add up, and what did the loop gain? Pure. */
import type { LiveQuality, Verdict } from "@millrace/contracts";
import { count, decimal, durationText } from "../text.ts";
import { between, type Facts, type Loop, type StageName } from "./timeline.ts";

/** Counts of one line over its whole life. */
export interface Counts {
  /** Records in the producers' topics, by stream, read from Kafka itself. */
  readonly sent: Readonly<Record<string, number>>;
  readonly accepted: Readonly<Record<string, number>>;
  readonly rejected: number;
  readonly featured: number;
  readonly predicted: number;
  readonly labelled: number;
  readonly matched: number;
}

export interface Equation {
  readonly text: string;
  readonly left: number;
  readonly right: number;
  readonly holds: boolean;
}

/**
 * What must hold when nothing is under way: every event sent is accepted or rejected, every accepted event that the
 * line predicts on has one feature vector and one prediction, every matured label has one example.
 */
export function equations(counts: Counts, predictOn: string): Equation[] {
  const sent = total(counts.sent);
  const accepted = total(counts.accepted);
  const asked = counts.accepted[predictOn] ?? 0;
  return [
    equation("sent = accepted + rejected", sent, accepted + counts.rejected),
    equation(`accepted ${predictOn} = feature vectors`, asked, counts.featured),
    equation("feature vectors = predictions", counts.featured, counts.predicted),
    equation("matured labels = examples", counts.matched, counts.labelled),
  ];
}

function equation(text: string, left: number, right: number): Equation {
  return { text, left, right, holds: left === right };
}

/** Sum over streams. */
function total(byStream: Readonly<Record<string, number>>): number {
  return Object.values(byStream).reduce((sum, value) => sum + value, 0);
}

/** The counts as one flat object, as `npm start -- --once --json` prints them. */
function countsJson(counts: Counts): Record<string, number> {
  return {
    sent: total(counts.sent),
    accepted: total(counts.accepted),
    rejected: counts.rejected,
    featured: counts.featured,
    predicted: counts.predicted,
    labelled: counts.labelled,
  };
}

export interface QualityJson {
  readonly rows: number;
  readonly serving: { readonly ap: number; readonly auc: number; readonly logLoss: number };
  readonly first: { readonly ap: number; readonly auc: number; readonly logLoss: number } | null;
  readonly baseRate: { readonly ap: number };
}

function qualityJson(quality: LiveQuality | null): QualityJson | null {
  if (quality === null) return null;
  const short = (scores: LiveQuality["serving"]): QualityJson["serving"] => ({
    ap: scores.averagePrecision,
    auc: scores.auc,
    logLoss: scores.logLoss,
  });
  return {
    rows: quality.rows,
    serving: short(quality.serving),
    first: quality.first === null ? null : short(quality.first),
    baseRate: { ap: quality.baseRate.averagePrecision },
  };
}

/** One registered version, as shown to people. */
export interface VersionFact {
  readonly version: number;
  readonly recipe: string;
  readonly digest: string;
  readonly features: string;
  readonly runId: string;
  readonly registeredAtMs: number;
  readonly trainedUntilMs: number;
  readonly passed: boolean;
  readonly verdict: Verdict | null;
}

/** The last line of `npm start -- --once --json`. Times are wall-clock ms; null: not reached. */
export interface LoopReport {
  readonly complete: boolean;
  readonly stages: Readonly<Record<string, number | null>>;
  /** How long each stage of the swap took, as the inference service measured it. */
  readonly swap: Readonly<Record<string, number>>;
  readonly counts: Readonly<Record<string, number>>;
  readonly countsByStream: Pick<Counts, "sent" | "accepted">;
  readonly equations: readonly Equation[];
  /** before: the newest labels when the new champion began to serve; after: labels of its own predictions. */
  readonly quality: { readonly before: QualityJson | null; readonly after: QualityJson | null };
  readonly versions: readonly Pick<
    VersionFact,
    "version" | "recipe" | "digest" | "registeredAtMs" | "trainedUntilMs" | "passed"
  >[];
  readonly aliases: Readonly<Record<string, number>>;
  readonly digests: { readonly line: string; readonly features: string; readonly champion: string };
}

export function loopReport(found: {
  readonly loop: Loop;
  /** ms since the command began, by name. */
  readonly stages: Readonly<Record<string, number>>;
  readonly counts: Counts;
  readonly before: LiveQuality | null;
  readonly after: LiveQuality | null;
  readonly facts: Facts;
  readonly versions: readonly VersionFact[];
  readonly aliases: Readonly<Record<string, number>>;
  readonly lineDigest: string;
  readonly equations: readonly Equation[];
}): LoopReport {
  const { loop, facts, versions, aliases, counts } = found;
  const gap = (from: StageName, to: StageName): number | null => between(loop, from, to);
  const stageMs = facts.runs.find(({ id }) => id === loop.runId)?.stageMs ?? {};
  const champion = versions.find(({ version }) => version === aliases["champion"]);
  return {
    complete: loop.state === "complete",
    stages: {
      ...found.stages,
      shockToDriftMs: gap("shock", "drift"),
      driftToDecisionMs: gap("drift", "decision"),
      buildMs: stageMs["build"] ?? gap("decision", "dataset"),
      trainMs: stageMs["train"] ?? gap("dataset", "training"),
      judgeMs: stageMs["judge"] ?? gap("training", "judgement"),
      registerMs: stageMs["register"] ?? gap("judgement", "registered"),
      promoteMs: stageMs["promote"] ?? gap("registered", "promoted"),
      swapMs: gap("promoted", "swapped"),
      driftToBetterMs: gap("drift", "swapped"),
      shockToBetterMs: gap("shock", "swapped"),
    },
    swap: facts.swaps.find(({ version }) => version === loop.version)?.ms ?? {},
    counts: countsJson(counts),
    countsByStream: { sent: counts.sent, accepted: counts.accepted },
    equations: found.equations,
    quality: { before: qualityJson(found.before), after: qualityJson(found.after) },
    versions: versions.map(({ version, recipe, digest, registeredAtMs, trainedUntilMs, passed }) => ({
      version,
      recipe,
      digest,
      registeredAtMs,
      trainedUntilMs,
      passed,
    })),
    aliases,
    digests: {
      line: found.lineDigest,
      features: champion?.features ?? "",
      champion: champion?.digest ?? "",
    },
  };
}

/** The report for people. */
export function reportLines(report: LoopReport): string[] {
  return [
    "",
    report.complete ? "One complete loop." : "The loop is not complete.",
    "Stages",
    ...Object.entries(report.stages).map(
      ([name, ms]) => `  ${name.replace(/Ms$/, "").padEnd(18)} ${durationText(ms ?? Number.NaN)}`,
    ),
    "Counts",
    ...report.equations.map(
      ({ text, left, right, holds }) =>
        `  ${holds ? "✓" : "✗"} ${text.padEnd(42)} ${count(left)} ${holds ? "=" : "≠"} ${count(right)}`,
    ),
    "Live quality",
    qualityLine("just before the swap", report.quality.before),
    qualityLine("the new champion's own predictions", report.quality.after),
    "Versions",
    ...report.versions.map(
      ({ version, recipe, digest, passed }) =>
        `  ${version}  ${recipe}  ${digest.slice(0, 12)}  ${passed ? "passed" : "refused"}`,
    ),
    "",
  ];
}

function qualityLine(name: string, quality: QualityJson | null): string {
  if (quality === null) return `  ${name}: no labels`;
  const { serving, first, baseRate, rows } = quality;
  const never =
    first === null ? "" : ` · first model never retrained AP ${decimal(first.ap)} AUC ${decimal(first.auc)}`;
  return `  ${name}: AP ${decimal(serving.ap)} AUC ${decimal(serving.auc)}${never} · base rate AP ${decimal(baseRate.ap)} (${count(rows)} labels)`;
}
