import type { featureApi } from "@millrace/contracts";
import { createEventReader, type EventReader } from "@millrace/events";
import { featureNames } from "@millrace/lines";
import type { Handlers } from "@millrace/rpc";
import { type Clock, RpcError } from "@millrace/runtime";
import { partitionOf } from "@millrace/stream";
import type { FeatureLine } from "./service.ts";

/** The handlers of the online feature store: the same engine as the stream, read without leaving a trace. */
export function createOnlineHandlers(
  lines: () => ReadonlyMap<string, FeatureLine>,
  clock: Clock,
): Handlers<typeof featureApi.FeatureService> {
  const readers = new WeakMap<FeatureLine, EventReader>();
  const readerOf = (running: FeatureLine): EventReader => {
    const { line } = running.applied;
    const reader = readers.get(running) ?? createEventReader(line, line.predict.on);
    readers.set(running, reader);
    return reader;
  };

  return {
    getVector: ({ line: name, eventJson }) => {
      const running = lines().get(name);
      if (running === undefined) {
        throw new RpcError(
          "notFound",
          `line "${name}" is not applied: see \`millrace lines\`, then \`millrace apply\``,
        );
      }
      const { line } = running.applied;
      const value = new TextEncoder().encode(eventJson);
      const read = readerOf(running)({ key: null, value, headers: {}, timestampMs: clock.now() });
      if (read.kind !== "accepted") throw new RpcError("invalidArgument", `event_json: ${read.detail}`);
      const { time, data } = read.event;
      const stream = line.streams[line.predict.on];
      const key = stream?.key.map((field) => String(data[field])).join("|") ?? "";
      const task = running.computing.get(partitionOf(key, line.partitions));
      if (task === undefined)
        throw new RpcError("unavailable", `the features of "${name}" are starting: try again`);
      return {
        names: featureNames(line),
        values: task.engine.peek(data, time).map((one) => one ?? Number.NaN),
        featureDigest: running.featureDigest,
        asOfMs: BigInt(task.engine.newestTime),
      };
    },
  };
}
