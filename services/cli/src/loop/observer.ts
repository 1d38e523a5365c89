import type { LiveQuality, Verdict } from "@millrace/contracts";
import type { LineDefinition } from "@millrace/lines";
import type { Clients, MeshAddress, Part } from "../mesh.ts";
import { lagOf, readStatuses, type Statuses } from "../status.ts";
import { type Tail, tailLine } from "../tail.ts";
import { countOf, detailsOf, type FeatureDetails, type InferenceDetails, type Swap } from "./details.ts";
import type { PlayerState, Snapshot } from "./snapshot.ts";
import type { Counts, VersionFact } from "./summary.ts";
import { type Facts, type Loop, type RunFact, timeline } from "./timeline.ts";

export interface Observer {
  /** Asks every service once. A service that does not answer keeps what it said before. */
  refresh(): Promise<void>;
  facts(shock: Facts["shock"]): Facts;
  /** Counts over the life of the line; what was sent is read from Kafka. */
  counts(): Promise<Counts>;
  versions(): readonly VersionFact[];
  aliases(): Readonly<Record<string, number>>;
  quality(): NonNullable<FeatureDetails["quality"]> | null;
  predictions(): number;
  lag(): Readonly<Record<string, number>>;
  snapshot(view: {
    readonly parts: readonly Part[];
    readonly player: PlayerState | null;
    readonly shock: Facts["shock"];
    readonly startedAtMs: number;
    readonly doing: string;
  }): Snapshot;
  stop(): Promise<void>;
}

/** Watches one line through what the services and topics say. `now` is the wall clock. */
export async function observeLine(
  definition: LineDefinition,
  address: MeshAddress,
  clients: Clients,
  ports: {
    readonly now: () => number;
    readonly swaps: readonly Swap[];
    readonly onProblem: (error: unknown) => void;
  },
): Promise<Observer> {
  const line = definition.name;
  const tail: Tail = await tailLine(clients.broker, definition, ports.onProblem);
  let statuses: Statuses = { registry: null, ingest: null, feature: null, inference: null, trainer: null };
  let runs: readonly RunFact[] = [];
  let versions: readonly VersionFact[] = [];
  let aliases: Readonly<Record<string, number>> = {};
  let seenChanges = -1;
  let sent: Readonly<Record<string, number>> = {};
  const swaps: Swap[] = [...ports.swaps];
  let rate = { atMs: ports.now(), accepted: 0, perSecond: 0 };

  const accepted = (): Record<string, number> =>
    Object.fromEntries(
      Object.keys(definition.streams).map((name) => [
        name,
        countOf(statuses.ingest, line, `accepted.${name}`),
      ]),
    );
  const sum = (byStream: Readonly<Record<string, number>>): number =>
    Object.values(byStream).reduce((a, b) => a + b, 0);

  const readRegistry = async (): Promise<void> => {
    const [listed, ran] = await Promise.all([
      clients.registry.listVersions({ line }),
      clients.registry.listRuns({ line, limit: 20 }),
    ]);
    versions = listed.versions.map((version) => ({
      version: Number(version.version),
      recipe: version.recipe,
      digest: version.artifactDigest,
      features: version.featureDigest,
      runId: version.runId,
      registeredAtMs: Number(version.registeredAtMs),
      trainedUntilMs: Number(version.trainedUntilMs),
      passed: version.passed,
      verdict: version.evidenceJson === "" ? null : (JSON.parse(version.evidenceJson) as Verdict),
    }));
    aliases = Object.fromEntries(Object.entries(listed.aliases).map(([name, to]) => [name, Number(to)]));
    runs = ran.runs.map((run) => ({
      id: run.id,
      trigger: run.trigger,
      state: run.state,
      reason: run.reason,
      version: Number(run.version),
      stageMs: Object.fromEntries(Object.entries(run.stageMs).map(([name, ms]) => [name, Number(ms)])),
    }));
  };

  const refresh = async (): Promise<void> => {
    const answers = await readStatuses(address);
    statuses = Object.fromEntries(
      Object.entries(answers).map(([name, answer]) => [name, answer ?? statuses[name as keyof Statuses]]),
    ) as Statuses;
    const swap = detailsOf<InferenceDetails>(statuses.inference, line).lastSwap;
    if (swap && !swaps.some(({ version, atMs }) => version === swap.version && atMs === swap.atMs))
      swaps.push(swap);
    const atMs = ports.now();
    const total = sum(accepted());
    if (atMs - rate.atMs >= 900) {
      const perSecond =
        rate.accepted === 0 ? 0 : Math.max(0, ((total - rate.accepted) * 1_000) / (atMs - rate.atMs));
      rate = { atMs, accepted: total, perSecond };
    }
    const changes = tail.changes.length + tail.decisions.length + tail.progress.length;
    if (changes !== seenChanges || runs.some((run) => !ENDED.includes(run.state))) {
      await readRegistry().then(
        () => {
          seenChanges = changes;
        },
        () => {}, // The registry is away: what it said before stays, and the next turn asks again.
      );
    }
  };

  const facts = (shock: Facts["shock"]): Facts => ({
    shock,
    reports: tail.reports,
    decisions: tail.decisions,
    progress: tail.progress,
    changes: tail.changes,
    swaps,
    runs,
  });
  const quality = (): NonNullable<FeatureDetails["quality"]> | null =>
    detailsOf<FeatureDetails>(statuses.feature, line).quality ?? null;
  const count = (service: keyof Statuses, name: string): number => countOf(statuses[service], line, name);

  return {
    refresh,
    facts,
    quality,
    versions: () => versions,
    aliases: () => aliases,
    predictions: () => count("inference", "predictions"),
    lag: () => lagOf(statuses, line),
    counts: async () => {
      sent = Object.fromEntries(
        await Promise.all(
          Object.entries(definition.streams).map(async ([name, { topic }]) => {
            const offsets = await clients.broker.offsets(topic);
            return [name, offsets.reduce((records, { end }) => records + end, 0)] as const;
          }),
        ),
      );
      return {
        sent,
        accepted: accepted(),
        rejected: count("ingest", "rejected"),
        featured: count("feature", "features"),
        predicted: count("inference", "predictions"),
        labelled: count("feature", "examples"),
        matched: count("feature", "labels.matched"),
      };
    },
    snapshot: ({ parts, player, shock, startedAtMs, doing }) => {
      const loop: Loop = timeline(facts(shock));
      const champion = versions.find(({ version }) => version === aliases["champion"]) ?? null;
      const live = quality();
      const nowMs = ports.now();
      const step = tail.progress.at(-1) ?? null;
      const run = runs.find(({ id }) => id === step?.runId);
      const forChampion: LiveQuality | null =
        champion === null ? null : (live?.byVersion[String(champion.version)] ?? null);
      return {
        nowMs,
        startedAtMs,
        zoneOffsetMinutes: new Date(nowMs).getTimezoneOffset(),
        doing,
        parts,
        line: { name: line, title: definition.title },
        player,
        counts: {
          sent: Math.max(player?.sent ?? 0, sum(sent)),
          accepted: sum(accepted()),
          rejected: count("ingest", "rejected"),
          featured: count("feature", "features"),
          predicted: count("inference", "predictions"),
          labelled: count("feature", "examples"),
        },
        acceptedPerSecond: rate.perSecond,
        lag: lagOf(statuses, line),
        streamTimeMs: Math.max(
          statuses.ingest?.lines[line]?.streamTimeMs ?? 0,
          statuses.feature?.lines[line]?.streamTimeMs ?? 0,
        ),
        champion:
          champion === null
            ? null
            : {
                version: champion.version,
                recipe: champion.recipe,
                sinceMs:
                  tail.changes.findLast(
                    ({ kind, version }) => SERVES.includes(kind) && version === champion.version,
                  )?.atMs ?? champion.registeredAtMs,
                trainedUntilMs: champion.trainedUntilMs,
              },
        firstVersion: aliases["first"] ?? null,
        quality: { window: live?.window ?? null, champion: forChampion },
        drift: detailsOf<FeatureDetails>(statuses.feature, line).drift ?? null,
        decisions: [...tail.decisions],
        training: step === null || step.stage === "end" || ENDED.includes(run?.state ?? "") ? null : step,
        verdict: versions.toSorted((a, b) => a.registeredAtMs - b.registeredAtMs).at(-1)?.verdict ?? null,
        swap: swaps.at(-1) ?? null,
        loop,
      };
    },
    stop: () => tail.stop(),
  };
}

const SERVES: readonly string[] = ["promoted", "rolled-back"];
const ENDED: readonly string[] = ["promoted", "rolling-out", "rejected", "failed"];
