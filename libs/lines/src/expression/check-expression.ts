import { ExpressionError, type ExpressionIssue } from "./expression-error.ts";
import type { ExpressionType } from "./functions.ts";
import { parseExpression } from "./parse-expression.ts";
import { type ExpressionScope, typeExpression } from "./type-expression.ts";

/** Reads and types an expression; `names` are the fields and features that it asks for. Never throws on bad input. */
export function checkExpression(
  text: string,
  scope: ExpressionScope,
):
  | { readonly ok: true; readonly type: ExpressionType; readonly names: ReadonlySet<string> }
  | { readonly ok: false; readonly issue: ExpressionIssue } {
  try {
    const node = parseExpression(text);
    const types = typeExpression(node, scope);
    const names = [...types.keys()].flatMap((part) => (part.kind === "name" ? [part.name] : []));
    return { ok: true, type: types.get(node) as ExpressionType, names: new Set(names) };
  } catch (error) {
    if (error instanceof ExpressionError) return { ok: false, issue: error.issue };
    throw error;
  }
}
