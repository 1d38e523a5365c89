/** Text for people: tables, numbers, times, durations, bars. Pure; widths are counted in characters. */

/** A table with aligned columns, two spaces apart; columns of numbers to the right. Empty rows give "". */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...lines.map((line) => (line[i] ?? "").length)));
  const right = head.map(
    (_, i) => rows.length > 0 && rows.every((row) => /^[-+]?[\d.,]+%?$|^$|^-$/.test(row[i] ?? "")),
  );
  return lines
    .map((line) =>
      head
        .map((_, i) => {
          const cell = line[i] ?? "";
          return right[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0);
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** 1234567 -> "1,234,567". */
export function count(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Three decimals; "-" where there is nothing to show. */
export function decimal(value: number | null | undefined, digits = 3): string {
  return value === null || value === undefined || !Number.isFinite(value) ? "-" : value.toFixed(digits);
}

/** A share of 0..1 as `12.5 %`. */
export function percent(share: number): string {
  return `${Number((share * 100).toFixed(1))} %`;
}

/** A number over many orders of magnitude: 3.2, 870, 4.1e5. */
export function power(value: number): string {
  if (!Number.isFinite(value)) return "-";
  if (Math.abs(value) < 1_000) return value < 10 ? value.toFixed(1) : value.toFixed(0);
  return value.toExponential(1).replace("e+", "e");
}

/** ms since the epoch as `2001-01-05 14:20` in UTC; "-" for 0 and what is no time. */
export function timeText(ms: number, withSeconds = false): string {
  if (!Number.isFinite(ms) || ms <= 0) return "-";
  return new Date(ms)
    .toISOString()
    .replace("T", " ")
    .slice(0, withSeconds ? 19 : 16);
}

/** Time of day of the wall clock, `14:20:05`, in the zone of the machine. */
export function clockText(ms: number, zoneOffsetMinutes: number): string {
  return new Date(ms - zoneOffsetMinutes * 60_000).toISOString().slice(11, 19);
}

/** A duration in ms for people: `350 ms`, `4.2 s`, `3 min 10 s`, `2 h 5 min`. */
export function durationText(ms: number): string {
  if (!Number.isFinite(ms)) return "-";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
}

/** A bar of `width` characters, filled by `share` of 0..1; steps of an eighth of a character. */
export function bar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, Number.isFinite(share) ? share : 0)) * width * 8);
  const full = Math.floor(eighths / 8);
  const rest = eighths % 8 === 0 ? "" : (" ▏▎▍▌▋▊▉"[eighths % 8] ?? "");
  return ("█".repeat(full) + rest).padEnd(width, " ");
}

/** The first digits of a digest. */
export function shortDigest(digest: string): string {
  return digest === "" ? "-" : digest.slice(0, 12);
}

/** Cuts to `width` characters; a cut text ends with an ellipsis. */
export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

/** Text of others without control characters, which could move the cursor or hide what follows. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => (character === "\n" || character === "\t" ? " " : "\ufffd"));
}
