import type { Clock } from "@millrace/runtime";
import { isRunState, mayBecome, RUN_STATES, type RunState } from "@millrace/versions";
import { requireEpoch } from "./leases.ts";
import {
  digestOf,
  identifierOf,
  integerOf,
  lineOf,
  oneOf,
  present,
  Refusal,
  textOf,
  traceparentOf,
} from "./request.ts";
import type { RunRow, Store } from "./store.ts";
import { type RegistryHandlers, runMessage } from "./wire.ts";

const TRIGGERS = ["bootstrap", "first", "drift", "quality", "stale", "manual"] as const;
const RUNS_LISTED = 100;
const RUNS_LISTED_MAX = 1_000;

/** AddRun, UpdateRun and ListRuns. */
export function runHandlers(ports: {
  readonly store: Store;
  readonly clock: Clock;
}): Pick<RegistryHandlers, "addRun" | "updateRun" | "listRuns"> {
  const { store, clock } = ports;
  return {
    /** A run begins admitted. One without an epoch comes from a person, not from a trainer that needs a lease. */
    addRun: async (request, call) => {
      const given = present("run", request.run);
      const nowMs = clock.now();
      const run: RunRow = {
        id: identifierOf("id", given.id),
        line: given.line,
        cause: identifierOf("cause", given.cause),
        trigger: oneOf("trigger", given.trigger, TRIGGERS),
        state: "admitted",
        reason: textOf("reason", given.reason),
        epoch: integerOf("epoch", given.epoch, 0),
        createdAtMs: nowMs,
        updatedAtMs: nowMs,
        streamTimeMs: integerOf("stream_time_ms", given.streamTimeMs, 0),
        changeTimeMs: integerOf("change_time_ms", given.changeTimeMs, 0),
        datasetDigest: "",
        version: 0,
        traceparent: traceparentOf(given.traceparent) || traceparentOf(call.traceparent),
        stageMs: {},
        attempts: integerOf("attempts", given.attempts, 0),
      };
      return await store.transaction(async (tables) => {
        await lineOf(tables, run.line);
        if (run.epoch !== 0) await requireEpoch(tables, run.line, run.epoch);
        const known = await tables.runOfCause(run.line, run.cause);
        if (known !== null) return { run: runMessage(known), created: false };
        if ((await tables.run(run.id)) !== null) {
          throw new Refusal("failedPrecondition", `run ${run.id} exists with another cause. Use another id`);
        }
        await tables.addRun(run);
        return { run: runMessage(run), created: true };
      });
    },

    updateRun: async (request) => {
      const given = present("run", request.run);
      const id = identifierOf("id", given.id);
      const epoch = integerOf("epoch", given.epoch, 1);
      return await store.transaction(async (tables) => {
        const run = await tables.run(id);
        if (run === null) throw new Refusal("notFound", `there is no run ${id}. Add it first`);
        await requireEpoch(tables, run.line, epoch);
        const stages = Object.entries(given.stageMs).map(([stage, ms]) => [
          identifierOf("stage_ms", stage),
          integerOf(`stage_ms.${stage}`, ms, 0),
        ]);
        const updated: RunRow = {
          ...run,
          epoch,
          state: nextState(run, given.state),
          reason: given.reason === "" ? run.reason : textOf("reason", given.reason),
          datasetDigest:
            given.datasetDigest === "" ? run.datasetDigest : digestOf("dataset_digest", given.datasetDigest),
          version: integerOf("version", given.version, 0) || run.version,
          attempts: integerOf("attempts", given.attempts, 0) || run.attempts,
          stageMs: { ...run.stageMs, ...Object.fromEntries(stages) },
          updatedAtMs: clock.now(),
        };
        await tables.updateRun(updated);
        return { run: runMessage(updated) };
      });
    },

    listRuns: async (request) => {
      const limit = Math.min(integerOf("limit", request.limit, 0) || RUNS_LISTED, RUNS_LISTED_MAX);
      return await store.transaction(async (tables) => {
        const line = await lineOf(tables, request.line);
        return { runs: (await tables.runs(line.name, limit)).map(runMessage) };
      });
    },
  };
}

function nextState(run: RunRow, asked: string): RunState {
  if (asked === "") return run.state;
  if (!isRunState(asked)) {
    throw new Refusal(
      "invalidArgument",
      `state is ${JSON.stringify(asked)}. Use one of: ${RUN_STATES.join(", ")}`,
    );
  }
  if (mayBecome(run.state, asked)) return asked;
  throw new Refusal(
    "failedPrecondition",
    `run ${run.id} is ${run.state} and cannot become ${asked}. Read it again`,
  );
}
