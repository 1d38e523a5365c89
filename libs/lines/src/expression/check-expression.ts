import { ExpressionError, type ExpressionIssue } from "./expression-error.ts";
import type { ExpressionType } from "./functions.ts";
import { parseExpression } from "./parse-expression.ts";
import { type ExpressionScope, typeExpression } from "./type-expression.ts";

/** Reads and types an expression. Never throws on bad input. */
export function checkExpression(
  text: string,
  scope: ExpressionScope,
):
  | { readonly ok: true; readonly type: ExpressionType }
  | { readonly ok: false; readonly issue: ExpressionIssue } {
  try {
    const node = parseExpression(text);
    return { ok: true, type: typeExpression(node, scope).get(node) as ExpressionType };
  } catch (error) {
    if (error instanceof ExpressionError) return { ok: false, issue: error.issue };
    throw error;
  }
}
