import { setTimeout as delay } from "node:timers/promises";

/** Wall clock in ms since the epoch. An argument everywhere, so that tests and simulations hold it. */
export interface Clock {
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** Node's timers hold no longer span: they would end at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** Waits, also for months; returns early, without an error, when the signal aborts. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  for (let left = ms; !signal?.aborted; left -= TIMER_MS_MAX) {
    const turnMs = Math.min(left, TIMER_MS_MAX);
    await delay(turnMs, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
      if (!signal?.aborted) throw error;
    });
    if (left <= TIMER_MS_MAX) return;
  }
}

/**
 * Runs `work` again and again, `ms` after its end, until the signal aborts. An error goes to `onError` and the
 * next turn comes all the same. Resolves when the last turn has ended.
 */
export async function every(
  ms: number,
  signal: AbortSignal,
  work: () => Promise<void> | void,
  onError: (error: unknown) => void,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await work();
    } catch (error) {
      if (!signal.aborted) onError(error);
    }
    await sleep(ms, signal);
  }
}

/** Rejects with a TimeoutError when the promise takes longer; the promise itself goes on. */
export async function withDeadline<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  const abort = new AbortController();
  const late = delay(ms, undefined, { signal: abort.signal }).then(() => {
    throw new TimeoutError(what, ms);
  });
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    abort.abort();
  }
}

export class TimeoutError extends Error {
  readonly what: string;
  readonly timeoutMs: number;
  constructor(what: string, timeoutMs: number) {
    super(`${what} took longer than ${timeoutMs} ms`);
    this.name = "TimeoutError";
    this.what = what;
    this.timeoutMs = timeoutMs;
  }
}
