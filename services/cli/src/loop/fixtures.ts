/** A mesh in the middle of a loop, for the tests of view, plain lines and timeline. */
import type { Decision, DriftReport, Progress, Quality, RegistryChange, Verdict } from "@millrace/contracts";
import type { Snapshot } from "./snapshot.ts";
import { type Facts, timeline } from "./timeline.ts";

/** Wall clock at which the fixture's mesh began, and the moment that it shows. */
export const STARTED_AT_MS: number = Date.UTC(2026, 10, 23, 14, 0, 0);
const at = (seconds: number): number => STARTED_AT_MS + seconds * 1_000;
const SHOCK_MS = Date.UTC(2001, 0, 5);

export const quality = (rows: number, averagePrecision: number, auc: number, logLoss: number): Quality => ({
  rows,
  positives: Math.round(rows * 0.21),
  averagePrecision,
  auc,
  logLoss,
  brier: logLoss / 3,
});

export const report: DriftReport = {
  id: "flights-v2-1",
  line: "flights",
  kind: "harm",
  time: SHOCK_MS + 3_600_000 * 5,
  changeTime: SHOCK_MS + 3_600_000,
  version: 2,
  statistic: 1_200_000,
  threshold: 1_000_000,
  reference: { rows: 2_000, loss: 0.141 },
  live: { rows: 4_210, loss: 0.198 },
  shifts: [],
};

export const admitted: Decision = {
  id: "d2",
  line: "flights",
  time: report.time,
  cause: report.id,
  trigger: "drift",
  outcome: "admitted",
  reason: "harm since 2001-01-05 01:00; 4,210 examples after the change",
  runId: "run-2",
  decidedAtMs: at(49),
};

const refused: Decision = {
  ...admitted,
  id: "d1",
  cause: "flights-v2-0",
  trigger: "drift",
  outcome: "refused",
  reason: "the last run ended 2 h ago, and the cooldown is 12 h",
  runId: null,
  decidedAtMs: at(40),
};

const step = (stage: Progress["stage"], done: number, seconds: number, candidate = ""): Progress => ({
  line: "flights",
  runId: "run-2",
  stage,
  candidate,
  message: "",
  done,
  atMs: at(seconds),
});

const change = (kind: RegistryChange["kind"], version: number, seconds: number): RegistryChange => ({
  line: "flights",
  kind,
  version,
  generation: version,
  reason: "",
  atMs: at(seconds),
});

/** A loop that is complete: shock at second 36, version 3 serves at second 55.4. */
export const facts: Facts = {
  shock: { eventTimeMs: SHOCK_MS, atMs: at(36) },
  reports: [{ report, atMs: at(48.8) }],
  decisions: [refused, admitted],
  progress: [
    step("build", 0, 49.1),
    step("train", 0, 50.2, "lightgbm/since-change"),
    step("train", 0.4, 50.6, "lightgbm/since-change"),
    step("train", 1, 53.9, "logistic/all"),
    step("judge", 0, 54.1),
    step("register", 0, 54.6),
    step("promote", 0, 54.8),
    step("end", 1, 55),
  ],
  changes: [
    change("registered", 2, 20),
    change("promoted", 2, 20.2),
    change("registered", 3, 54.8),
    change("promoted", 3, 55),
  ],
  swaps: [
    { version: 2, atMs: at(20.4), ms: { download: 12, load: 30, drain: 4 } },
    { version: 3, atMs: at(55.4), ms: { download: 14, load: 41, warm: 8, drain: 3 } },
  ],
  runs: [
    {
      id: "run-2",
      trigger: "drift",
      state: "promoted",
      reason: "",
      version: 3,
      stageMs: { build: 1_100, train: 3_900, judge: 500, register: 200, promote: 200 },
    },
  ],
};

export const verdict: Verdict = {
  passed: true,
  reason: "better than the champion",
  candidate: quality(2_100, 0.61, 0.83, 0.412),
  champion: quality(2_100, 0.43, 0.71, 0.521),
  baseRate: quality(2_100, 0.27, 0.5, 0.583),
  gates: [
    { gate: "gain", passed: true, value: 0.109, bound: 0.001 },
    { gate: "base-rate", passed: true, value: 0.171, bound: 0 },
    { gate: "parity", passed: true, value: 2e-7, bound: 1e-4 },
  ],
  heldOut: { fromMs: report.time, untilMs: report.time + 3_600_000, rows: 2_100 },
  candidates: [],
};

/** While the candidates are trained. */
export const training: Snapshot = snapshotOf({
  ...facts,
  progress: facts.progress.slice(0, 3),
  changes: facts.changes.slice(0, 2),
  swaps: facts.swaps.slice(0, 1),
  runs: [{ ...(facts.runs[0] as Facts["runs"][number]), state: "training", version: 0 }],
});

/** After the swap. */
export const complete: Snapshot = {
  ...snapshotOf(facts),
  nowMs: at(70),
  champion: { version: 3, recipe: "lightgbm", sinceMs: at(55), trainedUntilMs: report.time },
  training: null,
  verdict,
  swap: facts.swaps[1] ?? null,
};

function snapshotOf(shown: Facts): Snapshot {
  return {
    nowMs: at(51),
    startedAtMs: STARTED_AT_MS,
    zoneOffsetMinutes: 0,
    doing: "",
    parts: [
      ...["kafka", "nats", "minio"].map((name) => ({ name, kind: "server" as const, state: "running" })),
      ...["registry", "ingest", "feature", "trainer", "inference"].map((name) => ({
        name,
        kind: "service" as const,
        state: name === "ingest" ? "restarting" : "running",
      })),
    ],
    line: { name: "flights", title: "More than 15 minutes late?" },
    player: {
      sent: 171_204,
      departures: 86_010,
      arrivals: 85_194,
      eventTimeMs: report.time,
      shockTimeMs: SHOCK_MS,
      shockedAtMs: at(36),
      perSecond: 3_812,
      speed: 10_000,
      state: "playing",
    },
    counts: {
      sent: 171_204,
      accepted: 171_180,
      rejected: 12,
      featured: 86_002,
      predicted: 85_990,
      labelled: 84_020,
    },
    acceptedPerSecond: 3_790,
    lag: { "ingest/accept": 12, "feature/compute": 0, "feature/watch": 40, "inference/score": 12 },
    streamTimeMs: report.time,
    champion: {
      version: 2,
      recipe: "lightgbm",
      sinceMs: at(20.2),
      trainedUntilMs: SHOCK_MS - 86_400_000 * 2,
    },
    firstVersion: 2,
    quality: {
      window: {
        rows: 10_000,
        positives: 2_140,
        serving: quality(10_000, 0.534, 0.781, 0.402),
        first: quality(10_000, 0.411, 0.702, 0.498),
        baseRate: { averagePrecision: 0.214 },
      },
      champion: null,
    },
    drift: {
      version: 2,
      statistic: 5_200,
      threshold: 1_000_000,
      rows: 21_004,
      referenceLoss: 0.141,
      liveLoss: 0.198,
      slice: "origin_late_4h below its median: more than predicted",
      shifts: [
        { feature: "origin_late_4h", psi: 0.41 },
        { feature: "everywhere_late_24h", psi: 0.223 },
        { feature: "destination_late_4h", psi: 0.12 },
      ],
      lastReport: report,
    },
    decisions: shown.decisions,
    training: shown.progress.at(-1) ?? null,
    verdict: null,
    swap: shown.swaps[0] ?? null,
    loop: timeline(shown),
  };
}
