import { Worker } from "node:worker_threads";
import type { ReplayJob, ReplayResult } from "./replay-job.ts";
import type { ScanModule, ThreadShare } from "./scan-module.ts";

/** What a thread is started with. */
export interface ThreadOptions {
  readonly scan: ScanModule;
  readonly share: ThreadShare;
}
/** `end`: whatever it does, it is not wanted any more. */
export type ToThread = { readonly kind: "job"; readonly job: ReplayJob } | { readonly kind: "end" };
export type FromThread =
  | { readonly kind: "events"; readonly events: number }
  | { readonly kind: "done"; readonly result: ReplayResult }
  | { readonly kind: "failed"; readonly error: unknown };

export interface ReplayControl {
  readonly scan: ScanModule;
  /** At most so many threads, each with one partition at a time. */
  readonly threads: number;
  /** So many events more have been replayed. */
  readonly onEvents: (events: number) => void;
  readonly signal: AbortSignal;
}

/**
 * Does the jobs in threads, the largest first; answers their results in the order of the jobs. Rejects with the first
 * job's error, or the signal's reason, when all threads have ended.
 */
export async function replayInThreads(
  jobs: readonly ReplayJob[],
  { scan, threads, onEvents, signal }: ReplayControl,
): Promise<readonly ReplayResult[]> {
  signal.throwIfAborted();
  const waiting = jobs.map((job, i) => ({ job, i })).sort((a, b) => a.job.rows - b.job.rows);
  const results = new Array<ReplayResult>(jobs.length);
  const failed = new AbortController();
  const stop = AbortSignal.any([signal, failed.signal]);
  const sharers = Math.min(threads, jobs.length);
  const queryThreads = Math.max(1, Math.floor(threads / sharers));
  const work = async (number: number): Promise<void> => {
    const thread = new ReplayThread({ scan, share: { number, sharers, queryThreads } }, onEvents);
    const end = (): void => thread.end();
    stop.addEventListener("abort", end);
    try {
      for (let next = waiting.pop(); next !== undefined && !stop.aborted; next = waiting.pop()) {
        results[next.i] = await thread.do(next.job);
      }
    } catch (error) {
      if (!stop.aborted) failed.abort(error);
    } finally {
      stop.removeEventListener("abort", end);
      thread.end();
      await thread.ended;
    }
  };
  await Promise.all(Array.from({ length: sharers }, (_, number) => work(number)));
  stop.throwIfAborted();
  return results;
}

class ReplayThread {
  /** Resolves when the thread has gone. */
  readonly ended: Promise<void>;
  readonly #worker: Worker;
  #settle: { resolve: (result: ReplayResult) => void; reject: (error: unknown) => void } | null = null;
  #hasEnded = false;
  #error: unknown = new Error("the thread that replays has ended");

  constructor(workerData: ThreadOptions, onEvents: (events: number) => void) {
    this.#worker = new Worker(new URL("./replay-thread.ts", import.meta.url), { workerData });
    this.#worker.on("message", (message: FromThread) => {
      switch (message.kind) {
        case "events":
          return onEvents(message.events);
        case "done":
          return this.#settle?.resolve(message.result);
        case "failed":
          return this.#settle?.reject(message.error);
      }
    });
    this.#worker.on("error", (error) => {
      this.#error = error;
    });
    this.ended = new Promise((resolve) => {
      this.#worker.once("exit", () => {
        this.#hasEnded = true;
        this.#settle?.reject(this.#error);
        resolve();
      });
    });
  }

  /** One job at a time. */
  do(job: ReplayJob): Promise<ReplayResult> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      if (this.#hasEnded) reject(this.#error);
      else this.#post({ kind: "job", job });
    });
  }

  end(): void {
    this.#post({ kind: "end" });
  }

  #post(message: ToThread): void {
    this.#worker.postMessage(message);
  }
}
