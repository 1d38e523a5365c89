import { ExpressionError } from "./expression-error.ts";
import { describeToken, type Sign, type Token, tokenise } from "./tokens.ts";

export type UnaryOperator = "-" | "!";
export type BinaryOperator = Exclude<Sign, "!" | "?" | ":" | "(" | ")" | ",">;

/** An expression as a tree; `at` is where it stands in the text (of operators: the sign), from 0. */
export type ExpressionNode =
  | { readonly kind: "number"; readonly at: number; readonly value: number }
  | { readonly kind: "text"; readonly at: number; readonly value: string }
  | { readonly kind: "name"; readonly at: number; readonly name: string }
  | {
      readonly kind: "unary";
      readonly at: number;
      readonly operator: UnaryOperator;
      readonly operand: ExpressionNode;
    }
  | {
      readonly kind: "binary";
      readonly at: number;
      readonly operator: BinaryOperator;
      readonly left: ExpressionNode;
      readonly right: ExpressionNode;
    }
  | {
      readonly kind: "choice";
      readonly at: number;
      readonly condition: ExpressionNode;
      readonly yes: ExpressionNode;
      readonly no: ExpressionNode;
    }
  | {
      readonly kind: "call";
      readonly at: number;
      readonly name: string;
      readonly given: readonly ExpressionNode[];
    };

/** Operators bind as in C and JavaScript: the higher the tighter. */
const PRECEDENCE: Readonly<Partial<Record<Sign, number>>> = {
  "||": 1,
  "&&": 2,
  "==": 3,
  "!=": 3,
  "<": 4,
  "<=": 4,
  ">": 4,
  ">=": 4,
  "+": 5,
  "-": 5,
  "*": 6,
  "/": 6,
  "%": 6,
};

/** Words that are operators in other languages. */
const WORDS: ReadonlyMap<string, string> = new Map([
  ["and", "Write && for and."],
  ["or", "Write || for or."],
  ["mod", "Write % for the remainder."],
  ["is", "Write == to compare, or isnull(x)."],
]);

const LENGTH_MAX = 1_000;
/** The reader calls itself for what is nested: deeper nesting could end in an overflow of the stack. */
const DEPTH_MAX = 50;

/** Reads an expression by precedence climbing. Throws an ExpressionError that says where and what was expected. */
export function parseExpression(text: string): ExpressionNode {
  if (text.length > LENGTH_MAX) {
    throw new ExpressionError(
      LENGTH_MAX,
      `the expression has ${text.length} characters, more than ${LENGTH_MAX}`,
      "Split it over several features.",
    );
  }
  const reader = new Reader(tokenise(text));
  const node = reader.choice();
  const rest = reader.peek();
  if (rest.kind !== "end") {
    throw new ExpressionError(
      rest.at,
      `an operator or the end is expected, found ${describeToken(rest)}`,
      rest.kind === "sign"
        ? "Close what is open, or remove it."
        : (WORDS.get(String(rest.value).toLowerCase()) ?? "Put an operator such as + or && before it."),
    );
  }
  return node;
}

class Reader {
  readonly #tokens: readonly Token[];
  #next = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  peek(): Token {
    return this.#tokens[this.#next] as Token;
  }

  /** condition ? yes : no */
  choice(): ExpressionNode {
    this.#enter();
    const condition = this.#binary(1);
    const sign = this.peek();
    let node = condition;
    if (this.#takes("?")) {
      const yes = this.choice();
      this.#expect(":", "Write CONDITION ? VALUE : OTHER VALUE.");
      node = { kind: "choice", at: sign.at, condition, yes, no: this.choice() };
    }
    this.#depth--;
    return node;
  }

  /** Operators that bind at least as tightly as `least`, the left one first. */
  #binary(least: number): ExpressionNode {
    let left = this.#unary();
    for (;;) {
      const token = this.peek();
      const precedence = token.kind === "sign" ? PRECEDENCE[token.value] : undefined;
      if (precedence === undefined || precedence < least) return left;
      this.#next++;
      const right = this.#binary(precedence + 1);
      const operator = (token as { value: BinaryOperator }).value;
      left = { kind: "binary", at: token.at, operator, left, right };
    }
  }

  #unary(): ExpressionNode {
    const token = this.peek();
    if (token.kind !== "sign" || (token.value !== "-" && token.value !== "!")) return this.#primary();
    this.#next++;
    this.#enter();
    const node = { kind: "unary", at: token.at, operator: token.value, operand: this.#unary() } as const;
    this.#depth--;
    return node;
  }

  #primary(): ExpressionNode {
    const token = this.peek();
    this.#next++;
    switch (token.kind) {
      case "number":
      case "text":
        return token;
      case "name":
        return this.#takes("(") ? this.#call(token) : { kind: "name", at: token.at, name: token.value };
      case "sign":
        if (token.value !== "(") break;
        return this.#parenthesised();
      case "end":
        break;
    }
    throw new ExpressionError(
      token.at,
      `a value is expected, found ${describeToken(token)}`,
      "Write a number, a text, the name of a field or feature, a function, or ( ... ).",
    );
  }

  #parenthesised(): ExpressionNode {
    const node = this.choice();
    this.#expect(")", "Close the parenthesis.");
    return node;
  }

  #call(token: { readonly at: number; readonly value: string }): ExpressionNode {
    const given: ExpressionNode[] = [];
    if (!this.#takes(")")) {
      do given.push(this.choice());
      while (this.#takes(","));
      this.#expect(")", `Close the parenthesis of ${token.value}.`);
    }
    return { kind: "call", at: token.at, name: token.value, given };
  }

  #takes(sign: Sign): boolean {
    const token = this.peek();
    if (token.kind !== "sign" || token.value !== sign) return false;
    this.#next++;
    return true;
  }

  #expect(sign: Sign, remedy: string): void {
    if (this.#takes(sign)) return;
    const token = this.peek();
    throw new ExpressionError(token.at, `"${sign}" is expected, found ${describeToken(token)}`, remedy);
  }

  #enter(): void {
    if (++this.#depth <= DEPTH_MAX) return;
    throw new ExpressionError(
      this.peek().at,
      `the expression is nested deeper than ${DEPTH_MAX} levels`,
      "Split it over several features.",
    );
  }
}
