import { compileFeatures, FeatureEngine, featuresReachMs } from "@millrace/features";
import { checkedDurationMs, type LineDefinition, type StreamDefinition } from "@millrace/lines";
import { EventCodes } from "./event-codes.ts";
import { QuestionRows } from "./question-rows.ts";
import type { PartitionQuestions } from "./questions.ts";
import type { ReplayScan } from "./scan-module.ts";

/** In which order events are replayed, and by that which of them a question sees. */
export type ReplayOrder =
  /** Sorted by event time: a question sees the events up to its time, however late they came. */
  | "event-time"
  /** As the log has them: a question sees what had been accepted by its `knownAt`. */
  | "acceptance";

/** How the events of a line are replayed for questions. */
export interface AnswerOptions {
  readonly order: ReplayOrder;
  /** Events that were accepted later (wall clock, ms) are left out; null: none. */
  readonly knownAtMs: number | null;
  /** `read`: a question counts like the event that it asks for; `readByKey`: it does not. */
  readonly counted: "read" | "readByKey";
}

export interface AnswerPorts {
  readonly scan: Pick<ReplayScan, "scanCoded">;
  /** So many events more have been replayed. */
  readonly onEvents: (events: number) => void;
  readonly signal: AbortSignal;
}

/** Questions that lie further back than their stream took events by then: the engine has forgotten what they need. */
export interface LateQuestions {
  readonly count: number;
  /** Least row of them among all questions; Infinity where there are none. */
  readonly first: number;
}

const EVENTS_A_REPORT = 50_000;

/**
 * Replays the events of one partition through the engine of the stream, in one pass, and writes the vector of each
 * question to its row of `values` [all questions x values]. `files` hold the partition's blocks, in the log's order.
 */
export async function answerQuestions(
  line: LineDefinition,
  files: readonly string[],
  questions: PartitionQuestions,
  { order, knownAtMs, counted }: AnswerOptions,
  values: Float64Array,
  { scan, onEvents, signal }: AnswerPorts,
): Promise<LateQuestions> {
  const plan = compileFeatures(line);
  const engine = new FeatureEngine(plan, null);
  const events = new EventCodes(line, engine);
  const rows = new QuestionRows(line, questions, engine);
  const isByTime = order === "event-time";
  const due = isByTime ? questions.times : (questions.knownAt as Float64Array);
  const inOrder = Uint32Array.from(due.keys()).sort((a, b) => (due[a] as number) - (due[b] as number));
  const lateMaxMs = checkedDurationMs((line.streams[line.predict.on] as StreamDefinition).lateMax);
  const width = plan.names.length;
  const late = { count: 0, first: Number.POSITIVE_INFINITY };

  const answer = (question: number): void => {
    const row = questions.rows[question] as number;
    const asked = rows.read(question);
    if (asked.time < engine.streamTimeMs(line.predict.on) - lateMaxMs) {
      late.count++;
      late.first = Math.min(late.first, row);
    } else engine[counted](asked, values.subarray(row * width, (row + 1) * width));
  };

  const { times } = questions;
  const earliest = times.reduce((min, time) => Math.min(min, time), Number.POSITIVE_INFINITY);
  const latest = times.reduce((max, time) => Math.max(max, time), Number.NEGATIVE_INFINITY);
  const where = [
    ...(isByTime ? [{ column: "time", atLeast: earliest - featuresReachMs(plan), atMost: latest }] : []),
    ...(knownAtMs === null ? [] : [{ column: "accepted_at", atMost: knownAtMs }]),
  ];
  const orderBy = isByTime ? ["time", "accepted_at", "offset"] : [];
  let next = 0;
  let replayed = 0;
  const batches = files.length === 0 ? [] : scan.scanCoded(files, events.schema, { where, orderBy, signal });
  scanning: for await (const batch of batches) {
    signal.throwIfAborted();
    events.open(batch);
    const stamps = batch.columns[isByTime ? "time" : "accepted_at"] as Float64Array;
    for (let i = 0; i < batch.rows; i++) {
      const stamp = stamps[i] as number;
      while (next < inOrder.length && (due[inOrder[next] as number] as number) < stamp) {
        answer(inOrder[next++] as number);
      }
      if (next === inOrder.length) break scanning;
      const event = events.read(i);
      if (event === null) continue;
      engine.update(event);
      replayed++;
    }
    if (replayed >= EVENTS_A_REPORT) {
      onEvents(replayed);
      replayed = 0;
    }
  }
  onEvents(replayed);
  while (next < inOrder.length) answer(inOrder[next++] as number);
  return late;
}
