import type { Clock } from "@millrace/runtime";
import { championOf, NOTHING_ASPIRED, nextAspired, previousChampion } from "@millrace/versions";
import type { Announcements } from "./announce.ts";
import { type ChangeEntry, commit, traceOf, versionOf, withVersions } from "./aspire.ts";
import { OPERATOR_EPOCH, requireEpochOrOperator } from "./leases.ts";
import { fitsLine } from "./register.ts";
import { integerOf, lineOf, Refusal, textOf, traceparentOf } from "./request.ts";
import type { LineRow, Store, Tables, VersionRow } from "./store.ts";
import { aspiredMessage, nothingAspiredMessage, type RegistryHandlers } from "./wire.ts";

/** Promote and Rollback change what shall be served; GetAspiredSet and GetHistory tell what shall and what did. */
export function promoteHandlers(ports: {
  readonly store: Store;
  readonly clock: Clock;
  readonly announcements: Announcements;
}): Pick<RegistryHandlers, "promote" | "rollback" | "getAspiredSet" | "getHistory"> {
  const { store, clock, announcements } = ports;

  /** The common part of both changes. */
  const makeChampion = async (
    tables: Tables,
    line: LineRow,
    champion: VersionRow,
    expectedGeneration: number,
    entry: ChangeEntry,
  ): ReturnType<typeof commit> => {
    fitsLine(champion, line);
    const current = (await tables.aspired(line.name)) ?? NOTHING_ASPIRED;
    const versions = await tables.versions(line.name);
    const changed = nextAspired(current, { champion, expectedGeneration }, versions);
    return await commit(tables, line, changed, { ...entry, version: champion.version }, clock);
  };

  return {
    promote: async (request, call) => {
      const number = integerOf("version", request.version, 1);
      const expectedGeneration = integerOf("expected_generation", request.expectedGeneration, 0);
      const epoch = integerOf("epoch", request.epoch, OPERATOR_EPOCH);
      const reason = textOf("reason", request.reason);
      const caller = traceparentOf(call.traceparent);
      return await announcements.write(caller, async (tables) => {
        const line = await lineOf(tables, request.line);
        await requireEpochOrOperator(tables, line.name, epoch);
        const version = await versionOf(tables, line, number);
        if (!version.passed) {
          throw new Refusal(
            "failedPrecondition",
            `version ${number} of ${line.name} did not pass its verdict. Promote one that did`,
          );
        }
        const { aspired, change } = await makeChampion(tables, line, version, expectedGeneration, {
          change: "promote",
          reason,
          traceparent: await traceOf(tables, version, caller),
        });
        return { result: { aspired: await withVersions(tables, aspired) }, change };
      });
    },

    rollback: async (request, call) => {
      const asked = integerOf("to_version", request.toVersion, 0);
      const reason = textOf("reason", request.reason);
      const traceparent = traceparentOf(call.traceparent);
      return await announcements.write(traceparent, async (tables) => {
        const line = await lineOf(tables, request.line);
        const current = await tables.aspired(line.name);
        if (current !== null && asked === championOf(current) && current.rollout === null) {
          return { result: { aspired: await withVersions(tables, current) }, change: null };
        }
        const number = await earlierChampion(tables, line, asked);
        const version = await versionOf(tables, line, number);
        const { aspired, change } = await makeChampion(tables, line, version, current?.generation ?? 0, {
          change: "rollback",
          reason,
          traceparent,
        });
        return { result: { aspired: await withVersions(tables, aspired) }, change };
      });
    },

    getAspiredSet: (request) =>
      store.transaction(async (tables) => {
        const lines = request.line === "" ? await tables.lines() : [await lineOf(tables, request.line)];
        const sets = lines.map(async ({ name }) => {
          const aspired = await tables.aspired(name);
          return aspired === null ? nothingAspiredMessage(name) : await withVersions(tables, aspired);
        });
        return { sets: await Promise.all(sets) };
      }),

    getHistory: (request) =>
      store.transaction(async (tables) => {
        const line = await lineOf(tables, request.line);
        const atMs = integerOf("at_ms", request.atMs, 0);
        const newestFirst = [...(await tables.history(line.name))].reverse();
        const inForce = newestFirst.find((aspired) => aspired.changedAtMs <= atMs);
        const asked = atMs === 0 ? newestFirst : inForce === undefined ? [] : [inForce];
        const versions = await tables.versions(line.name);
        return { sets: asked.map((aspired) => aspiredMessage(aspired, versions)) };
      }),
  };
}

/** The champion to roll back to: the asked one, if it ever was champion, or (0) the previous one. */
async function earlierChampion(tables: Tables, line: LineRow, asked: number): Promise<number> {
  const history = (await tables.history(line.name)).map((aspired) => ({
    change: aspired.change,
    champion: championOf(aspired) as number,
  }));
  if (asked === 0) {
    const previous = previousChampion(history);
    if (previous !== null) return previous;
    throw new Refusal("failedPrecondition", `${line.name} has no earlier champion to roll back to`);
  }
  const champions = [...new Set(history.map((entry) => entry.champion))];
  if (champions.includes(asked)) return asked;
  await versionOf(tables, line, asked);
  throw new Refusal(
    "failedPrecondition",
    `version ${asked} of ${line.name} never was champion. Roll back to one of: ${champions.join(", ") || "none yet"}`,
  );
}
