/** What is wrong with an expression, and where: `at` counts characters from 1. */
export interface ExpressionIssue {
  readonly at: number;
  readonly problem: string;
  readonly remedy: string;
}

/** Thrown inside the package where an expression cannot be read or typed; `checkExpression` turns it into an issue. */
export class ExpressionError extends Error {
  readonly issue: ExpressionIssue;
  /** `at` counts characters from 0. */
  constructor(at: number, problem: string, remedy: string) {
    super(`at character ${at + 1}: ${problem}. ${remedy}`);
    this.name = "ExpressionError";
    this.issue = { at: at + 1, problem, remedy };
  }
}
