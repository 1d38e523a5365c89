import type { z } from "zod";
import { checkFeatures } from "./check-features.ts";
import { checkReferences } from "./check-references.ts";
import type { LineDefinition } from "./definition.ts";
import { IssueList, type LineIssue } from "./line-issue.ts";
import { lineShape } from "./line-shape.ts";

/**
 * Checks a definition completely: its shape, then what its names refer to. Returns the line, or every issue found
 * with the path of the field and a remedy. Never throws on bad input.
 */
export function checkLine(
  value: unknown,
):
  | { readonly ok: true; readonly line: LineDefinition }
  | { readonly ok: false; readonly issues: readonly LineIssue[] } {
  const parsed = lineShape.safeParse(value);
  if (!parsed.success) return { ok: false, issues: parsed.error.issues.map(toIssue) };
  const line = parsed.data as LineDefinition;
  const issues = new IssueList(line);
  checkReferences(line, issues);
  // A feature is about the stream predicted on: without one there is nothing to hold it against.
  if (Object.hasOwn(line.streams, line.predict.on)) checkFeatures(line, issues);
  return issues.all.length === 0 ? { ok: true, line } : { ok: false, issues: issues.all };
}

/** The issues as lines of text for people. */
export function formatIssues(issues: readonly LineIssue[]): string {
  return issues.map((issue) => `${issue.path}: ${issue.problem}. ${issue.remedy}`).join("\n");
}

function toIssue(issue: z.core.$ZodIssue): LineIssue {
  const path = pathText(issue.path);
  const [problem, remedy] = issue.message.split(": ", 2) as [string, string | undefined];
  if (issue.code === "unrecognized_keys") {
    return {
      path,
      problem: `unknown ${issue.keys.map((key) => `"${key}"`).join(", ")}`,
      remedy: "Remove it or correct the spelling.",
    };
  }
  return {
    path,
    problem: remedy === undefined ? issue.message : problem,
    remedy: remedy === undefined ? `Correct ${path} in the line definition.` : `Here: ${remedy}.`,
  };
}

function pathText(path: readonly PropertyKey[]): string {
  return (
    path.reduce<string>(
      (text, part) =>
        typeof part === "number"
          ? `${text}[${part}]`
          : text === ""
            ? String(part)
            : `${text}.${String(part)}`,
      "",
    ) || "(the whole definition)"
  );
}
