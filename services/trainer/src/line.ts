import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { BlockFiles } from "@millrace/archive";
import { canonicalJson, type LineStatus, type Verdict } from "@millrace/contracts";
import { featurePart, type LearningLine } from "@millrace/lines";
import { every, sha256Hex, sleep } from "@millrace/runtime";
import { type Collector, startCollect } from "./collect.ts";
import { type Governor, startGovern } from "./govern.ts";
import type { Ledger } from "./ledger.ts";
import type { TrainerMetrics } from "./metrics.ts";
import { StoppedError } from "./patience.ts";
import type { Ports, Settings } from "./ports.ts";
import { type RolloutJudge, startRolloutJudge } from "./rollout.ts";
import { type Bench, performRun, type RunView, runFolder } from "./run.ts";
import { RunBook } from "./run-book.ts";
import { ServingReader } from "./serving.ts";

const LEASE_TTL_MS = 15_000;
const LEASE_RENEW_MS = 5_000;
const LOOK_MS = 1_000;

/** What all lines of a trainer share. */
export interface Workshop {
  /** Who asks for leases: kept over restarts, unique among trainers. */
  readonly holder: string;
  readonly ports: Ports;
  readonly settings: Settings;
  readonly files: BlockFiles;
  readonly ledger: Ledger;
  readonly metrics: TrainerMetrics;
}

/** One line in the hands of this trainer, or waiting for another trainer to let go of it. */
export interface TrainedLine {
  status(): LineStatus;
  stop(): Promise<void>;
}

/** What there is while the lease is held. */
interface Tenure {
  readonly epoch: bigint;
  collector?: Collector;
  governor?: Governor;
  /** None for a line whose versions are promoted at once. */
  judge?: RolloutJudge;
  book?: RunBook;
}

/**
 * Works on a line for as long as this trainer holds its lease: collects, governs, judges rollouts, performs runs one
 * after another.
 * The lease is renewed every 5 s and runs out after 15 s. While the registry is away the work goes on: nobody else
 * can get the lease either, and every write carries its epoch.
 */
export function startLine(line: LearningLine, workshop: Workshop): TrainedLine {
  const { ports, settings } = workshop;
  const { log } = ports;
  const featureDigest = sha256Hex(canonicalJson(featurePart(line)));
  const stopped = new AbortController();
  let tenure: Tenure | null = null;
  let run: RunView | null = null;
  let lastVerdict: Verdict | null = null;

  /** The epoch of the lease; null: another trainer holds it. */
  const acquire = async (): Promise<bigint | null> => {
    try {
      const request = { line: line.name, holder: workshop.holder, ttlMs: BigInt(LEASE_TTL_MS) };
      return (await ports.registry.acquireLease(request)).epoch;
    } catch (error) {
      if (ports.codeOf(error) === "aborted") return null;
      throw error;
    }
  };

  const hold = async (epoch: bigint): Promise<void> => {
    const lost = new AbortController();
    const signal = AbortSignal.any([stopped.signal, lost.signal]);
    const held: Tenure = { epoch };
    tenure = held;
    log.info({ line: line.name, epoch: Number(epoch) }, "lease held");
    const renewing = every(
      LEASE_RENEW_MS,
      signal,
      async () => {
        if ((await acquire()) === epoch) return;
        log.warn({ line: line.name }, "lease lost");
        lost.abort();
      },
      (error) => log.warn({ err: error, line: line.name }, "the lease could not be renewed"),
    );
    try {
      await work(held, signal);
    } catch (error) {
      if (error instanceof StoppedError) return;
      // An old epoch: somebody else took over while this trainer was away. Anything else is a defect.
      if (ports.codeOf(error) !== "failedPrecondition") throw error;
      log.warn({ err: error, line: line.name }, "the registry refuses this trainer's writes");
    } finally {
      lost.abort();
      await Promise.all([renewing, held.governor?.stop(), held.judge?.stop(), held.collector?.stop()]);
      tenure = null;
      run = null;
    }
  };

  const work = async (held: Tenure, signal: AbortSignal): Promise<void> => {
    const { epoch } = held;
    const book = await RunBook.open(line.name, epoch, ports, signal);
    held.book = book;
    await sweep(book, line, settings);
    const scratch = join(settings.data, line.name, "collect");
    const collector = await startCollect(line, workshop.files, scratch, ports, signal);
    held.collector = collector;
    const bench: Bench = {
      ...workshop,
      line,
      featureDigest,
      epoch,
      book,
      collector,
      signal,
      serving: new ServingReader(line.name, featureDigest, ports.registry),
      show: (view) => {
        run = view;
      },
    };
    if (line.rollout.strategy !== "direct") held.judge = await startRolloutJudge(bench);
    let admitted = new AbortController();
    held.governor = await startGovern(bench, () => admitted.abort());
    while (!signal.aborted) {
      admitted = new AbortController();
      const next = book.next();
      if (next === undefined) {
        await sleep(LOOK_MS, AbortSignal.any([signal, admitted.signal]));
        continue;
      }
      try {
        const end = await performRun(next, bench);
        lastVerdict = end.verdict ?? lastVerdict;
        run = run === null ? null : { ...run, state: end.state, candidate: "", done: 1 };
        log.info({ line: line.name, run: next.id, ...end, verdict: undefined }, "run ended");
      } catch (error) {
        if (error instanceof StoppedError) throw error;
        if (ports.codeOf(error) === "failedPrecondition") throw error;
        log.error({ err: error, line: line.name, run: next.id }, "the run is started again");
        await sleep(LOOK_MS, signal);
      }
    }
  };

  const holding = every(
    LOOK_MS,
    stopped.signal,
    async () => {
      const epoch = await acquire();
      if (epoch !== null) await hold(epoch);
    },
    (error) => {
      if (ports.codeOf(error) !== null)
        log.warn({ err: error, line: line.name }, "the line could not be worked on");
      else ports.fail(error);
    },
  );

  return {
    status: () => ({
      counts: {
        examples: tenure?.collector?.examples() ?? 0,
        decisions: tenure?.governor?.decisions() ?? 0,
        runs: tenure?.book?.all().length ?? 0,
      },
      lag: {
        collect: tenure?.collector?.lag() ?? 0,
        govern: tenure?.governor?.lag() ?? 0,
        rollout: tenure?.judge?.lag() ?? 0,
      },
      streamTimeMs: tenure?.collector?.streamTimeMs() ?? 0,
      details: {
        lease: tenure === null ? "held by another trainer" : Number(tenure.epoch),
        run,
        rollout: tenure?.judge?.view() ?? null,
        lastDecision: tenure?.governor?.lastDecision() ?? null,
        lastVerdict,
      },
    }),
    stop: async () => {
      stopped.abort();
      await holding;
    },
  };
}

/** Removes what runs that ended while this trainer was away have left in the work folder. */
async function sweep(book: RunBook, line: LearningLine, settings: Settings): Promise<void> {
  const unfinished = book.next();
  const kept = unfinished === undefined ? null : runFolder(settings, unfinished);
  const folder = join(settings.data, "work");
  const names = await readdir(folder).catch(() => [] as string[]);
  const left = names.filter((name) => name.startsWith(`${line.name}-r-`)).map((name) => join(folder, name));
  await Promise.all(
    left.filter((path) => path !== kept).map((path) => rm(path, { recursive: true, force: true })),
  );
}
