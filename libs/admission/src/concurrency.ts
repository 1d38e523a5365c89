/** How a limit of calls in flight is learnt. */
export interface ConcurrencyOptions {
  readonly initial: number;
  readonly min: number;
  readonly max: number;
  /** How many times longer than usual a call may take before the limit shrinks; above 1. */
  readonly tolerance: number;
  /** What is quicker than this is quick enough, however much quicker it usually is. */
  readonly quickMs: number;
}

/** What is known of how long calls take, and the limit that follows. */
export interface ConcurrencyLimit {
  /** Calls that may be in flight now. */
  readonly limit: number;
  /** A call ended that took `ms` while `inFlight` were in flight. */
  observe(ms: number, inFlight: number): void;
}

/** Samples that the long-term average looks back over, and how much of a new limit is taken at once. */
const LONG_WINDOW = 600;
const SMOOTHING = 0.2;
/** Calls summed up to one sample, so that a single slow one does not count as a change. */
const SAMPLE_CALLS = 10;

/**
 * The gradient limit of Netflix's concurrency-limits ("Gradient2"): limit = gradient x limit + queue, where gradient =
 * tolerance x long-term duration / present duration within 0.5..1 and queue = sqrt(limit) is the room for bursts. When
 * calls take longer than usual, and too long, the limit shrinks; when they take less the long-term average follows down.
 * While fewer than half the limit are in flight nothing is learnt: the limit does not grow by being idle.
 */
export function createConcurrencyLimit(options: ConcurrencyOptions): ConcurrencyLimit {
  const { min, max, tolerance, quickMs } = options;
  let limit = options.initial;
  let longMs = 0;
  let samples = 0;
  let sumMs = 0;
  let calls = 0;
  let mostInFlight = 0;

  const sample = (shortMs: number): void => {
    samples = Math.min(samples + 1, LONG_WINDOW);
    longMs += (shortMs - longMs) / samples;
    // After an overload the average is too long: let it come down faster than it went up.
    if (longMs / shortMs > 2) longMs *= 0.95;
    if (mostInFlight < limit / 2) return;
    const gradient = Math.max(0.5, Math.min(1, Math.max(quickMs, tolerance * longMs) / shortMs));
    const aimed = gradient * limit + Math.sqrt(limit);
    limit = Math.max(min, Math.min(max, limit * (1 - SMOOTHING) + aimed * SMOOTHING));
  };

  return {
    get limit() {
      return Math.floor(limit);
    },
    observe: (ms, inFlight) => {
      sumMs += ms;
      calls++;
      if (inFlight > mostInFlight) mostInFlight = inFlight;
      if (calls < SAMPLE_CALLS) return;
      sample(Math.max(sumMs / calls, 1e-3));
      sumMs = 0;
      calls = 0;
      mostInFlight = 0;
    },
  };
}
