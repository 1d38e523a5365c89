/** Where held-out time begins, and how many rows lie on each side. */
export interface TimeSplit {
  /** Rows with an earlier event time are for training, the others are held out. */
  readonly heldOutFromMs: number;
  readonly trainRows: number;
  readonly heldOutRows: number;
}

/**
 * Holds out the newest `share` of the rows; with a change (event time ms), the newest `share` of the rows since the
 * change, so that candidates are judged on the world as it is now and some of it is left to learn from. Rows of
 * equal time stay on one side, so that the held-out part may be larger than asked. `times`: event time ms [rows], in
 * any order. null: there are no rows (since the change).
 */
export function splitByTime(times: Float64Array, share: number, changeMs: number | null): TimeSplit | null {
  const pool = changeMs === null ? times.slice() : times.filter((time) => time >= changeMs);
  if (pool.length === 0) return null;
  pool.sort();
  const held = Math.max(1, Math.round(pool.length * share));
  const heldOutFromMs = pool[pool.length - held] as number;
  const heldOutRows = times.reduce((sum, time) => sum + (time >= heldOutFromMs ? 1 : 0), 0);
  return { heldOutFromMs, trainRows: times.length - heldOutRows, heldOutRows };
}
