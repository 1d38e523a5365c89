/** `status`: the mesh at a glance, and each line. */
import type { registryApi } from "@millrace/contracts";
import { every } from "@millrace/runtime";
import type { Context } from "../context.ts";
import { Failure } from "../failure.ts";
import type { Result } from "../io.ts";
import { detailsOf, type FeatureDetails } from "../loop/details.ts";
import { openScreen } from "../loop/screen.ts";
import type { Clients, MeshAddress } from "../mesh.ts";
import { SERVICES } from "../mesh.ts";
import { lagOf, readStatuses, type Statuses } from "../status.ts";
import { count, decimal, power, timeText } from "../text.ts";

const WATCH_MS = 1_000;

export async function status(context: Context, line: string | undefined): Promise<Result> {
  return context.withClients((clients, address) => look(clients, address, line));
}

/** Draws the status again each second until Ctrl-C. */
export async function watchStatus(context: Context, line: string | undefined): Promise<Result> {
  if (!context.io.terminal) {
    throw new Failure("--watch needs a terminal", "Leave --watch out, and call the command again and again.");
  }
  const screen = openScreen(context.io);
  try {
    await context.withClients((clients, address) =>
      every(
        WATCH_MS,
        context.stop,
        async () => screen.draw((await look(clients, address, line)).text.split("\n")),
        (error) => screen.draw([error instanceof Error ? error.message : String(error)]),
      ),
    );
  } finally {
    screen.close();
  }
  return { json: null, text: "" };
}

async function look(clients: Clients, address: MeshAddress, only: string | undefined): Promise<Result> {
  const statuses = await readStatuses(address);
  const { lines } = await clients.registry.listLines({});
  const names = lines.map(({ name }) => name).filter((name) => only === undefined || name === only);
  if (only !== undefined && names.length === 0) {
    throw new Failure(
      `there is no line "${only}"`,
      "`npx millrace lines` shows the lines; `npx millrace apply` adds one.",
    );
  }
  const found = await Promise.all(names.map((name) => lookAt(clients, statuses, name)));
  return {
    json: {
      home: address.home,
      services: SERVICES.map((name) => ({
        name,
        state: statuses[name]?.state ?? "unreachable",
        startedAtMs: statuses[name]?.startedAtMs ?? null,
      })),
      lines: found,
    },
    text: [
      `services  ${SERVICES.map((name) => `${name} ${statuses[name]?.state ?? "UNREACHABLE"}`).join(" · ")}`,
      ...(found.length === 0
        ? ["no lines yet: `npx millrace apply lines/flights`"]
        : found.flatMap(lineText)),
    ].join("\n"),
  };
}

async function lookAt(clients: Clients, statuses: Statuses, line: string) {
  const [{ versions, aliases }, { runs }] = await Promise.all([
    clients.registry.listVersions({ line }),
    clients.registry.listRuns({ line, limit: 1 }),
  ]);
  const champion = versions.find(({ version }) => version === aliases["champion"]);
  const feature = detailsOf<FeatureDetails>(statuses.feature, line);
  const trainer = detailsOf<{ lastDecision: unknown; lastVerdict: unknown }>(statuses.trainer, line);
  return {
    line,
    streamTimeMs: Math.max(...SERVICES.map((name) => statuses[name]?.lines[line]?.streamTimeMs ?? 0)),
    counts: Object.fromEntries(
      SERVICES.map((name) => [name, statuses[name]?.lines[line]?.counts ?? {}] as const).filter(
        ([, counts]) => Object.keys(counts).length > 0,
      ),
    ),
    lag: lagOf(statuses, line),
    champion:
      champion === undefined
        ? null
        : {
            version: Number(champion.version),
            recipe: champion.recipe,
            trainedUntilMs: Number(champion.trainedUntilMs),
          },
    quality: feature.quality?.window ?? null,
    drift: feature.drift ?? null,
    lastDecision: trainer.lastDecision ?? null,
    lastRun: runs[0] === undefined ? null : runFact(runs[0]),
  };
}

function runFact(run: registryApi.Run) {
  return {
    id: run.id,
    trigger: run.trigger,
    state: run.state,
    reason: run.reason,
    version: Number(run.version),
    createdAtMs: Number(run.createdAtMs),
    stageMs: Object.fromEntries(Object.entries(run.stageMs).map(([name, ms]) => [name, Number(ms)])),
  };
}

function lineText(found: Awaited<ReturnType<typeof lookAt>>): string[] {
  const { champion, quality, drift, lastRun } = found;
  const decision = found.lastDecision as { outcome?: string; trigger?: string; reason?: string } | null;
  const all = Object.assign({}, ...Object.values(found.counts)) as Record<string, number>;
  const shown = Object.entries(all).filter(([name]) => !name.startsWith("rejected."));
  const lag = Object.entries(found.lag).map(([step, records]) => `${step} ${count(records)}`);
  return [
    "",
    `line ${found.line}`,
    `  stream    ${timeText(found.streamTimeMs)}`,
    `  counts    ${shown.map(([name, value]) => `${name} ${count(value)}`).join(" · ") || "-"}`,
    `  lag       ${lag.join(" · ") || "-"}`,
    `  champion  ${champion === null ? "-" : `version ${champion.version} (${champion.recipe}), trained until ${timeText(champion.trainedUntilMs)}`}`,
    quality === null
      ? "  quality   no labels yet"
      : `  quality   AP ${decimal(quality.serving.averagePrecision)} · first model never retrained ${decimal(quality.first?.averagePrecision)} · base rate ${decimal(quality.baseRate.averagePrecision)} · AUC ${decimal(quality.serving.auc)} (newest ${count(quality.rows)} labels)`,
    `  drift     ${drift === null ? "-" : `evidence ${power(drift.statistic)} of ${power(drift.threshold)}`}`,
    `  decision  ${decision === null ? "-" : `${decision.outcome} (${decision.trigger}): ${decision.reason}`}`,
    `  last run  ${lastRun === null ? "-" : `${lastRun.id} ${lastRun.state} (${lastRun.trigger})${lastRun.reason === "" ? "" : `: ${lastRun.reason}`}`}`,
  ];
}
