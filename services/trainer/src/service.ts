import { join } from "node:path";
import { BlockFiles } from "@millrace/archive";
import { isLearning } from "@millrace/lines";
import type { Service } from "@millrace/runtime";
import { type FollowedLines, followLines } from "@millrace/stream";
import { readHolder } from "./holder.ts";
import { type Ledger, openLedger } from "./ledger.ts";
import { startLine, type TrainedLine } from "./line.ts";
import { createMetrics } from "./metrics.ts";
import type { Ports, Settings } from "./ports.ts";

export type { Ports, Settings } from "./ports.ts";

/**
 * The trainer: for every applied line whose lease it holds, it archives examples, decides about retraining and
 * performs the runs.
 */
export function buildTrainer(settings: Settings, ports: Ports): Service {
  let ledger: Ledger | undefined;
  let followed: FollowedLines<TrainedLine> | undefined;
  let stopping: Promise<void> | undefined;
  return {
    start: async (signal) => {
      await ports.objects.ensureBucket(signal);
      ledger = await openLedger(ports.broker, ports.log);
      const files = new BlockFiles(join(settings.data, "blocks"), ports.objects);
      const holder = await readHolder(settings.data);
      const workshop = { holder, ports, settings, files, ledger, metrics: createMetrics() };
      followed = followLines(
        {
          list: async () => (await ports.registry.listLines({})).lines,
          onChange: ports.onRegistryChange,
        },
        async ({ line }, former) => {
          await former?.stop();
          return isLearning(line) ? startLine(line, workshop) : null;
        },
        ports.log,
      );
    },
    stop: () => {
      stopping ??= (async () => {
        await followed?.stop();
        await ledger?.stop();
        await ports.close();
      })();
      return stopping;
    },
    ready: () => followed?.ready() === true,
    lines: () =>
      Object.fromEntries([...(followed?.running() ?? [])].map(([name, line]) => [name, line.status()])),
  };
}
