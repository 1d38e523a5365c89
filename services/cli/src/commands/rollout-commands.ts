/** `rollout`: a version answers a share of the requests before it answers all. */
import type { registryApi } from "@millrace/contracts";
import type { Context } from "../context.ts";
import { Failure } from "../failure.ts";
import type { Result } from "../io.ts";
import { appliedLine, servedOn } from "../register-model.ts";
import { readStatuses } from "../status.ts";
import { percent, table, timeText } from "../text.ts";

export interface StartRolloutOptions {
  readonly share?: number;
  readonly strategy?: "canary" | "ab";
  readonly by?: "request" | "entity";
  readonly reason: string;
}

/** Begins a rollout: what the operator does not say, the line does. */
export async function startRollout(
  context: Context,
  line: string,
  version: number,
  options: StartRolloutOptions,
): Promise<Result> {
  return context.withClients(async (clients) => {
    const { rollout: policy } = await appliedLine(clients, line);
    const { generation: expectedGeneration } = await servedOn(clients, line);
    const { aspired } = await clients.registry.startRollout({
      line,
      version: BigInt(version),
      expectedGeneration,
      strategy: options.strategy ?? (policy.strategy === "direct" ? "canary" : policy.strategy),
      by: options.by ?? policy.by,
      share: options.share ?? policy.share,
      reason: options.reason,
    });
    return rolloutResult(line, aspired);
  });
}

export async function setShare(
  context: Context,
  line: string,
  share: number,
  { reason }: { readonly reason: string },
): Promise<Result> {
  return context.withClients(async (clients) => {
    const { generation: expectedGeneration } = await servedOn(clients, line);
    const { aspired } = await clients.registry.setRolloutShare({ line, expectedGeneration, share, reason });
    return rolloutResult(line, aspired);
  });
}

export async function endRollout(
  context: Context,
  line: string,
  options: { readonly promote?: true; readonly rollback?: true; readonly reason: string },
): Promise<Result> {
  if (options.promote === options.rollback) {
    throw new Failure(
      "give either --promote or --rollback",
      "--promote makes the challenger champion; --rollback lets the champion answer alone again.",
    );
  }
  return context.withClients(async (clients) => {
    const outcome = options.promote ? "promote" : "rollback";
    const { generation: expectedGeneration } = await servedOn(clients, line);
    const { aspired } = await clients.registry.endRollout({
      line,
      expectedGeneration,
      outcome,
      reason: options.reason,
    });
    const champion = Number(aspired?.models.find(({ role }) => role === "champion")?.version ?? 0n);
    const generation = Number(aspired?.generation ?? 0n);
    return {
      json: { line, outcome, champion, generation, reason: options.reason },
      text: `${line}: version ${champion} answers every request (generation ${generation})`,
    };
  });
}

/** The rollout as the registry has it, and what the trainer makes of its labels. */
export async function rolloutStatus(context: Context, line: string): Promise<Result> {
  return context.withClients(async ({ registry }, address) => {
    const [{ sets }, statuses] = await Promise.all([registry.getAspiredSet({ line }), readStatuses(address)]);
    return rolloutResult(line, sets[0], statuses.trainer?.lines[line]?.details["rollout"] as Trial | null);
  });
}

/** What the trainer shows of a rollout that it judges. */
interface Trial {
  readonly labels: number;
  readonly reason: string;
}

function rolloutResult(
  line: string,
  set: registryApi.AspiredSet | undefined,
  trial: Trial | null = null,
): Result {
  const rollout = set?.rollout;
  const generation = Number(set?.generation ?? 0n);
  if (set === undefined || rollout === undefined) {
    return {
      json: { line, generation, rollout: null },
      text: `${line}: no rollout runs; \`npx millrace rollout start ${line} VERSION\` begins one`,
    };
  }
  const arms = set.models
    .filter(({ role }) => role !== "shadow")
    .map(({ version, role, share }) => ({ version: Number(version), role, share }));
  const { strategy, by } = rollout;
  const startedAtMs = Number(rollout.startedAtMs);
  return {
    json: { line, generation, rollout: { strategy, by, startedAtMs, arms, trial } },
    text: [
      `${line}: ${strategy} by ${by} since ${timeText(startedAtMs, true)} (generation ${generation})`,
      table(
        ["VERSION", "ROLE", "SHARE"],
        arms.map(({ version, role, share }) => [String(version), role, percent(share)]),
      ),
      ...(trial === null ? [] : [`${trial.labels} labels: ${trial.reason}`]),
    ].join("\n"),
  };
}
