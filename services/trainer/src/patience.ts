import { ObjectStoreUnavailableError, sleep } from "@millrace/runtime";
import type { Ports } from "./ports.ts";

const PAUSE_MS_MIN = 200;
const PAUSE_MS_MAX = 5_000;

/** The work ended because the trainer stops or has lost its lease. Nothing is wrong with the run. */
export class StoppedError extends Error {
  constructor(what: string) {
    super(`${what} was stopped`);
    this.name = "StoppedError";
  }
}

/**
 * Repeats `work` while a neighbour is away, with growing pauses, until the signal aborts (then a StoppedError). An
 * outage delays a run; it does not fail it. Other errors are thrown at once. `work` must be safe to repeat.
 */
export async function patiently<T>(
  what: string,
  { log, codeOf }: Pick<Ports, "log" | "codeOf">,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  for (let pauseMs = PAUSE_MS_MIN; ; pauseMs = Math.min(2 * pauseMs, PAUSE_MS_MAX)) {
    if (signal.aborted) throw new StoppedError(what);
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ObjectStoreUnavailableError) && !isAway(codeOf(error))) throw error;
      log.warn({ err: error, what }, "a neighbour is away: trying again");
      await sleep(pauseMs, signal);
    }
  }
}

/** Whether the registry gave no answer: nothing is known about what was asked of it. */
export function isAway(code: ReturnType<Ports["codeOf"]>): boolean {
  return code === "unavailable" || code === "deadlineExceeded";
}
