import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, renameSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { sleep } from "@millrace/runtime";
import { forgetPid, identify, notePid, signalGroup } from "./identity.ts";

/** One long-running program and how to know that it serves. */
export interface ProcessSpec {
  /** Names the log file and the process in every message. */
  readonly name: string;
  /** A `server` is the work of others (Kafka, NATS, the S3 store), a `service` is one of Millrace's own. */
  readonly kind: "server" | "service";
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** The whole environment of the process. */
  readonly env: Readonly<Record<string, string>>;
  /** Whether it serves now; called again and again, must end within seconds. */
  readonly ready: () => Promise<boolean>;
  /** How long it may take to end after SIGTERM, before SIGKILL. */
  readonly stopMs: number;
}

/** `starting`: has not served yet. `restarting`: served, died, and is on its way back. */
export type ProcessState = "stopped" | "starting" | "running" | "restarting" | "stopping";

/** A supervised process as seen from outside. */
export interface ProcessStatus {
  readonly name: string;
  readonly kind: ProcessSpec["kind"];
  readonly state: ProcessState;
  /** Since when, in ms since the epoch. */
  readonly sinceMs: number;
  /** Of the living process. */
  readonly pid?: number;
  readonly restarts: number;
  /** How the last one ended: `SIGKILL`, `code 1`. */
  readonly lastExit?: string;
  readonly logFile: string;
}

/** A process that is kept running until `stop`. */
export interface SupervisedProcess {
  status(): ProcessStatus;
  /** Resolves when it serves for the first time; throws a StartError when it does not get there. */
  start(): Promise<void>;
  /** Ends the process and its group; may be called in any state, more than once. */
  stop(): Promise<void>;
}

/** A process did not come up; the message holds the end of its log. */
export class StartError extends Error {
  readonly processName: string;
  constructor(status: ProcessStatus, reason: string, logEnd: string) {
    super(`${status.name} did not start: ${reason}; ${status.logFile} ends with\n${logEnd}`);
    this.name = "StartError";
    this.processName = status.name;
  }
}

const BACKOFF_MS_MIN = 200;
const BACKOFF_MS_MAX = 5_000;
const BACKOFF_RESET_MS = 30_000;
const PROBE_EVERY_MS = 25;
const START_MS_MAX = 90_000;
const EARLY_DEATHS_MAX = 5;
const LOG_BYTES_MAX = 20 * 1024 * 1024;

/**
 * Keeps one program running for the instance in `home`: started again when it dies, 0.2 s later and after each
 * further death twice as long up to 5 s, from the beginning after 30 s of life. Its output goes to
 * `logs/<name>.log`, which starts anew at 20 MB (`.1` keeps the old one). It leads a process group of its own, so
 * that a Ctrl-C in the terminal does not reach it before its time and none of its children outlives it.
 */
export function superviseProcess(
  spec: ProcessSpec,
  home: string,
  onChange: (status: ProcessStatus) => void,
): SupervisedProcess {
  const logFile = join(home, "logs", `${spec.name}.log`);
  const stopping = new AbortController();
  let status: ProcessStatus = {
    name: spec.name,
    kind: spec.kind,
    state: "stopped",
    sinceMs: Date.now(),
    restarts: 0,
    logFile,
  };
  let running: Promise<void> | undefined;
  let terminate: () => void = () => {};

  const update = (change: Partial<ProcessStatus>): void => {
    status = { ...status, ...change };
    if (change.state !== undefined) status = { ...status, sinceMs: Date.now() };
    onChange(status);
  };

  /** One life of the program, from spawn to the end of its group. Answers how it ended. */
  const live = async (onServing: () => void): Promise<string> => {
    const log = openLog(logFile);
    const child = spawn(spec.program, spec.args, {
      cwd: spec.cwd,
      env: spec.env,
      detached: true,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    const ended = new Promise<string>((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("exit", (code, signal) => resolve(signal ?? `code ${code}`));
    });
    const { pid } = child;
    if (pid === undefined) return ended;
    const identity = identify(pid);
    if (identity !== undefined) notePid(home, spec.name, identity);
    update({ pid });

    const over = new AbortController();
    terminate = () => {
      child.kill("SIGTERM");
      const force = setTimeout(() => child.kill("SIGKILL"), spec.stopMs);
      void ended.then(() => clearTimeout(force));
    };
    if (stopping.signal.aborted) terminate();
    const serving = untilReady(spec.ready, over.signal).then((ready) => {
      if (ready && !stopping.signal.aborted) onServing();
    });
    const exit = await ended;
    over.abort();
    await serving;
    terminate = () => {};
    signalGroup(pid, "SIGKILL");
    await forgetPid(home, spec.name);
    const { pid: _, ...rest } = status;
    status = { ...rest, lastExit: exit };
    return exit;
  };

  const run = async (onServing: () => void, onHopeless: (reason: string) => void): Promise<void> => {
    let served = false;
    let backoffMs = BACKOFF_MS_MIN;
    let earlyDeaths = 0;
    update({ state: "starting" });
    while (!stopping.signal.aborted) {
      const bornMs = performance.now();
      const exit = await live(() => {
        served = true;
        update({ state: "running" });
        onServing();
      });
      if (stopping.signal.aborted) break;
      if (!served) {
        earlyDeaths += 1;
        if (earlyDeaths >= EARLY_DEATHS_MAX) onHopeless(`it ended ${earlyDeaths} times, last with ${exit}`);
      }
      if (performance.now() - bornMs >= BACKOFF_RESET_MS) backoffMs = BACKOFF_MS_MIN;
      update({ state: served ? "restarting" : "starting", restarts: status.restarts + 1 });
      await sleep(backoffMs, stopping.signal);
      backoffMs = Math.min(2 * backoffMs, BACKOFF_MS_MAX);
    }
    update({ state: "stopped" });
  };

  return {
    status: () => status,
    start: () =>
      new Promise<void>((resolve, reject) => {
        const fail = (reason: string): void => {
          clearTimeout(late);
          void logEnd(logFile).then((end) => reject(new StartError(status, reason, end)));
        };
        const late = setTimeout(() => fail(`it did not serve within ${START_MS_MAX / 1000} s`), START_MS_MAX);
        const serving = (): void => {
          clearTimeout(late);
          resolve();
        };
        running = run(serving, fail);
        running.then(() => fail("it was stopped"), reject);
      }),
    stop: async () => {
      if (!stopping.signal.aborted && running !== undefined) {
        stopping.abort();
        update({ state: "stopping" });
        terminate();
      }
      await running;
    },
  };
}

/** Asks until the answer is yes; false when the signal aborts first. */
async function untilReady(ready: () => Promise<boolean>, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    if (await ready()) return !signal.aborted;
    await sleep(PROBE_EVERY_MS, signal);
  }
  return false;
}

/** Opens the log for appending, and puts a long one aside first. */
function openLog(file: string): number {
  mkdirSync(join(file, ".."), { recursive: true, mode: 0o700 });
  const bytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (bytes > LOG_BYTES_MAX) renameSync(file, `${file}.1`);
  return openSync(file, "a", 0o600);
}

const LOG_END_LINES = 15;

async function logEnd(file: string): Promise<string> {
  const text = await readFile(file, "utf8").catch(() => "");
  return text.trimEnd().split("\n").slice(-LOG_END_LINES).join("\n");
}
