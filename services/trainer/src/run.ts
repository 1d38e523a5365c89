import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BlockFiles } from "@millrace/archive";
import { type Candidate, candidatesOf } from "@millrace/catalogue";
import { lineTopic, type Progress, type Trigger, type Verdict } from "@millrace/contracts";
import type { LearningLine } from "@millrace/lines";
import { type Log, withSpan } from "@millrace/runtime";
import { BASELINE_RECIPE } from "@millrace/versions";
import { composeDataset, type Dataset, readHeldOut, reopenDataset } from "./build.ts";
import type { Collector } from "./collect.ts";
import { judge, judgeBaseline, sentences } from "./judge.ts";
import type { Ledger } from "./ledger.ts";
import type { TrainerMetrics } from "./metrics.ts";
import { patiently, StoppedError } from "./patience.ts";
import type { Ports, Settings } from "./ports.ts";
import { promote } from "./promote.ts";
import { register } from "./register.ts";
import type { Run, RunBook } from "./run-book.ts";
import { RunFailed } from "./run-failed.ts";
import { isTrained, type Serving, type ServingReader, type Version } from "./serving.ts";
import { type FailedCandidate, type TrainedCandidate, trainCandidate } from "./train.ts";

/** A run that was started so often without coming to an end is given up. */
const STARTS_MAX = 3;
/** Most characters of a run's reason: the registry takes no more. */
const REASON_MAX = 4_000;
const MODEL_BYTES_MAX = 256 * 1024 * 1024;
const BASELINE: Candidate = { name: BASELINE_RECIPE, recipe: BASELINE_RECIPE, window: "all", config: {} };

/** Everything a run works with, for as long as the trainer holds the line's lease. */
export interface Bench {
  readonly line: LearningLine;
  readonly featureDigest: string;
  readonly epoch: bigint;
  readonly book: RunBook;
  readonly collector: Collector;
  readonly files: BlockFiles;
  readonly serving: ServingReader;
  readonly ledger: Ledger;
  readonly metrics: TrainerMetrics;
  readonly ports: Ports;
  readonly settings: Settings;
  /** Aborts when the trainer stops or has lost the lease. */
  readonly signal: AbortSignal;
  /** Shows people how far the run is. */
  readonly show: (view: RunView) => void;
}

/** A run in hand, as the status shows it. */
export interface RunView {
  readonly id: string;
  readonly trigger: string;
  readonly state: string;
  readonly candidate: string;
  /** 0..1 of this stage. */
  readonly done: number;
  readonly stageMs: Readonly<Record<string, number>>;
}

/** How a run ended. */
export interface RunEnd {
  /** rolling-out: the version has become challenger; what becomes of it is decided by its rollout. */
  readonly state: "promoted" | "rolling-out" | "rejected" | "failed";
  readonly reason: string;
  readonly verdict: Verdict | null;
}

/**
 * Performs a run from admission to its end: build, train, judge, register, promote or begin a rollout. A run that an earlier trainer
 * began is taken up where its effects are: its dataset and its registered version are not made again.
 * Throws a StoppedError when the signal aborts, and what the registry refused; the run then stays unfinished.
 */
export async function performRun(admitted: Run, bench: Bench): Promise<RunEnd> {
  const { book, ports, signal } = bench;
  const end = async (
    state: RunEnd["state"],
    reason: string,
    made: { readonly version: Version; readonly verdict: Verdict } | null,
  ): Promise<RunEnd> => {
    const version = made?.version.version ?? 0n;
    await book.update(admitted.id, { state, version, reason: reason.slice(0, REASON_MAX) });
    bench.ledger.progress(progressOf(admitted, "end", "", `${state}: ${reason}`, 1, ports));
    bench.metrics.runEnded(admitted.line, admitted.trigger, state);
    await rm(runFolder(bench.settings, admitted), { recursive: true, force: true });
    return { state, reason, verdict: made?.verdict ?? null };
  };
  if (admitted.attempts >= STARTS_MAX) {
    return end("failed", `The run was started ${admitted.attempts} times and never came to its end.`, null);
  }
  const run = await book.update(admitted.id, { state: "building", attempts: admitted.attempts + 1 });
  try {
    return await withSpan(
      "training run",
      {
        traceparent: run.traceparent,
        attributes: { "millrace.line": run.line, "millrace.run": run.id, "millrace.trigger": run.trigger },
      },
      async () => {
        const made = await produceVersion(run, bench);
        const { version, verdict } = made;
        if (!version.passed) return end("rejected", sentence(verdict.reason), made);
        const promotion = await stage(run, "promote", "", bench, () =>
          patiently("promote", ports, signal, () =>
            promote(version, bench.epoch, verdict.reason, bench.line.rollout, bench.serving, ports),
          ),
        );
        const reason = promotion.state === "rejected" ? promotion.reason : verdict.reason;
        return end(promotion.state, sentence(reason), made);
      },
    );
  } catch (error) {
    if (signal.aborted || error instanceof StoppedError) throw new StoppedError(`run ${run.id}`);
    if (error instanceof RunFailed) return end("failed", error.message, null);
    if (run.attempts < STARTS_MAX) throw error;
    return end("failed", sentence(`it ended with an error ${run.attempts} times: ${String(error)}`), null);
  }
}

/** The registered version of the run, with its verdict: what an earlier start registered, or a new one. */
async function produceVersion(run: Run, bench: Bench): Promise<{ version: Version; verdict: Verdict }> {
  const { ports, signal, serving } = bench;
  const read = <T>(what: string, work: () => Promise<T>): Promise<T> => patiently(what, ports, signal, work);
  const versions = await read("list the versions", () => serving.versions());
  const earlier = versions.find((version) => version.runId === run.id);
  if (earlier !== undefined)
    return { version: earlier, verdict: JSON.parse(earlier.evidenceJson) as Verdict };

  const served = await read("read what serves", () => serving.read());
  const made =
    run.trigger === "bootstrap" ? await makeBaseline(run, bench) : await makeModel(run, served, bench);
  const version = await stage(run, "register", made.winner.candidate.name, bench, () =>
    read("register the version", () =>
      register(
        {
          ...made,
          line: bench.line,
          featureDigest: bench.featureDigest,
          epoch: bench.epoch,
          runId: run.id,
          judgedAgainst: served.championVersion,
        },
        ports,
        bench.settings,
      ),
    ),
  );
  return { version, verdict: made.verdict };
}

interface Made {
  readonly winner: TrainedCandidate;
  readonly verdict: Verdict;
  readonly datasetDigest: string;
  readonly trainedUntilMs: number;
}

async function makeBaseline(run: Run, bench: Bench): Promise<Made> {
  await bench.book.update(run.id, { state: "training" });
  const { trained, failed } = await trainAll(run, [BASELINE], null, null, bench);
  const winner = trained[0];
  if (winner === undefined) throw new RunFailed(`There is no baseline: ${sentences(failed)}`);
  await bench.book.update(run.id, { state: "judging" });
  const verdict = await stage(run, "judge", "", bench, () =>
    judgeBaseline(winner, bench, bench.ports.loadModel),
  );
  return { winner, verdict, datasetDigest: "", trainedUntilMs: 0 };
}

async function makeModel(run: Run, served: Serving, bench: Bench): Promise<Made> {
  const { ports, files, signal } = bench;
  const read = <T>(what: string, work: () => Promise<T>): Promise<T> => patiently(what, ports, signal, work);
  const { dataset, champion } = await stage(run, "build", "", bench, async () => ({
    dataset: await read("build the dataset", () => openDataset(run, bench)),
    champion: await read("fetch the champion", () => fetchChampion(served, ports)),
  }));
  for (const { text } of dataset.manifest.findings) ports.log.warn({ run: run.id }, text);
  await bench.book.update(run.id, { state: "training", datasetDigest: dataset.digest });

  const candidates = candidatesOf(bench.line.recipes, dataset.manifest.changeMs);
  const parent = served.champion !== null && isTrained(served.champion) ? champion : null;
  const { trained, failed } = await trainAll(run, candidates, dataset, parent, bench);
  if (trained.length === 0) throw new RunFailed(`No candidate could be trained: ${sentences(failed)}`);
  await bench.book.update(run.id, { state: "judging" });
  const { verdict, winner, refused } = await stage(run, "judge", "", bench, async () => {
    const heldOut = await readHeldOut(dataset, files, ports);
    return judge({ ...bench, trained, champion, dataset, heldOut }, ports.loadModel, bench.settings.threads);
  });
  const absent = sentences([...failed, ...refused]);
  return {
    winner,
    verdict: absent === "" ? verdict : { ...verdict, reason: `${verdict.reason}. Not judged: ${absent}` },
    datasetDigest: dataset.digest,
    trainedUntilMs: dataset.manifest.heldOutFromMs,
  };
}

async function openDataset(run: Run, bench: Bench): Promise<Dataset> {
  const { line, featureDigest, collector, files, ports } = bench;
  const folder = runFolder(bench.settings, run);
  if (run.datasetDigest !== "") {
    const earlier = await reopenDataset(run.datasetDigest, folder, files, ports);
    // The line may have been applied with other features since.
    if (earlier.manifest.featureDigest === featureDigest) return earlier;
  }
  await collector.flush();
  return composeDataset(
    {
      line,
      featureDigest,
      topic: lineTopic(line.name, "examples"),
      blocks: collector.blocks(),
      streamTimeMs: collector.streamTimeMs(),
      acceptedAtMs: null,
      changeMs: run.changeTimeMs === 0n ? null : Number(run.changeTimeMs),
      cause: { runId: run.id, trigger: run.trigger as Trigger, cause: run.cause },
      folder,
    },
    files,
    ports,
  );
}

async function fetchChampion({ champion }: Serving, { objects }: Ports): Promise<Uint8Array | null> {
  return champion === null ? null : objects.get(champion.artifactDigest, { bytesMax: MODEL_BYTES_MAX });
}

/** Trains the candidates one after another, each with all threads. */
async function trainAll(
  run: Run,
  candidates: readonly Candidate[],
  dataset: Dataset | null,
  parent: Uint8Array | null,
  bench: Bench,
): Promise<{ trained: TrainedCandidate[]; failed: FailedCandidate[] }> {
  const { settings, ports, signal, ledger } = bench;
  const folder = runFolder(settings, run);
  await mkdir(folder, { recursive: true });
  const parentFile = parent === null ? null : join(folder, "parent.onnx");
  if (parent !== null && parentFile !== null) await writeFile(parentFile, parent);
  const request = {
    line: bench.line,
    featureDigest: bench.featureDigest,
    runId: run.id,
    attempt: run.attempts,
    dataset,
    parentFile,
    folder,
  };
  const trained: TrainedCandidate[] = [];
  const failed: FailedCandidate[] = [];
  for (const candidate of candidates) {
    const { name } = candidate;
    const result = await stage(run, "train", name, bench, () =>
      trainCandidate(candidate, request, settings, ports.log, signal, (report) => {
        if (report.type !== "progress") return;
        ledger.progress(progressOf(run, "train", name, report.message, report.done, ports));
        bench.show({ ...viewOf(run, "train", name, bench), done: report.done });
      }),
    );
    if ("model" in result) trained.push(result);
    else {
      failed.push(result);
      ports.log.warn({ run: run.id, candidate: name, reason: result.reason }, "candidate sits out");
      ledger.progress(progressOf(run, "train", name, `sits out: ${result.reason}`, 1, ports));
    }
  }
  return { trained, failed };
}

/** Runs one stage: a span, progress for people, and its time kept with the run. */
async function stage<T>(
  run: Run,
  name: Exclude<Progress["stage"], "end">,
  candidate: string,
  bench: Bench,
  work: () => Promise<T>,
): Promise<T> {
  const { ports, ledger, book, metrics, signal } = bench;
  ledger.progress(progressOf(run, name, candidate, "begins", 0, ports));
  bench.show(viewOf(run, name, candidate, bench));
  const startedAt = performance.now();
  const attributes = candidate === "" ? {} : { "millrace.candidate": candidate };
  const result = await withSpan(name, { attributes }, async () => work());
  const ms = Math.round(performance.now() - startedAt);
  if (signal.aborted) throw new StoppedError(`stage ${name}`);
  metrics.stageEnded(name, ms / 1_000);
  const before = Number(book.all().find(({ id }) => id === run.id)?.stageMs[name] ?? 0n);
  await book.update(run.id, { stageMs: { [name]: BigInt(before + ms) } });
  ledger.progress(progressOf(run, name, candidate, `done in ${ms} ms`, 1, ports));
  log(ports.log, run, name, candidate, ms);
  bench.show({ ...viewOf(run, name, candidate, bench), done: 1 });
  return result;
}

function log(to: Log, run: Run, name: string, candidate: string, ms: number): void {
  to.info({ line: run.line, run: run.id, stage: name, candidate, ms }, "stage done");
}

function viewOf(run: Run, state: string, candidate: string, { book }: Bench): RunView {
  const stageMs = book.all().find(({ id }) => id === run.id)?.stageMs ?? {};
  return {
    id: run.id,
    trigger: run.trigger,
    state,
    candidate,
    done: 0,
    stageMs: Object.fromEntries(Object.entries(stageMs).map(([key, ms]) => [key, Number(ms)])),
  };
}

function progressOf(
  run: Run,
  name: Progress["stage"],
  candidate: string,
  message: string,
  done: number,
  { clock }: Ports,
): Progress {
  return { line: run.line, runId: run.id, stage: name, candidate, message, done, atMs: clock.now() };
}

/** Where a run keeps what it needs only until its end. */
export function runFolder(settings: Settings, run: Pick<Run, "id" | "line">): string {
  return join(settings.data, "work", `${run.line}-${run.id}`);
}

const sentence = (text: string): string => {
  const trimmed = text.charAt(0).toUpperCase() + text.slice(1);
  return trimmed.endsWith(".") ? trimmed : `${trimmed}.`;
};
