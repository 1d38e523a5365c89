import {
  BASELINE_VERSION,
  type DriftReport,
  type Example,
  HEADERS,
  type LiveQuality,
  lineTopic,
  type Prediction,
} from "@millrace/contracts";
import { HarmDetector, type HarmSnapshot } from "@millrace/drift";
import { checkedDurationMs, featureNames, type LearningLine } from "@millrace/lines";
import { currentTraceparent, withSpan } from "@millrace/runtime";
import type { Emit, StreamRecord, Task } from "@millrace/stream";
import { type InputsSnapshot, InputWatch } from "./input-watch.ts";
import { ScoredLabels, type ScoredSnapshot } from "./live-quality.ts";
import { textOf } from "./record.ts";

/** Labels in the live window; and per version, of which so many are kept. */
const WINDOW_ROWS = 10_000;
const VERSION_ROWS = 20_000;
const VERSIONS_KEPT = 6;
/** Examples from which the medians of the slices are taken. */
const MEDIAN_ROWS = 1_000;
/** The loss of a champion's first labels is the reference that people compare the live loss with. */
const REFERENCE_ROWS = 5_000;
const LIVE_LOSS_WEIGHT = 1 / 1_000;
/** Harm that lasts is reported again after so much event time, not with every few hundred labels. */
const REPEAT_MS = 24 * 3_600_000;

interface Losses {
  readonly referenceRows: number;
  readonly reference: number;
  readonly rows: number;
  readonly live: number;
}

interface Detection {
  readonly version: number;
  readonly harm: HarmSnapshot;
  readonly losses: Losses;
  /** When harm was last reported of this version, event time; -Infinity: never. */
  readonly reportedAtMs: number;
}

type Pair = readonly [Prediction, Example];

interface WatchSnapshot {
  readonly predictions: readonly Prediction[];
  readonly examples: readonly Example[];
  readonly maturing: readonly Pair[];
  readonly newestKnownMs: number;
  readonly window: ScoredSnapshot;
  readonly versions: readonly (readonly [version: number, scored: ScoredSnapshot])[];
  readonly medianValues: readonly (readonly (number | null)[])[];
  readonly medians: readonly number[] | null;
  readonly detection: Detection | null;
  readonly inputs: InputsSnapshot | null;
  readonly reports: number;
  readonly lastReport: DriftReport | null;
}

export interface WatchTask extends Task {
  counts(): Readonly<Record<string, number>>;
  /** For the status: live quality and the detector's evidence. */
  details(): Readonly<Record<string, unknown>>;
}

/**
 * Step 6: predictions and examples of one partition to live quality and drift reports. An example and its
 * prediction may come in either order. The evidence is kept per champion: it starts anew with each version.
 */
export function createWatchTask(line: LearningLine, snapshot: unknown): WatchTask {
  const saved = snapshot as WatchSnapshot | null;
  const driftTopic = lineTopic(line.name, "drift");
  const names = featureNames(line);
  const waitMs = checkedDurationMs(line.label.waitFor);
  const predictions = new Map(saved?.predictions.map((one) => [one.id, one]));
  const examples = new Map(saved?.examples.map((one) => [one.id, one]));
  const window = new ScoredLabels(WINDOW_ROWS, saved?.window ?? null);
  const versions = new Map(
    saved?.versions.map(([version, scored]) => [version, new ScoredLabels(VERSION_ROWS, scored)]),
  );
  const inputs = new InputWatch(line, saved?.inputs ?? null);
  let medianValues = [...(saved?.medianValues ?? [])];
  let medians = saved?.medians ?? null;
  let version = saved?.detection?.version ?? 0;
  let harm =
    saved?.detection == null
      ? null
      : new HarmDetector(line.drift, saved.detection.harm.medians, saved.detection.harm);
  let losses: Losses = saved?.detection?.losses ?? NO_LOSSES;
  let reportedAtMs = saved?.detection?.reportedAtMs ?? Number.NEGATIVE_INFINITY;
  let reports = saved?.reports ?? 0;
  let lastReport = saved?.lastReport ?? null;
  let expiredAtMs = 0;
  /**
   * Where silence means no, positives are known before negatives of the same age: a pair waits until its event's wait
   * is over, by event time, oldest first. Otherwise what comes early would look like harm.
   */
  const maturing = [...(saved?.maturing ?? [])];
  const matureMs = line.label.silence === "negative" ? waitMs : 0;
  let newestKnownMs = saved?.newestKnownMs ?? 0;

  const learnMedians = (example: Example): void => {
    if (medians !== null) return;
    medianValues.push(example.values);
    if (medianValues.length < MEDIAN_ROWS) return;
    medians = names.map((_, i) => median(medianValues.map((values) => values[i] ?? null)));
    medianValues = [];
  };

  /** Takes in one matured label; answers the report that it completes. */
  const addPair = (prediction: Prediction, example: Example): DriftReport | null => {
    const first = firstScore(prediction);
    window.add(prediction.score, first, example.label);
    scoredOf(versions, prediction.version).add(prediction.score, first, example.label);
    learnMedians(example);
    if (prediction.version === BASELINE_VERSION || prediction.version < version || medians === null)
      return null;
    if (prediction.version > version || harm === null) {
      version = prediction.version;
      harm = new HarmDetector(line.drift, medians);
      losses = NO_LOSSES;
      reportedAtMs = Number.NEGATIVE_INFINITY;
      inputs.restart();
    }
    losses = withLoss(losses, (prediction.score - example.label) ** 2);
    // By the time of the event: what is learnt since the change is chosen by event time.
    const alarm = harm.add(example.time, prediction.score, example.label, example.values);
    const harmed = alarm && example.knownAt - reportedAtMs >= REPEAT_MS;
    const shifted = inputs.add(example.knownAt, example.values);
    if (!harmed && !shifted) return null;
    const report: DriftReport = {
      id: `${line.name}-v${version}-${example.knownAt}-${example.id}`,
      line: line.name,
      kind: harmed ? "harm" : "inputs",
      time: example.knownAt,
      changeTime: harmed ? harm.leader().since : example.time,
      version,
      statistic: harm.statistic,
      threshold: harm.threshold,
      reference: { rows: losses.referenceRows, loss: losses.reference },
      live: { rows: losses.rows, loss: losses.live },
      shifts: inputs.shifts().slice(0, 10),
    };
    if (harmed) reportedAtMs = example.knownAt;
    reports++;
    lastReport = report;
    return report;
  };

  /** The pairs that are complete by now, oldest first. */
  const ripe = (pair: Pair): readonly Pair[] => {
    newestKnownMs = Math.max(newestKnownMs, pair[1].knownAt);
    let at = maturing.length;
    while (at > 0 && (maturing[at - 1] as Pair)[1].time > pair[1].time) at--;
    maturing.splice(at, 0, pair);
    const until = maturing.findIndex(([, { time }]) => time + matureMs > newestKnownMs);
    return maturing.splice(0, until === -1 ? maturing.length : until);
  };

  const pairOf = (record: StreamRecord): Pair | null => {
    const value: unknown = JSON.parse(textOf(record));
    if (record.topic.endsWith(".predictions")) {
      const prediction = value as Prediction;
      // The evidence is about the champion on the stream. Challengers are judged by their rollout.
      if (prediction.origin === "call" || prediction.arm === "challenger") return null;
      const example = examples.get(prediction.id);
      if (example === undefined) predictions.set(prediction.id, prediction);
      else examples.delete(prediction.id);
      return example === undefined ? null : [prediction, example];
    }
    const example = value as Example;
    // A correction: the prediction was weighed against the first label, and evidence is not taken back.
    if (example.revision > 0) return null;
    const prediction = predictions.get(example.id);
    if (prediction === undefined) examples.set(example.id, example);
    else predictions.delete(example.id);
    if (example.knownAt - expiredAtMs > waitMs / 10) {
      expiredAtMs = example.knownAt;
      // A negative by silence is given when the stream's time, which lies a little behind, has passed its wait.
      dropOlder(predictions, expiredAtMs - 1.1 * waitMs);
      dropOlder(examples, expiredAtMs - 1.1 * waitMs);
    }
    return prediction === undefined ? null : [prediction, example];
  };

  return {
    process: async (records, emit) => {
      for (const record of records) {
        const pair = pairOf(record);
        if (pair === null) continue;
        for (const mature of matureMs === 0 ? [pair] : ripe(pair)) {
          const report = addPair(...mature);
          if (report !== null) await emitReport(driftTopic, record, report, emit);
        }
      }
    },
    snapshot: (): WatchSnapshot => ({
      predictions: [...predictions.values()],
      examples: [...examples.values()],
      maturing,
      newestKnownMs,
      window: window.snapshot(),
      versions: [...versions].map(([number, scored]) => [number, scored.snapshot()] as const),
      medianValues,
      medians,
      detection: harm === null ? null : { version, harm: harm.snapshot(), losses, reportedAtMs },
      inputs: inputs.snapshot(),
      reports,
      lastReport,
    }),
    counts: () => ({ watched: window.rows, reports }),
    details: () => ({
      quality: {
        window: window.quality(),
        byVersion: Object.fromEntries(
          [...versions].flatMap(([number, scored]): [number, LiveQuality][] => {
            const quality = scored.quality();
            return quality === null ? [] : [[number, { ...quality, rows: scored.rows }]];
          }),
        ),
      },
      drift: {
        version,
        statistic: harm?.statistic ?? 0,
        threshold: line.drift.falseAlarmEvery,
        rows: harm?.rows ?? 0,
        slice: harm === null ? null : describeSlice(harm, names),
        referenceLoss: losses.reference,
        liveLoss: losses.live,
        shifts: inputs.shifts().slice(0, 5),
        lastReport,
      },
    }),
  };
}

/** The report begins a trace that leads to the last node swapped. */
async function emitReport(
  topic: string,
  cause: StreamRecord,
  report: DriftReport,
  emit: Emit,
): Promise<void> {
  const attributes = {
    "millrace.line": report.line,
    "millrace.drift.kind": report.kind,
    "millrace.drift.id": report.id,
  };
  await withSpan("drift report", { attributes }, async () => {
    emit(cause, topic, {
      key: report.line,
      value: JSON.stringify(report),
      headers: { [HEADERS.traceparent]: currentTraceparent() },
    });
  });
}

const NO_LOSSES: Losses = { referenceRows: 0, reference: 0, rows: 0, live: 0 };

function withLoss({ referenceRows, reference, rows, live }: Losses, loss: number): Losses {
  const learning = referenceRows < REFERENCE_ROWS;
  return {
    referenceRows: learning ? referenceRows + 1 : referenceRows,
    reference: learning ? reference + (loss - reference) / (referenceRows + 1) : reference,
    rows: rows + 1,
    live: live + (loss - live) * Math.max(LIVE_LOSS_WEIGHT, 1 / (rows + 1)),
  };
}

/** The score of the first model ever trained: the shadow's, or the champion's own while it is that model. */
function firstScore({ version, score, shadows }: Prediction): number | null {
  const shadow = Object.values(shadows)[0];
  if (shadow !== undefined) return shadow;
  return version === BASELINE_VERSION ? null : score;
}

function scoredOf(versions: Map<number, ScoredLabels>, version: number): ScoredLabels {
  let scored = versions.get(version);
  if (scored === undefined) {
    scored = new ScoredLabels(VERSION_ROWS);
    versions.set(version, scored);
    const oldest = Math.min(...versions.keys());
    if (versions.size > VERSIONS_KEPT) versions.delete(oldest);
  }
  return scored;
}

/** Drops from the front, which holds the oldest, while older than `before`. */
function dropOlder(map: Map<string, { readonly time: number }>, before: number): void {
  for (const [id, { time }] of map) {
    if (time >= before) return;
    map.delete(id);
  }
}

/** NaN when fewer than half of the values are known: such a feature is not sliced by. */
function median(values: readonly (number | null)[]): number {
  const known = values.filter((value) => value !== null).sort((a, b) => a - b);
  return known.length < values.length / 2 ? Number.NaN : (known[Math.floor(known.length / 2)] as number);
}

function describeSlice(harm: HarmDetector, names: readonly string[]): string {
  const { feature, above, sign } = harm.leader().slice;
  const where = feature === null ? "everywhere" : `${names[feature]} ${above ? "above" : "below"} its median`;
  return `${where}: ${sign > 0 ? "more" : "less"} than predicted`;
}
