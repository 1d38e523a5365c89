const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration as people write it: a whole number and s, m, h or d, for example `90s`, `24h`, `7d`. */
export type Duration = `${number}${"s" | "m" | "h" | "d"}`;

/** Milliseconds of a duration; null when the text is not one. */
export function durationMs(text: string): number | null {
  const match = /^([1-9]\d{0,6})([smhd])$/.exec(text);
  if (match === null) return null;
  return Number(match[1]) * (UNIT_MS[match[2] as string] as number);
}

/** Milliseconds of a duration that a check has passed already. Throws a RangeError otherwise. */
export function checkedDurationMs(text: string): number {
  const ms = durationMs(text);
  if (ms === null) throw new RangeError(`not a duration: ${text}`);
  return ms;
}
