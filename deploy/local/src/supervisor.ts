import { type ChildProcess, spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { passedOn } from "./config.ts";
import { forgetPid, identify, lives, notedNames, notedPid, notePid, stopLeftovers } from "./identity.ts";
import { type Lock, lock, tryLock } from "./lock.ts";
import { type ProcessSpec, type ProcessStatus, type SupervisedProcess, superviseProcess } from "./process.ts";

/** An instance already runs in this folder, supervised by another process. */
export class RunningError extends Error {
  readonly supervisorPid: number | undefined;
  constructor(home: string, supervisorPid: number | undefined) {
    super(`an instance already runs in ${home} (supervisor ${supervisorPid ?? "unknown"}): stop it first`);
    this.name = "RunningError";
    this.supervisorPid = supervisorPid;
  }
}

/** The right to run processes in an instance folder, and the keeper that watches the holder. */
export interface Instance {
  readonly home: string;
  /** Starts the processes together and waits until all serve. On an error stop the instance. */
  start(specs: readonly ProcessSpec[]): Promise<void>;
  /** In the order of their start. */
  status(): readonly ProcessStatus[];
  /** Stops one after the other, in reverse order of their start; may be called in any state, more than once. */
  stop(): Promise<void>;
}

const SUPERVISOR = "supervisor";
const HANDOVER_MS = 15_000;

const lockFile = (home: string): string => join(home, "run", "supervisor.lock");

/**
 * Opens the instance folder for this process: takes its lock, ends what a killed supervisor left, and starts the
 * keeper. Throws a RunningError when another supervisor lives. With `temporary`, the folder goes with the instance.
 */
export async function openInstance(
  home: string,
  onChange: (all: readonly ProcessStatus[]) => void,
  temporary = false,
): Promise<Instance> {
  await mkdir(home, { recursive: true, mode: 0o700 });
  const held = await takeLock(home);
  await stopLeftovers(home);
  const self = identify(process.pid);
  if (self !== undefined) notePid(home, SUPERVISOR, self);
  const keeper = startKeeper(home, temporary);
  const supervised: SupervisedProcess[] = [];
  const status = (): ProcessStatus[] => supervised.map((one) => one.status());

  const stop = async (): Promise<void> => {
    for (const one of supervised.toReversed()) await one.stop();
    await forgetPid(home, SUPERVISOR);
    await keeper.stop();
    held.release();
  };
  let stopped: Promise<void> | undefined;
  return {
    home,
    start: async (specs) => {
      const started = specs.map((spec) => superviseProcess(spec, home, () => onChange(status())));
      supervised.push(...started);
      await Promise.all(started.map((one) => one.start()));
    },
    status,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

/** The process that supervises the instance, undefined where none does. */
export async function supervisorPid(home: string): Promise<number | undefined> {
  const noted = await notedPid(home, SUPERVISOR);
  return noted !== undefined && lives(noted) ? noted.pid : undefined;
}

/**
 * Stops the instance from outside: asks its supervisor by SIGTERM and waits until it has gone, ends what a killed
 * one left, and runs `afterwards` while nobody can start the instance. Answers the names of what it ended. Throws
 * when the supervisor has not gone within `deadlineMs`.
 */
export async function closeInstance(
  home: string,
  deadlineMs: number,
  afterwards: () => Promise<void> = async () => {},
): Promise<string[]> {
  const pid = await supervisorPid(home);
  if (pid === process.pid) throw new Error(`${home} is run by this very process: stop the mesh itself`);
  const names = pid === undefined ? [] : (await notedNames(home)).filter((name) => name !== SUPERVISOR);
  if (pid !== undefined) process.kill(pid, "SIGTERM");
  const held = await lock(lockFile(home), undefined, AbortSignal.timeout(deadlineMs)).catch(
    (cause: unknown) => {
      throw new Error(
        `supervisor ${pid ?? "of unknown number"} of ${home} did not stop in ${deadlineMs} ms`,
        {
          cause,
        },
      );
    },
  );
  try {
    const left = await stopLeftovers(home);
    await afterwards();
    return [...new Set([...names, ...left])].toSorted();
  } finally {
    held.release();
  }
}

/** The lock, if need be after the keeper of a killed supervisor has let go of it. */
async function takeLock(home: string): Promise<Lock> {
  const held = tryLock(lockFile(home));
  if (held !== undefined) return held;
  const pid = await supervisorPid(home);
  if (pid !== undefined) throw new RunningError(home, pid);
  return lock(lockFile(home), undefined, AbortSignal.timeout(HANDOVER_MS)).catch(async () => {
    throw new RunningError(home, await supervisorPid(home));
  });
}

/**
 * A process that only waits for the end of this one, which it learns from its standard input, and then ends what
 * is left of the instance. So even a supervisor killed with SIGKILL leaves nothing. It is started anew if it dies.
 */
function startKeeper(home: string, temporary: boolean): { stop(): Promise<void> } {
  let stopping = false;
  let child: ChildProcess;
  let ended: Promise<unknown>;
  const start = (): void => {
    child = spawn(
      process.execPath,
      [join(import.meta.dirname, "keeper.ts"), home, ...(temporary ? ["temporary"] : [])],
      { env: passedOn(), detached: true, stdio: ["pipe", "ignore", "ignore"] },
    );
    child.stdin?.on("error", () => {});
    ended = new Promise((resolve) => child.once("exit", resolve).once("error", resolve));
    void ended.then(() => {
      if (!stopping) setTimeout(start, 1_000).unref();
    });
  };
  start();
  return {
    stop: async () => {
      stopping = true;
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** What the keeper does once its supervisor has gone, unless a new supervisor is there already. */
export async function keepHouse(home: string): Promise<void> {
  const held = tryLock(lockFile(home));
  if (held === undefined) return;
  await stopLeftovers(home);
  held.release();
}
