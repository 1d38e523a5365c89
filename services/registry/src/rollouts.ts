import type { Clock } from "@millrace/runtime";
import {
  type Aspired,
  type Change,
  endRollout,
  NOTHING_ASPIRED,
  type RolloutChanged,
  shareRollout,
  startRollout,
} from "@millrace/versions";
import type { Announcements } from "./announce.ts";
import { commit, traceOf, versionOf, withVersions } from "./aspire.ts";
import { OPERATOR_EPOCH, requireEpochOrOperator } from "./leases.ts";
import { fitsLine } from "./register.ts";
import { integerOf, lineOf, oneOf, shareOf, textOf, traceparentOf } from "./request.ts";
import type { LineRow, Store, Tables, VersionRow } from "./store.ts";
import type { Caller, RegistryHandlers } from "./wire.ts";

/** What every change of a rollout says of itself. */
interface ChangeRequest {
  readonly line: string;
  readonly expectedGeneration: bigint;
  readonly epoch: bigint;
  readonly reason: string;
}

/** What a change works on. */
interface Scene {
  readonly tables: Tables;
  readonly line: LineRow;
  readonly current: Aspired;
  readonly versions: readonly VersionRow[];
  /** The challenger of the rollout that runs. */
  readonly challenger: VersionRow | undefined;
  readonly expectedGeneration: number;
}

interface Decision {
  readonly changed: RolloutChanged;
  readonly change: Change;
  /** Whose rollout it is; undefined: of none, and the change is refused. */
  readonly challenger: VersionRow | undefined;
}

/** StartRollout, SetRolloutShare and EndRollout. Whether they may is decided by the rules of `@millrace/versions`. */
export function rolloutHandlers(ports: {
  readonly store: Store;
  readonly clock: Clock;
  readonly announcements: Announcements;
}): Pick<RegistryHandlers, "startRollout" | "setRolloutShare" | "endRollout"> {
  const { clock, announcements } = ports;

  const change = async (
    request: ChangeRequest,
    call: Caller,
    decide: (scene: Scene) => Decision | Promise<Decision>,
  ): Promise<{ aspired: Awaited<ReturnType<typeof withVersions>> }> => {
    const expectedGeneration = integerOf("expected_generation", request.expectedGeneration, 0);
    const epoch = integerOf("epoch", request.epoch, OPERATOR_EPOCH);
    const reason = textOf("reason", request.reason);
    const caller = traceparentOf(call.traceparent);
    return await announcements.write(caller, async (tables) => {
      const line = await lineOf(tables, request.line);
      await requireEpochOrOperator(tables, line.name, epoch);
      const current = (await tables.aspired(line.name)) ?? NOTHING_ASPIRED;
      const versions = await tables.versions(line.name);
      const running = versions.find(({ version }) => version === current.rollout?.version);
      const { changed, ...decided } = await decide({
        tables,
        line,
        current,
        versions,
        challenger: running,
        expectedGeneration,
      });
      const version = decided.challenger?.version ?? 0;
      const traceparent = await traceOf(tables, decided.challenger, caller);
      const entry = { change: decided.change, reason, traceparent, version };
      const made = await commit(tables, line, changed, entry, clock);
      return { result: { aspired: await withVersions(tables, made.aspired) }, change: made.change };
    });
  };

  return {
    startRollout: async (request, call) => {
      const number = integerOf("version", request.version, 1);
      const strategy = oneOf("strategy", request.strategy, ["canary", "ab", "interleave"]);
      const by = oneOf("by", request.by, ["request", "entity"]);
      const share = shareOf("share", request.share);
      return await change(request, call, async ({ tables, line, current, versions, expectedGeneration }) => {
        const challenger = await versionOf(tables, line, number);
        fitsLine(challenger, line);
        const salt = `${line.name}/${current.generation + 1}`;
        const plan = { strategy, by, share, salt, startedAtMs: clock.now() };
        const changed = startRollout(current, { challenger, plan, expectedGeneration }, versions);
        return { changed, change: "rollout-start", challenger };
      });
    },

    setRolloutShare: async (request, call) => {
      const share = shareOf("share", request.share);
      return await change(request, call, ({ current, versions, challenger, expectedGeneration }) => ({
        changed: shareRollout(current, { share, expectedGeneration }, versions),
        change: "rollout-share",
        challenger,
      }));
    },

    endRollout: async (request, call) => {
      const outcome = oneOf("outcome", request.outcome, ["promote", "rollback"]);
      return await change(request, call, ({ line, current, versions, challenger, expectedGeneration }) => {
        if (outcome === "promote" && challenger !== undefined) fitsLine(challenger, line);
        return {
          changed: endRollout(current, { outcome, expectedGeneration }, versions),
          change: outcome === "promote" ? "promote" : "rollback-rollout",
          challenger,
        };
      });
    },
  };
}
