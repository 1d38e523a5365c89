import { compileFeatures, FeatureEngine, type FeaturePlan, featuresReachMs } from "@millrace/features";
import { checkedDurationMs, type LineDefinition, type StreamDefinition } from "@millrace/lines";
import { commonKey } from "./common-key.ts";
import { EventCodes } from "./event-codes.ts";
import { KeyGroups, NOT_AWAITED } from "./key-groups.ts";
import { QuestionRows } from "./question-rows.ts";
import type { PartitionQuestions } from "./questions.ts";
import type { CodedScanOptions, CodedSchema, ReplayScan } from "./scan-module.ts";

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

/** The replay of one partition for its questions. */
export interface AnswerJob {
  readonly line: LineDefinition;
  /** Files with the partition's blocks, in the log's order, and about how many events they hold. */
  readonly files: readonly string[];
  readonly rows: number;
  readonly questions: PartitionQuestions;
  readonly options: AnswerOptions;
  /** Float64Array [all questions x values]: where the vectors are written. */
  readonly values: Float64Array;
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
 * question to its row of `values`. Sorted by event time, a line whose windows have a key in common is replayed in groups
 * of keys: nothing comes late there, so that no vector depends on how far other keys' events have come.
 */
export async function answerQuestions(
  { line, files, rows, questions, options, values }: AnswerJob,
  { scan, onEvents, signal }: AnswerPorts,
): Promise<LateQuestions> {
  const { order, knownAtMs, counted } = options;
  const isByTime = order === "event-time";
  const plan = compileFeatures(line);
  const groups = new KeyGroups(isByTime ? commonKey(plan) : null, questions, rows);
  let engine = new FeatureEngine(plan, null);
  let group = 0;
  const events = new EventCodes(line, engine);
  const asked = new QuestionRows(line, questions, engine);
  const enter = (next: number): void => {
    if (next === group) return;
    group = next;
    engine = new FeatureEngine(plan, null);
    events.use(engine);
    asked.use(engine);
  };

  const width = plan.names.length;
  const lateMaxMs = checkedDurationMs((line.streams[line.predict.on] as StreamDefinition).lateMax);
  const late = { count: 0, first: Number.POSITIVE_INFINITY };
  const answer = (question: number): void => {
    enter(groups.ofQuestion(question));
    const row = questions.rows[question] as number;
    const asking = asked.read(question);
    if (asking.time < engine.streamTimeMs(line.predict.on) - lateMaxMs) {
      late.count++;
      late.first = Math.min(late.first, row);
    } else engine[counted](asking, values.subarray(row * width, (row + 1) * width));
  };

  const due = isByTime ? questions.times : (questions.knownAt as Float64Array);
  const waiting = Uint32Array.from(due.keys());
  const sortQuestions = (): void => {
    waiting.sort((a, b) => {
      return groups.ofQuestion(a) - groups.ofQuestion(b) || (due[a] as number) - (due[b] as number);
    });
  };
  sortQuestions();
  let next = 0;
  const answerBefore = (inGroup: number, stamp: number): void => {
    for (; next < waiting.length; next++) {
      const question = waiting[next] as number;
      const itsGroup = groups.ofQuestion(question);
      if (itsGroup > inGroup || (itsGroup === inGroup && (due[question] as number) >= stamp)) return;
      answer(question);
    }
  };

  const schema: CodedSchema = isByTime ? events.schema : { ...events.schema, accepted_at: "float64" };
  const scanOptions = {
    where: boundsOf(questions, plan, order, knownAtMs),
    orderBy: isByTime ? ["time", "accepted_at", "offset"] : [],
    ...groups.scan,
    signal,
  };
  const isNeeded = plan.tables.length > 0 && files.length > 0;
  let replayed = 0;
  for await (const batch of isNeeded ? scan.scanCoded(files, schema, scanOptions) : []) {
    signal.throwIfAborted();
    events.open(batch);
    if (groups.open(batch)) sortQuestions();
    const placed = groups.ofEvents(batch);
    const stamps = batch.columns[isByTime ? "time" : "accepted_at"] as Float64Array;
    for (let i = 0; i < batch.rows; i++) {
      const itsGroup = placed[i] as number;
      if (itsGroup === NOT_AWAITED) continue;
      answerBefore(itsGroup, stamps[i] as number);
      enter(itsGroup);
      const event = events.read(i);
      if (event !== null) engine.update(event);
    }
    replayed += batch.rows;
    if (next === waiting.length) break;
    if (replayed >= EVENTS_A_REPORT) {
      onEvents(replayed);
      replayed = 0;
    }
  }
  onEvents(replayed);
  answerBefore(groups.count, Number.POSITIVE_INFINITY);
  return late;
}

/** Bounds on the events that a question may see. */
function boundsOf(
  { times }: PartitionQuestions,
  plan: FeaturePlan,
  order: ReplayOrder,
  knownAtMs: number | null,
): CodedScanOptions["where"] {
  const known = knownAtMs === null ? [] : [{ column: "accepted_at", atMost: knownAtMs }];
  // What was accepted before is needed to know how far the stream had come.
  if (order === "acceptance") return known;
  const earliest = times.reduce((min, time) => Math.min(min, time), Number.POSITIVE_INFINITY);
  const latest = times.reduce((max, time) => Math.max(max, time), Number.NEGATIVE_INFINITY);
  return [{ column: "time", atLeast: earliest - featuresReachMs(plan), atMost: latest }, ...known];
}
