const NAMES_MAX = 16;

/** A remedy for a name that is not there: the one that was probably meant, else all that there are. */
export function suggest(name: string, known: readonly string[]): string {
  const near = known
    .map((one) => [one, distance(name.toLowerCase(), one.toLowerCase())] as const)
    .filter(([one, edits]) => edits <= Math.max(1, Math.floor(one.length / 3)))
    .sort(([, a], [, b]) => a - b)[0];
  return near === undefined ? choose(known) : `Did you mean "${near[0]}"?`;
}

/** A remedy that names what there is. */
export function choose(known: readonly string[]): string {
  if (known.length === 0) return "Declare it.";
  if (known.length === 1) return `Use "${known[0]}".`;
  const more = known.length > NAMES_MAX ? ` and ${known.length - NAMES_MAX} more` : "";
  return `Use one of: ${known.slice(0, NAMES_MAX).join(", ")}${more}.`;
}

/** Letters to be added, removed or replaced (Levenshtein, 1966). */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      next[j] = Math.min(
        (next[j - 1] as number) + 1,
        (row[j] as number) + 1,
        (row[j - 1] as number) + (from[i - 1] === to[j - 1] ? 0 : 1),
      );
    }
    row = next;
  }
  return row[to.length] as number;
}
