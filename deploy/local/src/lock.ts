import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { sleep } from "@millrace/runtime";

/** A lock that is held until `release` or until the holding process ends, however it ends. */
export interface Lock {
  release(): void;
}

const POLL_MS = 200;

/**
 * Takes the lock that the file stands for, or answers undefined when another holder has it. The lock is the
 * operating system's own, taken through an empty SQLite file, because a lock that a program writes down itself
 * outlives a `kill -9`. The file stays; only the lock on it counts.
 */
export function tryLock(file: string): Lock | undefined {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(file);
  try {
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if (isBusy(error)) return undefined;
    throw error;
  }
  return {
    release: () => {
      if (database.isOpen) database.close();
    },
  };
}

/** Waits for the lock; `onWait` is told once when it is not free at once. Throws the signal's reason on abort. */
export async function lock(file: string, onWait: () => void = () => {}, signal?: AbortSignal): Promise<Lock> {
  for (let waited = false; ; waited = true) {
    signal?.throwIfAborted();
    const held = tryLock(file);
    if (held !== undefined) return held;
    if (!waited) onWait();
    await sleep(POLL_MS, signal);
  }
}

const SQLITE_BUSY = 5;

function isBusy(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY;
}
