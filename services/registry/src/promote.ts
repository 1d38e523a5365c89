import type { RegistryChange } from "@millrace/contracts";
import type { Clock } from "@millrace/runtime";
import { championOf, NOTHING_ASPIRED, nextAspired, previousChampion } from "@millrace/versions";
import type { Announcements } from "./announce.ts";
import { requireEpoch } from "./leases.ts";
import { fitsLine } from "./register.ts";
import { integerOf, lineOf, Refusal, textOf, traceparentOf } from "./request.ts";
import type { AspiredRow, LineRow, Store, Tables, VersionRow } from "./store.ts";
import { aspiredMessage, nothingAspiredMessage, type RegistryHandlers } from "./wire.ts";

/** Promote and Rollback change what shall be served; GetAspiredSet and GetHistory tell what shall and what did. */
export function promoteHandlers(ports: {
  readonly store: Store;
  readonly clock: Clock;
  readonly announcements: Announcements;
}): Pick<RegistryHandlers, "promote" | "rollback" | "getAspiredSet" | "getHistory"> {
  const { store, clock, announcements } = ports;

  /** The common part of both changes: compare-and-set, one more entry of the history. */
  const makeChampion = async (
    tables: Tables,
    line: LineRow,
    champion: VersionRow,
    expectedGeneration: number,
    entry: Pick<AspiredRow, "change" | "reason" | "traceparent">,
  ): Promise<{ aspired: AspiredRow; change: RegistryChange }> => {
    fitsLine(champion, line);
    const current = await tables.aspired(line.name);
    const versions = await tables.versions(line.name);
    const next = nextAspired(current ?? NOTHING_ASPIRED, { champion, expectedGeneration }, versions);
    if (next.outcome === "moved-on") {
      throw new Refusal(
        "aborted",
        `generation of ${line.name} is ${next.generation}, not ${expectedGeneration}. Read the aspired set again`,
      );
    }
    const aspired: AspiredRow = {
      ...next.aspired,
      ...entry,
      line: line.name,
      // A clock that was set back must not put a change before the one that it follows.
      changedAtMs: Math.max(clock.now(), current?.changedAtMs ?? 0),
    };
    await tables.addAspired(aspired);
    return {
      aspired,
      change: {
        line: line.name,
        kind: entry.change === "promote" ? "promoted" : "rolled-back",
        version: champion.version,
        generation: aspired.generation,
        reason: entry.reason,
        atMs: aspired.changedAtMs,
      },
    };
  };

  return {
    promote: async (request, call) => {
      const number = integerOf("version", request.version, 1);
      const expectedGeneration = integerOf("expected_generation", request.expectedGeneration, 0);
      const epoch = integerOf("epoch", request.epoch, 1);
      const reason = textOf("reason", request.reason);
      const caller = traceparentOf(call.traceparent);
      return await announcements.write(caller, async (tables) => {
        const line = await lineOf(tables, request.line);
        await requireEpoch(tables, line.name, epoch);
        const version = await versionOf(tables, line, number);
        if (!version.passed) {
          throw new Refusal(
            "failedPrecondition",
            `version ${number} of ${line.name} did not pass its verdict. Promote one that did`,
          );
        }
        const traceparent = caller || ((await tables.run(version.runId))?.traceparent ?? "");
        const { aspired, change } = await makeChampion(tables, line, version, expectedGeneration, {
          change: "promote",
          reason,
          traceparent,
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
        if (current !== null && asked === championOf(current)) {
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

async function withVersions(tables: Tables, aspired: AspiredRow): Promise<ReturnType<typeof aspiredMessage>> {
  return aspiredMessage(aspired, await tables.versions(aspired.line));
}

async function versionOf(tables: Tables, line: LineRow, version: number): Promise<VersionRow> {
  const found = await tables.version(line.name, version);
  if (found !== null) return found;
  const numbers = (await tables.versions(line.name)).map((row) => row.version);
  throw new Refusal(
    "notFound",
    `${line.name} has no version ${version}. It has: ${numbers.join(", ") || "none yet"}`,
  );
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
