/**
 * Milliseconds that goes on while the process, or the whole machine, is suspended: the monotonic clock may stand still
 * then, and the wall clock may be set; the larger of both is taken.
 */
export function ageingClock(): () => number {
  const startedMs = Date.now() - performance.now();
  return () => Math.max(performance.now(), Date.now() - startedMs);
}
