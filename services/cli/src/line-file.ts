import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { checkLine, type LineDefinition, type LineIssue } from "@millrace/lines";
import { errorText, Failure } from "./failure.ts";

/** The definition does not check; the issues say where and what to do. */
export class WrongLineError extends Failure {
  readonly issues: readonly LineIssue[];
  constructor(file: string, issues: readonly LineIssue[]) {
    const found = issues.map(({ path, problem, remedy }) => `  ${path}: ${problem}. ${remedy}`).join("\n");
    super(
      `${file} is not a line yet: ${issues.length} ${issues.length === 1 ? "thing is" : "things are"} wrong\n${found}`,
      `Correct ${issues.length === 1 ? "it" : "them"}, then run \`millrace apply\` again.`,
    );
    this.issues = issues;
  }
}

/**
 * Loads a line from its file, its folder (`line.ts` in it), or its name (a folder of `lines/` in the repository).
 * Runs the file: apply only definitions that you trust. Throws a Failure, or a WrongLineError with every issue.
 */
export async function loadLine(
  path: string,
  repository: string,
): Promise<{ file: string; line: LineDefinition }> {
  const file = await findFile(path, repository);
  const module = (await import(pathToFileURL(file).href).catch((cause: unknown) => {
    throw new Failure(
      `${file} cannot be loaded: ${errorText(cause)}`,
      "Correct the file. A line is TypeScript that imports `defineLine` from `@millrace/lines` and lies inside the repository, for example in lines/.",
      { cause },
    );
  })) as { default?: unknown };
  if (module.default === undefined) {
    throw new Failure(
      `${file} has no default export`,
      "End it with `export default defineLine({ ... })`; lines/flights/line.ts is an example.",
    );
  }
  const checked = checkLine(module.default);
  if (!checked.ok) throw new WrongLineError(file, checked.issues);
  return { file, line: checked.line };
}

async function findFile(path: string, repository: string): Promise<string> {
  const candidates = [resolve(path), join(repository, "lines", path)];
  for (const candidate of candidates) {
    const found = await stat(candidate).catch(() => null);
    if (found?.isFile()) return candidate;
    if (!found?.isDirectory()) continue;
    const inside = join(candidate, "line.ts");
    if (await stat(inside).catch(() => null)) return inside;
    throw new Failure(
      `${candidate} holds no line.ts`,
      "Name the file itself, or call the line's file line.ts.",
    );
  }
  throw new Failure(
    `there is no line at ${path}`,
    "Name a folder with a line.ts, or the file: `millrace apply lines/flights`.",
  );
}
