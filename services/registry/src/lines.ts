import { type registryApi as api, canonicalJson } from "@millrace/contracts";
import {
  checkLine,
  eventLog,
  featurePart,
  formatIssues,
  isServedOnly,
  type LineDefinition,
  storedLine,
} from "@millrace/lines";
import { type Clock, sha256Hex } from "@millrace/runtime";
import type { Broker } from "@millrace/stream";
import type { Announcements } from "./announce.ts";
import { nameOf, Refusal, traceparentOf } from "./request.ts";
import type { LineRow, Store } from "./store.ts";
import { ensureLineTopics } from "./topics.ts";
import { lineMessage, type Plain, type RegistryHandlers } from "./wire.ts";

/**
 * Digest of the feature part of an applied line: a model fits the line when it was trained on the same. Empty for a line
 * without features.
 */
export function featureDigest(row: LineRow): string {
  const line = storedLine(row.definitionJson);
  return isServedOnly(line) ? "" : sha256Hex(canonicalJson(featurePart(line)));
}

/** ApplyLine and ListLines. */
export function lineHandlers(ports: {
  readonly store: Store;
  readonly broker: Broker;
  readonly clock: Clock;
  readonly announcements: Announcements;
}): Pick<RegistryHandlers, "applyLine" | "listLines"> {
  const { store, broker, clock, announcements } = ports;
  return {
    applyLine: async (request, call) => {
      const line = checked(request.definitionJson);
      const definitionJson = canonicalJson(line);
      const digest = sha256Hex(definitionJson);
      keepsPlaces(await store.transaction((tables) => tables.line(line.name)), line);
      // Topics before the line: whoever reads the line may rely on them.
      await ensureLineTopics(broker, line);
      return await announcements.write<Plain<api.ApplyLineResponse>>(
        traceparentOf(call.traceparent),
        async (tables) => {
          const before = await tables.line(line.name);
          keepsPlaces(before, line);
          if (before?.digest === digest) {
            return { result: { line: lineMessage(before), changed: false }, change: null };
          }
          const after: LineRow = {
            name: line.name,
            definitionJson,
            digest,
            revision: (before?.revision ?? 0) + 1,
            appliedAtMs: clock.now(),
          };
          await tables.putLine(after);
          return {
            result: { line: lineMessage(after), changed: true },
            change: {
              line: line.name,
              kind: "applied",
              version: 0,
              generation: (await tables.aspired(line.name))?.generation ?? 0,
              reason: `revision ${after.revision}`,
              atMs: after.appliedAtMs,
            },
          };
        },
      );
    },

    listLines: async () => ({
      lines: (await store.transaction((tables) => tables.lines())).map(lineMessage),
    }),
  };
}

function checked(definitionJson: string): LineDefinition {
  let value: unknown;
  try {
    value = JSON.parse(definitionJson);
  } catch (error) {
    throw new Refusal(
      "invalidArgument",
      `definition_json is not JSON (${(error as Error).message}). Send a line definition`,
    );
  }
  const check = checkLine(value);
  if (!check.ok) throw new Refusal("invalidArgument", formatIssues(check.issues));
  nameOf("name", check.line.name);
  return check.line;
}

/**
 * Keyed records and states lie by partition number, and by their place in the event log: another number or another log
 * would separate what belongs together.
 */
function keepsPlaces(row: LineRow | null, line: LineDefinition): void {
  if (row === null) return;
  const before = storedLine(row.definitionJson);
  const elsewhere = "Keep it, or apply the definition under a new name";
  if (before.partitions !== line.partitions) {
    throw new Refusal(
      "failedPrecondition",
      `partitions: line "${line.name}" has ${before.partitions} and cannot change to ${line.partitions}. ${elsewhere}`,
    );
  }
  // Without streams nothing lies anywhere yet.
  if (isServedOnly(before)) return;
  if (isServedOnly(line)) {
    throw new Refusal(
      "failedPrecondition",
      `streams: line "${line.name}" has streams and cannot go on without. ${elsewhere}`,
    );
  }
  const [log, other] = [eventLog(before).topic, eventLog(line).topic];
  if (log !== other) {
    throw new Refusal(
      "failedPrecondition",
      `streams: the event log of line "${line.name}" is ${log}; with these streams it would be ${other}. ${elsewhere}`,
    );
  }
}
