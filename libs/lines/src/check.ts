import { checkFeatures } from "./check-features.ts";
import { checkReferences } from "./check-references.ts";
import { isServedOnly, type LineDefinition } from "./definition.ts";
import { IssueList, type LineIssue } from "./line-issue.ts";
import { lineShape } from "./line-shape.ts";
import { shapeIssue } from "./shape-issue.ts";

/**
 * Checks a definition completely: its shape, then what its names refer to. Returns the line, or every issue found
 * with the path of the field and a remedy. Never throws on bad input.
 */
export function checkLine(
  value: unknown,
):
  | { readonly ok: true; readonly line: LineDefinition }
  | { readonly ok: false; readonly issues: readonly LineIssue[] } {
  const parsed = lineShape.safeParse(value, { reportInput: true });
  if (!parsed.success) return { ok: false, issues: parsed.error.issues.map(shapeIssue) };
  const line = parsed.data as LineDefinition;
  const issues = new IssueList(line);
  checkRollout(line, issues);
  if (isServedOnly(line)) checkServedOnly(line, issues);
  else checkReferences(line, issues);
  // A feature is about the stream predicted on: without one there is nothing to hold it against.
  if (Object.hasOwn(line.streams, line.predict.on)) checkFeatures(line, issues);
  return issues.all.length === 0 ? { ok: true, line } : { ok: false, issues: issues.all };
}

/** Nothing can be computed or learnt without events. */
function checkServedOnly({ features, label, predict, recipes }: LineDefinition, issues: IssueList): void {
  const isEmpty = features.length === 0 && label === null && recipes.length === 0 && predict.on === "";
  if (isEmpty) return;
  issues.say(
    "streams",
    "no streams",
    "Declare at least one; or use defineServedLine for a line that only serves models which you import.",
  );
}

function checkRollout({ rollout }: LineDefinition, issues: IssueList): void {
  const { strategy, share, minLabels, maxLabels } = rollout;
  if (strategy === "canary" && share > 0.5) {
    issues.say(
      "rollout.share",
      `a canary answers at most half of the requests, not ${share}`,
      "Lower it, or write ab.",
    );
  }
  if (maxLabels < minLabels) {
    issues.say(
      "rollout.maxLabels",
      `maxLabels ${maxLabels} is below minLabels ${minLabels}`,
      "No rollout could be decided: raise it.",
    );
  }
}

/** The issues as lines of text for people. */
export function formatIssues(issues: readonly LineIssue[]): string {
  return issues.map((issue) => `${issue.path}: ${issue.problem}. ${issue.remedy}`).join("\n");
}
