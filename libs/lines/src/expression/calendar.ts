const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** Hour of day 0..23 in UTC of a time in ms; NaN of NaN. */
export function hourOf(timeMs: number): number {
  return modulo(Math.floor(timeMs / HOUR_MS), 24);
}

/** Day of week 0 (Sunday)..6 in UTC of a time in ms; NaN of NaN. */
export function weekdayOf(timeMs: number): number {
  // 1 January 1970 was a Thursday (4).
  return modulo(Math.floor(timeMs / DAY_MS) + 4, 7);
}

/** Times before 1970 are negative, and `%` keeps the sign. */
function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}
