import type { RegistryChange } from "@millrace/contracts";
import type { Clock } from "@millrace/runtime";
import type { Change, RolloutChanged } from "@millrace/versions";
import { Refusal } from "./request.ts";
import type { AspiredRow, LineRow, Tables, VersionRow } from "./store.ts";
import { aspiredMessage } from "./wire.ts";

/** What the registry's changes are called on their topic. */
const KIND: Readonly<Record<Change, RegistryChange["kind"]>> = {
  promote: "promoted",
  rollback: "rolled-back",
  "rollout-start": "rollout-started",
  "rollout-share": "rollout-changed",
  "rollback-rollout": "rollout-ended",
};

/** What the history says of a change. */
export type ChangeEntry = Pick<AspiredRow, "change" | "reason" | "traceparent">;

/** Adds one generation to the history of a line, or refuses: somebody else was faster, or a rule says no. */
export async function commit(
  tables: Tables,
  line: LineRow,
  changed: RolloutChanged,
  entry: ChangeEntry & { readonly version: number },
  clock: Clock,
): Promise<{ readonly aspired: AspiredRow; readonly change: RegistryChange }> {
  const { version, ...said } = entry;
  const current = await tables.aspired(line.name);
  if (changed.outcome === "moved-on") {
    throw new Refusal(
      "aborted",
      `generation of ${line.name} is ${changed.generation} meanwhile. Read the aspired set again`,
    );
  }
  if (changed.outcome === "refused") {
    throw new Refusal("failedPrecondition", `${line.name}: ${changed.reason}`);
  }
  const aspired: AspiredRow = {
    ...changed.aspired,
    ...said,
    line: line.name,
    // A clock that was set back must not put a change before the one that it follows.
    changedAtMs: Math.max(clock.now(), current?.changedAtMs ?? 0),
  };
  await tables.addAspired(aspired);
  return {
    aspired,
    change: {
      line: line.name,
      kind: KIND[said.change],
      version,
      generation: aspired.generation,
      reason: said.reason,
      atMs: aspired.changedAtMs,
    },
  };
}

/** The trace that a change belongs to: the caller's, or else that of the run which made the version. */
export async function traceOf(
  tables: Tables,
  version: Pick<VersionRow, "runId"> | undefined,
  caller: string,
): Promise<string> {
  if (caller !== "" || version === undefined) return caller;
  return (await tables.run(version.runId))?.traceparent ?? "";
}

/** The set with the details of its models. */
export async function withVersions(
  tables: Tables,
  aspired: AspiredRow,
): Promise<ReturnType<typeof aspiredMessage>> {
  return aspiredMessage(aspired, await tables.versions(aspired.line));
}

/** The version of that number, or a refusal that names those that there are. */
export async function versionOf(tables: Tables, line: LineRow, version: number): Promise<VersionRow> {
  const found = await tables.version(line.name, version);
  if (found !== null) return found;
  const numbers = (await tables.versions(line.name)).map((row) => row.version);
  throw new Refusal(
    "notFound",
    `${line.name} has no version ${version}. It has: ${numbers.join(", ") || "none yet"}`,
  );
}
