/**
 * Lines: the one definition a user writes, its types, and its check.
 * `definition.ts` what a line is; `define.ts` the typed helpers for authors; `defaults.ts` what they need not write;
 * `stored-line.ts` reads definitions of earlier times; `check.ts` the check, with a remedy for each issue:
 * `line-shape.ts` the shape, `check-references.ts` what names refer to, `check-features.ts` the features; `expression/`
 * the expression language; `panes.ts` how windows are cut; `event-log.ts` where accepted events stand; `duration.ts`
 * durations as text.
 */

export * from "./check.ts";
export { SERVE as DEFAULT_SERVE } from "./defaults.ts";
export * from "./define.ts";
export * from "./definition.ts";
export * from "./duration.ts";
export * from "./event-log.ts";
export * from "./expression/calendar.ts";
export { checkExpression } from "./expression/check-expression.ts";
export {
  type CompiledExpression,
  compileExpression,
  type ExpressionRow,
} from "./expression/compile-expression.ts";
export { ExpressionError, type ExpressionIssue } from "./expression/expression-error.ts";
export type { ExpressionType } from "./expression/functions.ts";
export type { ExpressionScope } from "./expression/type-expression.ts";
export type { LineIssue } from "./line-issue.ts";
export * from "./panes.ts";
export * from "./stored-line.ts";
