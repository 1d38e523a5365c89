import { compileFeatures, featuresReachMs } from "@millrace/features";
import type { LineDefinition } from "@millrace/lines";
import type { Block } from "@millrace/stream";
import type { AnswerOptions } from "./answer-questions.ts";
import type { BlockFiles } from "./block-files.ts";
import { divideQuestions, QuestionError, type Questions, questionError } from "./questions.ts";
import { blocksOf } from "./replay.ts";
import type { ReplayJob } from "./replay-job.ts";
import { replayInThreads } from "./replay-threads.ts";
import type { ScanModule } from "./scan-module.ts";

/** What is replayed, and how. */
export interface ReplaySource {
  /** Archived blocks of the line's event log, of all partitions, in any order. */
  readonly blocks: readonly Block[];
  readonly files: Pick<BlockFiles, "fetch" | "file">;
  readonly scan: ScanModule;
  /** At most so many threads, each with one partition at a time. */
  readonly threads: number;
  /** Events replayed so far, and about how many there are. */
  readonly onProgress: (events: number, ofEvents: number) => void;
  readonly signal: AbortSignal;
}

/** The vectors of questions. */
export interface TrainingSet {
  /** Names of a vector's values, in model order. */
  readonly names: readonly string[];
  /** Float64Array [questions x values], row-major, in the order of the questions; NaN where a value is not known. */
  readonly values: Float64Array;
  /** Events replayed. */
  readonly events: number;
  /** Questions whose windows reach back to before the archive begins. */
  readonly incomplete: number;
}

/**
 * Computes the vectors of questions from the archive, each of the events that it may see (`AnswerOptions`), by the code
 * of the stream: partitions side by side, each in one pass over its events in about the memory of the stream's own
 * state. Blocks that no question reaches are not read. Throws a QuestionError for questions that cannot be answered, a
 * RangeError for columns that do not fit the line and for gaps in the archive, and the signal's reason.
 */
export async function trainingSet(
  line: LineDefinition,
  questions: Questions,
  options: AnswerOptions,
  source: ReplaySource,
): Promise<TrainingSet> {
  const plan = compileFeatures(line);
  const reachMs = featuresReachMs(plan);
  const { names } = plan;
  if (options.order === "acceptance") checkKnownAt(questions);
  const divided = divideQuestions(line, questions);
  const bytes = questions.times.length * names.length * Float64Array.BYTES_PER_ELEMENT;
  const values = new Float64Array(new SharedArrayBuffer(bytes)).fill(Number.NaN);
  let incomplete = 0;
  const jobs = [...divided].map(([partition, ours]): ReplayJob & { readonly blocks: readonly Block[] } => {
    const archived = inLogOrder(source.blocks, partition);
    const [first] = archived;
    if (first !== undefined && first.firstOffset > 0) {
      const begin = archived.reduce(
        (min, { minTimeMs }) => Math.min(min, minTimeMs),
        Number.POSITIVE_INFINITY,
      );
      for (const time of ours.times) if (time - reachMs < begin) incomplete++;
    }
    const blocks = reachedBlocks(archived, ours.times, reachMs, options);
    return { kind: "questions", line, questions: ours, options, values, blocks, ...jobFiles(blocks, source) };
  });
  const { results, events } = await replayAll(jobs, source);
  const late = results.flatMap((result) =>
    result.kind === "questions" && result.late.count > 0 ? [result.late] : [],
  );
  if (late.length > 0) {
    const count = late.reduce((sum, one) => sum + one.count, 0);
    const row = late.reduce((least, { first }) => Math.min(least, first), Number.POSITIVE_INFINITY);
    const { lateMax } = line.streams[line.predict.on] as LineDefinition["streams"][string];
    throw new QuestionError(
      `${count} of ${questions.times.length} questions, first question ${row + 1}, lie further back than ${lateMax} ` +
        `before what was known by then: stream "${line.predict.on}" takes no event so late`,
      row,
      count,
    );
  }
  return { names, values, events, incomplete };
}

/** A partition's blocks in the log's order. Throws a RangeError when there is a gap among them. */
export function inLogOrder(blocks: readonly Block[], partition: number): readonly Block[] {
  const ours = blocks.filter((block) => block.partition === partition);
  const from = ours.reduce(
    (first, { firstOffset }) => Math.min(first, firstOffset),
    Number.POSITIVE_INFINITY,
  );
  const until = ours.reduce((end, { nextOffset }) => Math.max(end, nextOffset), 0);
  return ours.length === 0 ? [] : blocksOf(ours, { from, until });
}

/** What a job says of the blocks that it reads. */
export function jobFiles(
  blocks: readonly Block[],
  { files }: Pick<ReplaySource, "files">,
): Pick<ReplayJob, "files" | "rows"> {
  return {
    files: blocks.map(({ digest }) => files.file(digest)),
    rows: blocks.reduce((sum, { rows }) => sum + rows, 0),
  };
}

/** Fetches the blocks of all jobs, and does the jobs. */
export async function replayAll(
  jobs: readonly (ReplayJob & { readonly blocks: readonly Block[] })[],
  { files, scan, threads, onProgress, signal }: ReplaySource,
): Promise<{ readonly results: Awaited<ReturnType<typeof replayInThreads>>; readonly events: number }> {
  await files.fetch(jobs.flatMap(({ blocks }) => blocks));
  const ofEvents = jobs.reduce((sum, { rows }) => sum + rows, 0);
  let events = 0;
  const onEvents = (more: number): void => {
    events += more;
    onProgress(events, ofEvents);
  };
  onProgress(0, ofEvents);
  const results = await replayInThreads(
    jobs.map(({ blocks: _, ...job }) => job),
    { scan, threads, onEvents, signal },
  );
  return { results, events };
}

/** Blocks with events that a question may see. In order of acceptance none is left out from the first such one on. */
function reachedBlocks(
  archived: readonly Block[],
  times: Float64Array,
  reachMs: number,
  { order }: AnswerOptions,
): readonly Block[] {
  const earliest = times.reduce((min, time) => Math.min(min, time), Number.POSITIVE_INFINITY) - reachMs;
  const latest = times.reduce((max, time) => Math.max(max, time), Number.NEGATIVE_INFINITY);
  if (order === "event-time") {
    return archived.filter(({ minTimeMs, maxTimeMs }) => maxTimeMs >= earliest && minTimeMs <= latest);
  }
  const first = archived.findIndex(({ maxTimeMs }) => maxTimeMs >= earliest);
  return first < 0 ? [] : archived.slice(first);
}

function checkKnownAt({ times, knownAt }: Questions): void {
  if (knownAt === null) {
    throw new RangeError(
      "in order of acceptance each question needs the time by which events had to be accepted",
    );
  }
  const row = knownAt.findIndex((time) => !Number.isFinite(time));
  if (row >= 0 && row < times.length)
    throw questionError(row, "does not say by when events had to be accepted");
}
