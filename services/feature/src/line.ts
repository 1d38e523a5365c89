import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { canonicalJson, lineTopic } from "@millrace/contracts";
import { eventLog, featurePart, isLearning, type LineDefinition } from "@millrace/lines";
import { sha256Hex } from "@millrace/runtime";
import {
  type AppliedLine,
  type CheckpointStore,
  fileCheckpoints,
  layeredCheckpoints,
  memberFile,
  objectCheckpoints,
  type RunningStep,
  startStep,
} from "@millrace/stream";
import { type ComputeSnapshot, type ComputeTask, createComputeTask } from "./compute.ts";
import { type ComputeVersion, computeOutputs, rebuild, rebuiltCheckpoints } from "./rebuild.ts";
import type { FeaturePorts } from "./service.ts";
import { startVerifying, type Verifying } from "./verify.ts";
import { createWatchTask, type WatchTask } from "./watch.ts";

/** The steps of one line. */
export interface FeatureLine {
  readonly applied: AppliedLine;
  readonly featureDigest: string;
  readonly computing: ReadonlyMap<number, ComputeTask>;
  readonly watching: ReadonlyMap<number, WatchTask>;
  readonly compute: RunningStep;
  /** null: a line of features only has nothing to watch. */
  readonly watch: RunningStep | null;
  readonly verifying: Verifying;
  stop(): Promise<void>;
}

const CHECKPOINT_MS = 2_000;
const SHARE_MS = 120_000;
/** The watch parses JSON: more at once would let the online requests wait. */
const WATCH_RECORDS_MAX = 256;
/** Digits of a version's digest in the name of its folder. */
const VERSION_DIGITS = 16;

/**
 * Starts a line, in the place of what runs for an older definition of it. Where that changes the features, the state of
 * the new ones is built first, beside what serves; the steps then change over within moments, and the new ones go on
 * at the event where the old ones ended.
 */
export async function startLine(
  applied: AppliedLine,
  former: FeatureLine | null,
  folder: string,
  ports: FeaturePorts,
  signal: AbortSignal,
): Promise<FeatureLine> {
  const { line } = applied;
  const version = versionOf(line);
  const states = stateFolder(version, join(folder, line.name, "compute"), ports);
  if (former !== null) {
    const old = versionOf(former.applied.line);
    if (old.version !== version.version) {
      for (const partition of former.compute.partitions()) await states.prepare(partition, old, signal);
    }
    await former.stop();
  }
  await states.sweep();

  const computing = new Map<number, ComputeTask>();
  const compute = await startStep(
    {
      name: `${line.name}.compute`,
      topics: [eventLog(line).topic],
      outputs: computeOutputs(line),
      version: version.version,
      checkpoints: states.checkpoints,
      member: memberFile(join(folder, line.name, "compute", "member")),
      checkpointEveryMs: CHECKPOINT_MS,
      createTask: (partition, snapshot) => {
        const task = createComputeTask(line, version.featureDigest, snapshot as ComputeSnapshot | null);
        computing.set(partition, task);
        return task;
      },
    },
    ports,
  );
  const watching = new Map<number, WatchTask>();
  const watch = isLearning(line)
    ? await startStep(
        {
          name: `${line.name}.watch`,
          topics: [lineTopic(line.name, "predictions"), lineTopic(line.name, "examples")],
          outputs: [lineTopic(line.name, "drift")],
          // Which of a prediction and its example comes second depends on how the topics are merged.
          holdOutputs: true,
          recordsMax: WATCH_RECORDS_MAX,
          checkpoints: fileCheckpoints(join(folder, line.name, "watch")),
          member: memberFile(join(folder, line.name, "watch", "member")),
          checkpointEveryMs: CHECKPOINT_MS,
          createTask: (partition, snapshot) => {
            const task = createWatchTask(line, snapshot);
            watching.set(partition, task);
            return task;
          },
        },
        ports,
      )
    : null;
  const verifying = startVerifying(line, version.featureDigest, compute, ports);
  return {
    applied,
    featureDigest: version.featureDigest,
    computing,
    watching,
    compute,
    watch,
    verifying,
    stop: async () => {
      await Promise.all([compute.stop(), watch?.stop(), verifying.stop()]);
    },
  };
}

function versionOf(line: LineDefinition): ComputeVersion {
  const featureDigest = sha256Hex(canonicalJson(featurePart(line)));
  const version = sha256Hex(canonicalJson({ features: featureDigest, partitions: line.partitions }));
  return { line, featureDigest, version };
}

/** Where the states of one version are kept, and how they come to be. */
interface StateFolder {
  readonly checkpoints: CheckpointStore;
  /** Builds the state of a partition that an older version still owns, as far as that one has saved its own. */
  prepare(partition: number, old: ComputeVersion, signal: AbortSignal): Promise<void>;
  /** Removes the states of other versions. */
  sweep(): Promise<void>;
}

function stateFolder(version: ComputeVersion, folder: string, ports: FeaturePorts): StateFolder {
  const { checkpointIndex, objects, clock, log } = ports;
  const { line } = version;
  const here = fileCheckpoints(join(folder, nameOf(version)));
  const step = `${line.name}.compute`;
  const shared = objectCheckpoints(step, objects, checkpointIndex(line.name, step));
  const layered = layeredCheckpoints(here, shared, { everyMs: SHARE_MS, clock, log });
  return {
    checkpoints: rebuiltCheckpoints(layered, version, ports),
    prepare: async (partition, old, signal) => {
      const saved = await fileCheckpoints(join(folder, nameOf(old))).load(partition, null, signal);
      const until = saved?.offsets[eventLog(line).topic] ?? 0;
      if (until > 0)
        await here.save(partition, await rebuild(version, partition, until, ports, signal), false);
    },
    sweep: async () => {
      const found = await readdir(folder, { withFileTypes: true }).catch(() => []);
      const others = found.filter((entry) => entry.isDirectory() && entry.name !== nameOf(version));
      await Promise.all(
        others.map((entry) => rm(join(folder, entry.name), { recursive: true, force: true })),
      );
    },
  };
}

/** Name of a version's folder. */
function nameOf({ version }: ComputeVersion): string {
  return version.slice(0, VERSION_DIGITS);
}
