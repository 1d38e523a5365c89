import { MillraceError } from "./error.ts";

/** What every call takes. */
export interface CallOptions {
  /** The call's deadline, ms from now, retries and the end of a stream included. Default: the client's. */
  readonly timeoutMs?: number;
  /** Ends the call with CANCELLED. */
  readonly signal?: AbortSignal;
  /** The caller's trace context (W3C), which the server goes on with. */
  readonly traceparent?: string;
}

/** What every client takes. */
export interface ClientOptions {
  /** Sent as `authorization: Bearer TOKEN`. */
  readonly token?: string | undefined;
  /** Deadline of a call that names none, ms; default 10,000. */
  readonly timeoutMs?: number;
  /** Times that a call is tried at most, default 4; 1: never again. */
  readonly attemptsMax?: number;
}

/** How calls are made: as whom, by when, how often. */
export interface CallPolicy {
  readonly token: string | null;
  readonly timeoutMs: number;
  readonly attemptsMax: number;
}

/** A call under way: it ends at its deadline, or when its caller ends it. */
export interface Call {
  /** Aborted with the MillraceError that the call then throws. */
  readonly signal: AbortSignal;
  /** Sent with each attempt. */
  readonly headers: Readonly<Record<string, string>>;
  /** What is left until the deadline. */
  remainingMs(): number;
  /** Lets go of the timer and of the caller's signal. */
  close(): void;
}

const FIRST_PAUSE_MS = 100;

/** The policy of a client's options. Throws a MillraceError that names what is wrong with them. */
export function callPolicy(options: ClientOptions): CallPolicy {
  const { timeoutMs = 10_000, attemptsMax = 4 } = options;
  if (!Number.isSafeInteger(attemptsMax) || attemptsMax < 1) {
    throw new MillraceError(
      "INVALID_ARGUMENT",
      `attemptsMax: ${attemptsMax}, expected a whole number from 1`,
    );
  }
  return { token: options.token ?? null, timeoutMs: checkedTimeoutMs(timeoutMs), attemptsMax };
}

/** Starts a call's time. Throws a MillraceError when the time is none, or the caller has ended the call already. */
export function openCall({ timeoutMs, signal, traceparent }: CallOptions, policy: CallPolicy): Call {
  const limitMs = checkedTimeoutMs(timeoutMs ?? policy.timeoutMs);
  const deadline = performance.now() + limitMs;
  const ended = new AbortController();
  const cancel = (): void =>
    ended.abort(new MillraceError("CANCELLED", "the caller ended the call", { cause: signal?.reason }));
  if (signal?.aborted) cancel();
  ended.signal.throwIfAborted();
  signal?.addEventListener("abort", cancel, { once: true });
  const timer = setTimeout(
    () => ended.abort(new MillraceError("DEADLINE_EXCEEDED", `no answer within ${limitMs} ms`)),
    limitMs,
  );
  return {
    signal: ended.signal,
    headers: {
      ...(policy.token !== null && { authorization: `Bearer ${policy.token}` }),
      ...(traceparent !== undefined && { traceparent }),
    },
    remainingMs: () => deadline - performance.now(),
    close: () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", cancel);
    },
  };
}

/**
 * Makes a call, and makes it again where that may help: all calls of this package only read. UNAVAILABLE is tried again
 * after a pause that doubles; it and RESOURCE_EXHAUSTED when the server says (`retryAfterMs`); never where the pause
 * would pass the deadline. Throws MillraceErrors.
 */
export async function retried<T>(attempt: () => Promise<T>, call: Call, policy: CallPolicy): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      call.signal.throwIfAborted();
      const pause = error instanceof MillraceError ? pauseMs(error, failures, Math.random()) : null;
      if (pause === null || failures >= policy.attemptsMax || pause >= call.remainingMs()) throw error;
      await sleep(pause, call.signal);
    }
  }
}

/** A call from its start to its end. */
export async function runCall<T>(
  attempt: (call: Call) => Promise<T>,
  options: CallOptions,
  policy: CallPolicy,
): Promise<T> {
  const call = openCall(options, policy);
  try {
    return await retried(() => attempt(call), call, policy);
  } finally {
    call.close();
  }
}

/**
 * How long to wait before a call is made again; null: it is not. `chance` (0..1) spreads clients that failed together:
 * a pause of ours over its upper half, one that the server asked for over the fifth that follows it.
 */
export function pauseMs(
  { code, retryAfterMs }: MillraceError,
  failures: number,
  chance: number,
): number | null {
  if (code !== "UNAVAILABLE" && code !== "RESOURCE_EXHAUSTED") return null;
  if (retryAfterMs !== null) return retryAfterMs < 0 ? null : retryAfterMs * (1 + chance / 5);
  return code === "UNAVAILABLE" ? FIRST_PAUSE_MS * 2 ** (failures - 1) * (0.5 + chance / 2) : null;
}

function checkedTimeoutMs(timeoutMs: number): number {
  // Timers hold 31 bits.
  if (timeoutMs > 0 && timeoutMs < 2 ** 31) return timeoutMs;
  throw new MillraceError("INVALID_ARGUMENT", `timeoutMs: ${timeoutMs}, expected ms above 0 and below 2^31`);
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      reject(signal.reason as MillraceError);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", end);
      resolve();
    }, ms);
    signal.addEventListener("abort", end, { once: true });
  });
}
