import { type FeatureVector, lineTopic, type Prediction, readVector } from "@millrace/contracts";
import { assign } from "@millrace/rollout";
import { type Clock, type Log, sleep, withDeadline } from "@millrace/runtime";
import {
  type Division,
  type Handle,
  type SwapController,
  scoreInLane,
  type VersionModel,
} from "@millrace/serving";
import {
  type Broker,
  type CheckpointStore,
  type Emit,
  type MemberMemory,
  type RunningStep,
  type StepDefinition,
  type StreamRecord,
  startStep,
  type Task,
} from "@millrace/stream";
import { divisionOf } from "./choose.ts";

/** Counts of one partition, kept in its checkpoint. */
export interface ScoreCounts {
  readonly predictions: number;
  /** Passed over: no feature vectors, or vectors of a definition that the line has left behind. */
  readonly skipped: number;
  readonly streamTimeMs: number;
}

export interface ScoreTask extends Task {
  counts(): ScoreCounts;
  /** Why the partition waits; null while it moves. */
  held(): string | null;
}

/** What scoring needs to know of a line. */
export interface ScoredLine {
  readonly name: string;
  readonly controller: SwapController;
  /** Digest of the line's present feature definition; null while it is not known. */
  readonly featureDigest: () => string | null;
  /** Says that the models are in use; brings them back when they were let go. */
  readonly use: () => Promise<void>;
}

const NOTHING: ScoreCounts = { predictions: 0, skipped: 0, streamTimeMs: 0 };
const LOOK_MS = 100;

/**
 * One partition of `LINE.features` to `LINE.predictions`: each vector scored by the champion, and beside it by the
 * challenger and the shadows of the same feature definition; while a rollout runs, the vector's id decides who answers. While no champion fits a vector, or it cannot answer, the partition waits.
 * Vectors of a former definition are passed over once the champion has the line's present one: they are read again
 * after a crash, or came late, and no champion for them will come.
 */
function createScoreTask(
  { name: line, controller, featureDigest, use }: ScoredLine,
  ports: { readonly clock: Clock; readonly log: Log },
  snapshot: unknown,
  stopping: AbortSignal,
): ScoreTask {
  const { clock, log } = ports;
  const predictions = lineTopic(line, "predictions");
  let counts = (snapshot as ScoreCounts | null) ?? NOTHING;
  let held: string | null = null;

  /** Waits a moment. Says once why. */
  const hold = async ({ reason, error }: Obstacle): Promise<void> => {
    if (held !== reason) log.warn({ line, err: error }, `scoring waits: ${reason}`);
    held = reason;
    await sleep(LOOK_MS, stopping);
    if (stopping.aborted) throw stopping.reason;
  };

  /** Answers how many predictions were made: all or none. */
  const scoreRun = async (run: readonly Scorable[], emit: Emit): Promise<number> => {
    let scored = run.length;
    for (;;) {
      if (isLeftBehind(run)) {
        log.warn({ line, vectors: run.length }, "vectors of a former feature definition: passed over");
        scored = 0;
        break;
      }
      const obstacle = await tryScore(run, emit);
      if (obstacle === null) break;
      await hold(obstacle);
    }
    if (held !== null) log.info({ line }, "scoring goes on");
    held = null;
    return scored;
  };

  const isLeftBehind = ([first]: readonly Scorable[]): boolean => {
    const present = featureDigest();
    const isCurrent = present !== null && controller.champion?.featureDigest === present;
    return isCurrent && first?.vector.features !== present;
  };

  /** Scores and emits a run with what serves now; or emits nothing and says what is in the way. */
  const tryScore = async (run: readonly Scorable[], emit: Emit): Promise<Obstacle | null> => {
    try {
      await use();
    } catch (error) {
      return { reason: `the champion does not load: ${(error as Error).message}`, error };
    }
    const serving = controller.acquireAll();
    if (serving === null) return { reason: "there is no champion yet" };
    const { champion, beside } = serving;
    const division = divisionOf(controller);
    let answers: Answer[];
    try {
      const unfit = misfit(champion, (run[0] as Scorable).vector);
      if (unfit !== null) return { reason: unfit };
      const matrix = matrixOf(run, champion.of.featureNames.length);
      answers = [{ of: champion.of, scores: await scoreInLane(champion, matrix, run.length) }];
      answers.push(...(await scoreBeside(beside, run, matrix)));
    } catch (error) {
      return { reason: `version ${champion.of.version} fails: ${(error as Error).message}`, error };
    } finally {
      champion.release();
      for (const one of beside) one.release();
    }
    run.forEach(({ record, vector }, row) => {
      const prediction = predictionOf(vector, answers, row, division, clock.now());
      emit(record, predictions, { key: vector.id, value: JSON.stringify(prediction) });
    });
    return null;
  };

  /** The others are for comparison: one that does not fit or fails is left out. */
  const scoreBeside = async (
    beside: readonly Handle[],
    run: readonly Scorable[],
    matrix: Float32Array,
  ): Promise<Answer[]> => {
    const answers: Answer[] = [];
    for (const handle of beside) {
      const { of } = handle;
      if (of.featureDigest !== (run[0] as Scorable).vector.features) continue;
      try {
        answers.push({ of, scores: await scoreInLane(handle, matrix, run.length) });
      } catch (error) {
        log.warn(
          { line, version: of.version, err: error },
          "a version beside the champion fails: it is left out",
        );
      }
    }
    return answers;
  };

  return {
    process: async (records, emit) => {
      const scorable = records.map(toScorable);
      for (const [i, one] of scorable.entries()) {
        if (one !== null) continue;
        const { partition, offset } = records[i] as StreamRecord;
        log.warn({ line, partition, offset }, "not a feature vector: passed over");
      }
      const vectors = scorable.filter((one) => one !== null);
      let scored = 0;
      for (const run of runsOfOneDefinition(vectors)) scored += await scoreRun(run, emit);
      counts = {
        predictions: counts.predictions + scored,
        skipped: counts.skipped + records.length - scored,
        streamTimeMs: vectors.reduce((time, { vector }) => Math.max(time, vector.time), counts.streamTimeMs),
      };
    },
    snapshot: () => counts,
    counts: () => counts,
    held: () => held,
  };
}

interface Answer {
  readonly of: VersionModel;
  readonly scores: Float32Array;
}

/** The champion's answer is the first. While a rollout runs the vector's id decides whose answer counts. */
function predictionOf(
  vector: FeatureVector,
  answers: readonly Answer[],
  row: number,
  division: Division | null,
  predictedAtMs: number,
): Prediction {
  const champion = answers[0] as Answer;
  const chosen = division === null ? null : assign(division.plan, vector.id);
  const assigned = answers.find(({ of }) => of.version === chosen?.arm.version);
  // Who could not answer is stood in for by the champion, who then was sure to answer.
  const { of, scores } = assigned ?? champion;
  const others = answers.filter((one) => one.of !== of);
  return {
    id: vector.id,
    time: vector.time,
    score: scores[row] as number,
    version: of.version,
    model: of.artifactDigest,
    features: vector.features,
    shadows: Object.fromEntries(others.map((one) => [one.of.version, one.scores[row] as number])),
    predictedAtMs,
    dataset: of.datasetDigest,
    arm: of === champion.of ? "champion" : "challenger",
    propensity: assigned === undefined ? 1 : (chosen?.propensity ?? 1),
    origin: "stream",
  };
}

/** Why a run cannot be scored now. */
interface Obstacle {
  readonly reason: string;
  readonly error?: unknown;
}

interface Scorable {
  readonly record: StreamRecord;
  readonly vector: FeatureVector;
}

/** null when the record is no feature vector. */
function toScorable(record: StreamRecord): Scorable | null {
  const vector = readVector(record.value);
  return vector === null ? null : { record, vector };
}

/** Cuts vectors, in order, into runs that one matrix can hold. */
function* runsOfOneDefinition(vectors: readonly Scorable[]): Generator<Scorable[]> {
  let run: Scorable[] = [];
  for (const one of vectors) {
    const last = run.at(-1)?.vector;
    const fits =
      last === undefined ||
      (last.features === one.vector.features && last.values.length === one.vector.values.length);
    if (!fits) {
      yield run;
      run = [];
    }
    run.push(one);
  }
  if (run.length > 0) yield run;
}

/** Why the champion must not score the vector; null when it may. */
function misfit(champion: Handle, vector: FeatureVector): string | null {
  const { version, featureDigest, featureNames } = champion.of;
  if (featureDigest !== vector.features) {
    return `vectors have feature definition ${vector.features.slice(0, 12)}, version ${version} wants ${featureDigest.slice(0, 12)}`;
  }
  return featureNames.length === vector.values.length
    ? null
    : `vectors have ${vector.values.length} values, version ${version} wants ${featureNames.length}`;
}

function matrixOf(run: readonly Scorable[], features: number): Float32Array {
  const matrix = new Float32Array(run.length * features);
  run.forEach(({ vector }, row) => {
    vector.values.forEach((value, column) => {
      matrix[row * features + column] = value ?? Number.NaN;
    });
  });
  return matrix;
}

export interface Scoring {
  /** Over the partitions owned now. */
  counts(): ScoreCounts;
  lag(): number;
  held(): string | null;
  stop(): Promise<void>;
}

export interface ScoringPorts {
  readonly broker: Broker;
  readonly checkpoints: CheckpointStore;
  /** Where the member's id in the consumer group is kept over a kill. */
  readonly member?: MemberMemory;
  readonly clock: Clock;
  readonly log: Log;
}

const CHECKPOINT_MS = 2_000;
const RECORDS_MAX = 512;
const RESTART_MS = 500;
const STOP_MS = 3_000;
const STOP_STARTING_MS = 500;

/**
 * Keeps a line's feature stream scored. While Kafka is away the step is started again and again, from its last
 * checkpoint: the service's requests must not suffer from it.
 */
export function keepScoring(line: ScoredLine, ports: ScoringPorts): Scoring {
  const { broker, checkpoints, member, clock, log } = ports;
  const stopped = new AbortController();
  const tasks = new Map<number, ScoreTask>();
  let step: RunningStep | null = null;

  const definition: StepDefinition = {
    name: `${line.name}.predict`,
    topics: [lineTopic(line.name, "features")],
    outputs: [lineTopic(line.name, "predictions")],
    checkpoints,
    ...(member === undefined ? {} : { member }),
    checkpointEveryMs: CHECKPOINT_MS,
    recordsMax: RECORDS_MAX,
    createTask: (partition, snapshot, stopping) => {
      const task = createScoreTask(line, { clock, log }, snapshot, stopping);
      tasks.set(partition, task);
      return task;
    },
  };

  const ended = new Promise<void>((resolve) => stopped.signal.addEventListener("abort", () => resolve()));

  const runOnce = async (): Promise<void> => {
    const failed = Promise.withResolvers<never>();
    failed.promise.catch(() => {}); // it may fail again while it is being stopped
    const starting = startStep(definition, { broker, clock, log, fail: failed.reject });
    try {
      step = await Promise.race([starting, ended.then(() => null)]);
      await Promise.race([failed.promise, ended]);
    } finally {
      // What has not started, because Kafka is away, has nothing to save.
      const deadlineMs = step === null ? STOP_STARTING_MS : STOP_MS;
      step = null;
      const stop = starting.then((started) => started.stop());
      await withDeadline(deadlineMs, `stopping ${definition.name}`, stop);
    }
  };

  const running = (async () => {
    while (!stopped.signal.aborted) {
      try {
        await runOnce();
      } catch (error) {
        if (!stopped.signal.aborted)
          log.warn({ err: error, line: line.name }, "scoring failed: starting it again");
      }
      await sleep(RESTART_MS, stopped.signal);
    }
  })();

  /** While the step is away, those that it had. */
  const owned = (): ScoreTask[] => {
    const partitions = step?.partitions();
    return [...tasks].filter(([p]) => partitions?.includes(p) ?? true).map(([, task]) => task);
  };

  return {
    counts: () =>
      owned()
        .map((task) => task.counts())
        .reduce(
          (sum, one) => ({
            predictions: sum.predictions + one.predictions,
            skipped: sum.skipped + one.skipped,
            streamTimeMs: Math.max(sum.streamTimeMs, one.streamTimeMs),
          }),
          NOTHING,
        ),
    lag: () => step?.lag() ?? 0,
    held: () =>
      owned()
        .map((task) => task.held())
        .find((reason) => reason !== null) ?? null,
    stop: async () => {
      stopped.abort();
      await running;
    },
  };
}
