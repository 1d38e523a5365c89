import { sleep } from "@millrace/runtime";
import { isRetriable } from "./wire/errors.ts";

/** For how long a broker that is away, or a cluster that elects leaders, is asked again before the caller is told. */
export const PATIENCE_MS = 120_000;

const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 500;

/** Pauses between attempts: 50 ms, and each time twice as long up to half a second, shortened by chance by up to a half. */
export class Backoff {
  #failures = 0;

  nextMs(): number {
    const pauseMs = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 10);
    return pauseMs * (0.5 + Math.random() / 2);
  }

  reset(): void {
    this.#failures = 0;
  }
}

/** What was tried for so long that it is given up; `cause` is the last refusal. */
export class PatienceError extends Error {
  constructor(what: string, patienceMs: number, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(`${what}: given up after ${Math.round(patienceMs / 1000)} s: ${reason}`, { cause });
    this.name = "PatienceError";
  }
}

/**
 * Tries until it succeeds, is refused for good, or `patienceMs` have passed (then it throws a PatienceError).
 */
export async function patiently<T>(
  what: string,
  attempt: () => Promise<T>,
  { patienceMs = PATIENCE_MS, signal }: { readonly patienceMs?: number; readonly signal?: AbortSignal } = {},
): Promise<T> {
  const startedMs = performance.now();
  const backoff = new Backoff();
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (signal?.aborted || !isRetriable(error)) throw error;
      if (performance.now() - startedMs > patienceMs) throw new PatienceError(what, patienceMs, error);
      await sleep(backoff.nextMs(), signal);
    }
  }
}
