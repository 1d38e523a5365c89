import type { Example, Prediction } from "@millrace/contracts";
import { type PairedLosses, rowLogLoss, startPairs, withPair } from "@millrace/judge";
import { checkedDurationMs, type LearningLine } from "@millrace/lines";
import type { StreamRecord, Task } from "@millrace/stream";

/** Two versions that score the same rows while a rollout runs. */
export interface Trial {
  /** Of the rollout: tells it from every other one. */
  readonly salt: string;
  readonly champion: number;
  readonly challenger: number;
}

/**
 * Losses of one row that differ by more, in nats, count as that much: the one gave e times the probability to what
 * happened. The smaller it is, the sooner small gains are proven.
 */
const DIFFERENCE_MAX = 1;
/** Neighbours in time are alike, and are no evidence one by one. */
const BLOCK_ROWS = 20;

/** No evidence yet. */
export const NO_PAIRS: PairedLosses = startPairs({ differenceMax: DIFFERENCE_MAX, blockRows: BLOCK_ROWS });

interface Scores {
  readonly time: number;
  readonly champion: number;
  readonly challenger: number;
}
type Label = Pick<Example, "id" | "time" | "knownAt" | "label">;
type Pair = Scores & Pick<Label, "label">;

interface TrialSnapshot {
  readonly salt: string;
  readonly scores: readonly (readonly [id: string, scores: Scores])[];
  readonly labels: readonly (readonly [id: string, label: Label])[];
  readonly maturing: readonly Pair[];
  readonly newestKnownMs: number;
  readonly losses: PairedLosses;
}

export interface TrialTask extends Task {
  /** Of the labelled rows of this trial so far. */
  losses(trial: Trial): PairedLosses;
}

/**
 * Predictions and examples of one partition to paired losses of the trial that is on, if any; each trial starts anew. A
 * prediction and its example may come in either order. Where silence means no, a pair counts only once its event's wait
 * is over: positives are known before negatives of the same age, and would be all that is seen at first.
 */
export function createTrialTask(
  line: LearningLine,
  trialOf: () => Trial | null,
  snapshot: unknown,
): TrialTask {
  const saved = snapshot as TrialSnapshot | null;
  const waitMs = checkedDurationMs(line.label.waitFor);
  const matureMs = line.label.silence === "negative" ? waitMs : 0;
  const waitingMax = line.label.waitingMax;
  let salt = saved?.salt ?? "";
  let scores = new Map(saved?.scores);
  let labels = new Map(saved?.labels);
  /** By event time. */
  let maturing = [...(saved?.maturing ?? [])];
  let newestKnownMs = saved?.newestKnownMs ?? 0;
  let losses = saved?.losses ?? NO_PAIRS;

  const begin = (trial: Trial): void => {
    if (salt === trial.salt) return;
    salt = trial.salt;
    scores = new Map();
    labels = new Map();
    maturing = [];
    newestKnownMs = 0;
    losses = NO_PAIRS;
  };

  const takePrediction = (prediction: Prediction, trial: Trial): void => {
    if (prediction.origin === "call") return;
    const scoreOf = (version: number): number | undefined =>
      prediction.version === version ? prediction.score : prediction.shadows[version];
    const champion = scoreOf(trial.champion);
    const challenger = scoreOf(trial.challenger);
    if (champion === undefined || challenger === undefined) return;
    const both = { time: prediction.time, champion, challenger };
    const label = labels.get(prediction.id);
    if (label === undefined) scores.set(prediction.id, both);
    else join(both, label);
    labels.delete(prediction.id);
  };

  const takeExample = ({ id, time, knownAt, label, revision }: Example): void => {
    // A correction: the row was weighed with its first label, and evidence is not taken back.
    if (revision > 0) return;
    const one = { id, time, knownAt, label };
    const both = scores.get(id);
    if (both === undefined) labels.set(id, one);
    else join(both, one);
    scores.delete(id);
    dropOlder(scores, knownAt - 1.1 * waitMs, waitingMax);
    dropOlder(labels, knownAt - 1.1 * waitMs, waitingMax);
  };

  const join = (both: Scores, { knownAt, label }: Label): void => {
    newestKnownMs = Math.max(newestKnownMs, knownAt);
    const later = maturing.findLastIndex(({ time }) => time <= both.time) + 1;
    maturing.splice(later, 0, { ...both, label });
    const open = maturing.findIndex(({ time }) => time + matureMs > newestKnownMs);
    for (const pair of maturing.splice(0, open === -1 ? maturing.length : open)) {
      losses = withPair(losses, {
        champion: rowLogLoss(pair.champion, pair.label),
        challenger: rowLogLoss(pair.challenger, pair.label),
      });
    }
  };

  return {
    process: (records) => {
      const trial = trialOf();
      if (trial === null) return;
      begin(trial);
      for (const record of records) {
        const value = messageOf(record);
        if (value === null) continue;
        if (record.topic.endsWith(".predictions")) takePrediction(value as Prediction, trial);
        else takeExample(value as Example);
      }
    },
    snapshot: (): TrialSnapshot => ({
      salt,
      scores: [...scores],
      labels: [...labels],
      maturing,
      newestKnownMs,
      losses,
    }),
    losses: (trial) => (trial.salt === salt ? losses : NO_PAIRS),
  };
}

/** null: not a message of the mesh's own, which nothing keeps strangers from writing. */
function messageOf({ value }: StreamRecord): Prediction | Example | null {
  try {
    const message = JSON.parse(Buffer.from(value ?? []).toString("utf8")) as Partial<
      Prediction & Example
    > | null;
    const isMessage =
      typeof message?.id === "string" &&
      typeof message.time === "number" &&
      (typeof message.label === "number" || typeof message.score === "number");
    return isMessage ? (message as Prediction | Example) : null;
  } catch {
    return null;
  }
}

/** Drops from the front, which holds the oldest, while older than `before` or more than `most`. */
function dropOlder(map: Map<string, { readonly time: number }>, before: number, most: number): void {
  for (const [id, { time }] of map) {
    if (time >= before && map.size <= most) return;
    map.delete(id);
  }
}
