import type { ArchivePorts } from "@millrace/archive";
import { featureApi, type LineStatus } from "@millrace/contracts";
import { isServedOnly } from "@millrace/lines";
import type { Handlers, RpcServer } from "@millrace/rpc";
import {
  type Clock,
  every,
  type Fail,
  type Log,
  meter,
  type ObjectStore,
  type Service,
} from "@millrace/runtime";
import {
  type Block,
  type Broker,
  type CheckpointIndex,
  type FollowedLines,
  followLines,
  type LineSource,
} from "@millrace/stream";
import type { FeatureConfig } from "./config.ts";
import { type FeatureLine, startLine } from "./line.ts";
import { createOnlineHandlers } from "./online.ts";

export interface FeaturePorts extends ArchivePorts {
  readonly broker: Broker;
  readonly lines: LineSource;
  readonly objects: ObjectStore;
  /** The index of a step's shared checkpoints. */
  readonly checkpointIndex: (line: string, step: string) => CheckpointIndex;
  /** Archived blocks of a topic, in any order. */
  readonly blocks: (topic: string) => Promise<readonly Block[]>;
  readonly serveOnline: (
    service: typeof featureApi.FeatureService,
    handlers: Handlers<typeof featureApi.FeatureService>,
  ) => Promise<RpcServer>;
  /** How often a sample of what was served is computed again. */
  readonly verifyEveryMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly fail: Fail;
  readonly close: () => Promise<void>;
}

const DETAILS_MS = 1_000;

/** Features, label join and drift watch for every applied line that has streams. */
export function buildFeature(config: Pick<FeatureConfig, "MILLRACE_DATA">, ports: FeaturePorts): Service {
  const { clock, log, fail } = ports;
  const stopped = new AbortController();
  let followed: FollowedLines<FeatureLine> | undefined;
  let server: RpcServer | undefined;
  let details: Readonly<Record<string, Record<string, unknown>>> = {};
  let refreshing: Promise<void> = Promise.resolve();

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
          for (const [step, lag] of Object.entries(lagOf(line))) result.observe(lag, { line: name, step });
        }
      });
    meter()
      .createObservableGauge("millrace_feature_state", {
        description: "What the online state holds, by kind",
      })
      .addCallback((result) => {
        for (const [name, line] of lines()) {
          for (const [kind, size] of Object.entries(sizesOf(line)))
            result.observe(size, { line: name, kind });
        }
      });
  };

  return {
    start: async () => {
      observe();
      followed = followLines(
        ports.lines,
        async (applied, former, signal) => {
          if (!isServedOnly(applied.line)) {
            return startLine(applied, former, config.MILLRACE_DATA, ports, signal);
          }
          await former?.stop();
          return null;
        },
        log,
      );
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
            lag: lagOf(line),
            streamTimeMs: Math.max(
              0,
              ...[...line.computing.values()].map(({ computation }) => computation.newestTimeMs),
            ),
            details: {
              featureDigest: line.featureDigest,
              state: sizesOf(line),
              verified: line.verifying.results(),
              ...details[name],
            },
          },
        ]),
      ),
  };
}

function countsOf(line: FeatureLine): Record<string, number> {
  const computing = [...line.computing.values()].map(({ computation }) => computation.counts());
  return summed([...computing, ...[...line.watching.values()].map((task) => task.counts())]);
}

function lagOf({ compute, watch }: FeatureLine): Record<string, number> {
  return { compute: compute.lag(), ...(watch === null ? {} : { watch: watch.lag() }) };
}

function sizesOf(line: FeatureLine): Record<string, number> {
  return summed([...line.computing.values()].map(({ computation }) => ({ ...computation.engine.sizes })));
}

function summed(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const one of all) {
    for (const [name, value] of Object.entries(one)) sums[name] = (sums[name] ?? 0) + value;
  }
  return sums;
}

/** Live quality and drift of the line. A line of several partitions shows the partition with the most labels. */
function detailsOf(line: FeatureLine): Record<string, unknown> {
  const tasks = [...line.watching.values()].sort(
    (a, b) => (b.counts()["watched"] ?? 0) - (a.counts()["watched"] ?? 0),
  );
  return { ...tasks[0]?.details() };
}

/** The step itself, for simulations that run it on fakes. */
export { createComputeTask } from "./compute.ts";
