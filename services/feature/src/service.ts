import { join } from "node:path";
import { canonicalJson, featureApi, type LineStatus, lineTopic } from "@millrace/contracts";
import { featurePart } from "@millrace/lines";
import type { Handlers, RpcServer } from "@millrace/rpc";
import { type Clock, every, type Fail, type Log, meter, type Service, sha256Hex } from "@millrace/runtime";
import {
  type AppliedLine,
  type Broker,
  type FollowedLines,
  fileCheckpoints,
  followLines,
  type LineSource,
  type RunningStep,
  startStep,
} from "@millrace/stream";
import { type ComputeTask, createComputeTask } from "./compute.ts";
import type { FeatureConfig } from "./config.ts";
import { createOnlineHandlers } from "./online.ts";
import { createWatchTask, type WatchTask } from "./watch.ts";

export interface FeaturePorts {
  readonly broker: Broker;
  readonly lines: LineSource;
  readonly serveOnline: (
    service: typeof featureApi.FeatureService,
    handlers: Handlers<typeof featureApi.FeatureService>,
  ) => Promise<RpcServer>;
  readonly clock: Clock;
  readonly log: Log;
  readonly fail: Fail;
  readonly close: () => Promise<void>;
}

/** The steps of one line. */
export interface FeatureLine {
  readonly applied: AppliedLine;
  readonly featureDigest: string;
  readonly computing: ReadonlyMap<number, ComputeTask>;
  readonly watching: ReadonlyMap<number, WatchTask>;
  readonly compute: RunningStep;
  readonly watch: RunningStep;
  stop(): Promise<void>;
}

const CHECKPOINT_MS = 2_000;
const DETAILS_MS = 1_000;

/** Features, label join and drift watch for every applied line. */
export function buildFeature(config: Pick<FeatureConfig, "MILLRACE_DATA">, ports: FeaturePorts): Service {
  const { broker, clock, log, fail } = ports;
  const stepPorts = { broker, clock, log, fail };
  const stopped = new AbortController();
  let followed: FollowedLines<FeatureLine> | undefined;
  let server: RpcServer | undefined;
  let details: Readonly<Record<string, Record<string, unknown>>> = {};
  let refreshing: Promise<void> = Promise.resolve();

  const startLine = async (applied: AppliedLine): Promise<FeatureLine> => {
    const { line } = applied;
    const featureDigest = sha256Hex(canonicalJson(featurePart(line)));
    const checkpoints = (step: string): ReturnType<typeof fileCheckpoints> =>
      fileCheckpoints(join(config.MILLRACE_DATA, line.name, step));
    const computing = new Map<number, ComputeTask>();
    const watching = new Map<number, WatchTask>();
    const compute = await startStep(
      {
        name: `${line.name}.compute`,
        topics: [lineTopic(line.name, "events")],
        checkpoints: checkpoints("compute"),
        checkpointEveryMs: CHECKPOINT_MS,
        createTask: (partition, snapshot) => {
          const task = createComputeTask(line, featureDigest, snapshot);
          computing.set(partition, task);
          return task;
        },
      },
      stepPorts,
    );
    const watch = await startStep(
      {
        name: `${line.name}.watch`,
        topics: [lineTopic(line.name, "predictions"), lineTopic(line.name, "examples")],
        checkpoints: checkpoints("watch"),
        checkpointEveryMs: CHECKPOINT_MS,
        createTask: (partition, snapshot) => {
          const task = createWatchTask(line, snapshot);
          watching.set(partition, task);
          return task;
        },
      },
      stepPorts,
    );
    return {
      applied,
      featureDigest,
      computing,
      watching,
      compute,
      watch,
      stop: async () => {
        await Promise.all([compute.stop(), watch.stop()]);
      },
    };
  };

  const lines = (): ReadonlyMap<string, FeatureLine> => followed?.running() ?? new Map();

  const observe = (): void => {
    meter()
      .createObservableCounter("millrace_feature_records", { description: "Records written, by kind" })
      .addCallback((result) => {
        for (const [name, line] of lines()) {
          for (const [kind, value] of Object.entries(countsOf(line)))
            result.observe(value, { line: name, kind });
        }
      });
    meter()
      .createObservableGauge("millrace_feature_lag", { description: "Records still to be read, by step" })
      .addCallback((result) => {
        for (const [name, line] of lines()) {
          result.observe(line.compute.lag(), { line: name, step: "compute" });
          result.observe(line.watch.lag(), { line: name, step: "watch" });
        }
      });
  };

  return {
    start: async () => {
      observe();
      followed = followLines(ports.lines, startLine, log);
      server = await ports.serveOnline(featureApi.FeatureService, createOnlineHandlers(lines, clock));
      log.info({ port: server.port }, "serving online features");
      // Quality sorts its rows: once a second at most, however often the status is asked for.
      refreshing = every(
        DETAILS_MS,
        stopped.signal,
        () => {
          details = Object.fromEntries([...lines()].map(([name, line]) => [name, detailsOf(line)]));
        },
        fail,
      );
    },
    stop: async (deadlineMs) => {
      stopped.abort();
      await refreshing;
      await server?.stop(deadlineMs);
      await followed?.stop();
      await ports.close();
    },
    ready: () => server !== undefined && followed?.ready() === true,
    lines: () =>
      Object.fromEntries(
        [...lines()].map(([name, line]): [string, LineStatus] => [
          name,
          {
            counts: countsOf(line),
            lag: { compute: line.compute.lag(), watch: line.watch.lag() },
            streamTimeMs: Math.max(0, ...[...line.computing.values()].map((task) => task.streamTimeMs)),
            details: { featureDigest: line.featureDigest, ...details[name] },
          },
        ]),
      ),
  };
}

function countsOf(line: FeatureLine): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const task of [...line.computing.values(), ...line.watching.values()]) {
    for (const [name, value] of Object.entries(task.counts())) counts[name] = (counts[name] ?? 0) + value;
  }
  return counts;
}

/** Live quality and drift of the line. A line of several partitions shows the partition with the most labels. */
function detailsOf(line: FeatureLine): Record<string, unknown> {
  const tasks = [...line.watching.values()].sort(
    (a, b) => (b.counts()["watched"] ?? 0) - (a.counts()["watched"] ?? 0),
  );
  return { ...tasks[0]?.details() };
}

/** The steps themselves, for simulations that run them on fakes. */
export { createComputeTask } from "./compute.ts";
