/** `versions` and `rollback`. */
import type { registryApi, Verdict } from "@millrace/contracts";
import type { Context } from "../context.ts";
import { Failure } from "../failure.ts";
import type { Result } from "../io.ts";
import { decimal, percent, shortDigest, table, timeText } from "../text.ts";

export interface VersionsOptions {
  readonly history?: true;
  /** An ISO time (wall clock). */
  readonly at?: string;
}

/** Every version of a line with its evidence; or what served, over time or at one time. */
export async function versions(context: Context, line: string, options: VersionsOptions): Promise<Result> {
  if (options.at !== undefined) return servedAt(context, line, options.at);
  if (options.history) return history(context, line);
  return context.withClients(async ({ registry }) => {
    const listed = await registry.listVersions({ line });
    const aliasesOf = (version: number): string[] =>
      Object.entries(listed.aliases)
        .filter(([, to]) => Number(to) === version)
        .map(([name]) => name);
    const rows = listed.versions.map((one) => {
      const evidence = one.evidenceJson === "" ? null : (JSON.parse(one.evidenceJson) as Verdict);
      // The baseline is registered before there is anything to judge it on.
      const verdict = evidence !== null && evidence.candidate.rows > 0 ? evidence : null;
      return {
        version: Number(one.version),
        aliases: aliasesOf(Number(one.version)),
        recipe: one.recipe,
        passed: one.passed,
        parentVersion: Number(one.parentVersion),
        registeredAtMs: Number(one.registeredAtMs),
        trainedUntilMs: Number(one.trainedUntilMs),
        artifactDigest: one.artifactDigest,
        artifactBytes: Number(one.artifactBytes),
        featureDigest: one.featureDigest,
        datasetDigest: one.datasetDigest,
        runId: one.runId,
        signed: one.signature !== "",
        verdict,
      };
    });
    return {
      json: {
        line,
        versions: rows,
        aliases: Object.fromEntries(Object.entries(listed.aliases).map(([name, to]) => [name, Number(to)])),
      },
      text:
        rows.length === 0
          ? `line "${line}" has no version yet: \`npx millrace status ${line}\` shows how far it is`
          : table(
              [
                "VERSION",
                "ALIAS",
                "RECIPE",
                "TRAINED UNTIL",
                "HELD-OUT LOG LOSS",
                "CHAMPION'S",
                "AP",
                "CHAMPION'S",
                "GATES",
                "DIGEST",
              ],
              rows.map((row) => [
                String(row.version),
                row.aliases.join(" ") || "-",
                row.recipe,
                timeText(row.trainedUntilMs),
                decimal(row.verdict?.candidate.logLoss, 4),
                decimal(row.verdict?.champion?.logLoss, 4),
                decimal(row.verdict?.candidate.averagePrecision),
                decimal(row.verdict?.champion?.averagePrecision),
                row.passed ? "passed" : (refusal(row.verdict) ?? "refused"),
                shortDigest(row.artifactDigest),
              ]),
            ),
    };
  });
}

function refusal(verdict: Verdict | null): string | null {
  const failed = verdict?.gates.filter(({ passed }) => !passed).map(({ gate }) => gate) ?? [];
  return failed.length === 0 ? null : `refused: ${failed.join(", ")}`;
}

async function history(context: Context, line: string): Promise<Result> {
  return context.withClients(async ({ registry }) => {
    const { sets } = await registry.getHistory({ line, atMs: 0n });
    return setsResult(line, sets);
  });
}

async function servedAt(context: Context, line: string, at: string): Promise<Result> {
  const atMs = Date.parse(at);
  if (Number.isNaN(atMs)) {
    throw new Failure(`--at ${at} is not a time`, "Write an ISO time, for example 2026-11-23T14:05:00Z.");
  }
  return context.withClients(async ({ registry }) => {
    const { sets } = await registry.getHistory({ line, atMs: BigInt(atMs) });
    return setsResult(line, sets);
  });
}

function setsResult(line: string, sets: readonly registryApi.AspiredSet[]): Result {
  const rows = sets.map((set) => ({
    generation: Number(set.generation),
    changedAtMs: Number(set.changedAtMs),
    change: set.change,
    reason: set.reason,
    champion: Number(set.models.find(({ role }) => role === "champion")?.version ?? 0n),
    challengers: set.models
      .filter(({ role }) => role === "challenger")
      .map(({ version, share }) => ({ version: Number(version), share })),
    shadows: set.models.filter(({ role }) => role === "shadow").map(({ version }) => Number(version)),
  }));
  return {
    json: { line, history: rows },
    text:
      rows.length === 0
        ? `nothing served line "${line}" then`
        : table(
            ["GENERATION", "SINCE (UTC)", "CHANGE", "CHAMPION", "CHALLENGER", "SHADOWS", "REASON"],
            rows.map((row) => [
              String(row.generation),
              timeText(row.changedAtMs, true),
              row.change,
              String(row.champion),
              row.challengers.map(({ version, share }) => `${version} (${percent(share)})`).join(" ") || "-",
              row.shadows.join(" ") || "-",
              row.reason,
            ]),
          ),
  };
}

/** Makes an earlier version champion again. */
export async function rollback(
  context: Context,
  line: string,
  options: { readonly to?: number; readonly reason: string },
): Promise<Result> {
  return context.withClients(async ({ registry }) => {
    const { aspired } = await registry.rollback({
      line,
      toVersion: BigInt(options.to ?? 0),
      reason: options.reason,
    });
    const champion = Number(aspired?.models.find(({ role }) => role === "champion")?.version ?? 0n);
    const generation = Number(aspired?.generation ?? 0n);
    return {
      json: { line, champion, generation, reason: options.reason },
      text: `${line}: version ${champion} is champion again (generation ${generation}); the inference nodes swap now`,
    };
  });
}
