/** One value that differs between two JSON documents; undefined: absent on that side. */
export interface Difference {
  readonly path: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** What differs between two JSON values, leaf by leaf, in the order of the fields. Pure. */
export function differences(before: unknown, after: unknown, path = ""): Difference[] {
  if (isContainer(before) && isContainer(after) && Array.isArray(before) === Array.isArray(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return keys.flatMap((key) =>
      differences(
        before[key],
        after[key],
        Array.isArray(before) ? `${path}[${key}]` : path === "" ? key : `${path}.${key}`,
      ),
    );
  }
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [{ path, before, after }];
}

function isContainer(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object";
}

/** A difference in one line of text. */
export function differenceText({ path, before, after }: Difference): string {
  if (before === undefined) return `+ ${path} = ${JSON.stringify(after)}`;
  if (after === undefined) return `- ${path} (was ${JSON.stringify(before)})`;
  return `~ ${path}: ${JSON.stringify(before)} -> ${JSON.stringify(after)}`;
}
