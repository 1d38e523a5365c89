import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ExpressionError } from "./expression-error.ts";
import { type ExpressionNode, parseExpression } from "./parse-expression.ts";

/** The tree with all parentheses. */
function shown(node: ExpressionNode): string {
  switch (node.kind) {
    case "number":
      return `${node.value}`;
    case "text":
      return JSON.stringify(node.value);
    case "name":
      return node.name;
    case "unary":
      return `(${node.operator}${shown(node.operand)})`;
    case "binary":
      return `(${shown(node.left)} ${node.operator} ${shown(node.right)})`;
    case "choice":
      return `(${shown(node.condition)} ? ${shown(node.yes)} : ${shown(node.no)})`;
    case "call":
      return `${node.name}(${node.given.map(shown).join(", ")})`;
  }
}

function issueOf(text: string): { at: number; problem: string; remedy: string } {
  try {
    parseExpression(text);
  } catch (error) {
    if (error instanceof ExpressionError) return { ...error.issue };
    throw error;
  }
  throw new Error(`${text} was read`);
}

describe("parseExpression", () => {
  it.each([
    ["a + b * c", "(a + (b * c))"],
    ["a * b + c", "((a * b) + c)"],
    ["(a + b) * c", "((a + b) * c)"],
    ["a - b - c", "((a - b) - c)"],
    ["a / b % c * d", "(((a / b) % c) * d)"],
    ["a || b && c", "(a || (b && c))"],
    ["a && b || c", "((a && b) || c)"],
    ["a == b && c != d", "((a == b) && (c != d))"],
    ["a < b == c >= d", "((a < b) == (c >= d))"],
    ["a + 1 <= b - 1", "((a + 1) <= (b - 1))"],
    ["-a * b", "((-a) * b)"],
    ["a - -b", "(a - (-b))"],
    ["!a && !!b", "((!a) && (!(!b)))"],
    ["a ? b : c ? d : e", "(a ? b : (c ? d : e))"],
    ["a ? b ? c : d : e", "(a ? (b ? c : d) : e)"],
    ["a || b ? c : d", "((a || b) ? c : d)"],
    ["max(a, b + 1, -c)", "max(a, (b + 1), (-c))"],
    ["f(g(), (h))", "f(g(), h)"],
    ["min", "min"],
    ["a<=b", "(a <= b)"],
    [" a\n+\tb ", "(a + b)"],
  ])("reads %s as %s: operators bind as in C and JavaScript", (text, tree) => {
    expect(shown(parseExpression(text))).toBe(tree);
  });

  it.each([
    ["0", 0],
    ["1.5", 1.5],
    [".5", 0.5],
    ["5.", 5],
    ["2e3", 2_000],
    ["25E-1", 2.5],
    ["9007199254740993", 9_007_199_254_740_992],
  ])("reads the number %s", (text, value) => {
    expect(parseExpression(text)).toEqual({ kind: "number", at: 0, value });
  });

  it("reads texts in either quotes, which may hold the other kind, and has no escapes", () => {
    expect(parseExpression(`"it's"`)).toEqual({ kind: "text", at: 0, value: "it's" });
    expect(parseExpression(`'say "x"'`)).toEqual({ kind: "text", at: 0, value: 'say "x"' });
    expect(parseExpression(String.raw`"a\n"`)).toEqual({ kind: "text", at: 0, value: String.raw`a\n` });
    expect(parseExpression('""')).toEqual({ kind: "text", at: 0, value: "" });
  });

  it("keeps the place of each part: operators are where their sign is", () => {
    expect(parseExpression("aa + bb")).toEqual({
      kind: "binary",
      at: 3,
      operator: "+",
      left: { kind: "name", at: 0, name: "aa" },
      right: { kind: "name", at: 5, name: "bb" },
    });
  });

  it.each([
    ["", 1, "a value is expected, found the end", "Write a number"],
    ["   ", 4, "a value is expected, found the end", "Write a number"],
    ["a +", 4, "a value is expected, found the end", "Write a number"],
    ["a + * b", 5, 'a value is expected, found "*"', "Write a number"],
    ["max(a,)", 7, 'a value is expected, found ")"', "Write a number"],
    ["(a + b", 7, '")" is expected, found the end', "Close the parenthesis."],
    ["max(a, b", 9, '")" is expected, found the end', "Close the parenthesis of max."],
    ["max(a b)", 7, '")" is expected, found "b"', "Close the parenthesis of max."],
    ["a b", 3, 'an operator or the end is expected, found "b"', "Put an operator such as + or && before it."],
    ["2 a", 3, 'an operator or the end is expected, found "a"', "Put an operator"],
    ["a )", 3, 'an operator or the end is expected, found ")"', "Close what is open, or remove it."],
    ["a ? b", 6, '":" is expected, found the end', "Write CONDITION ? VALUE : OTHER VALUE."],
    ["a = b", 3, '"=" starts nothing', "Write == to compare."],
    ["a & b", 3, '"&" starts nothing', "Write && for and."],
    ["a | b", 3, '"|" starts nothing', "Write || for or."],
    ["a ^ 2", 3, '"^" starts nothing', "Write pow(a, b) for a power."],
    ["a AND b", 3, 'an operator or the end is expected, found "AND"', "Write && for and."],
    ["a or b", 3, 'an operator or the end is expected, found "or"', "Write || for or."],
    ["a is null", 3, 'an operator or the end is expected, found "is"', "Write == to compare, or isnull(x)."],
    ["a constructor", 3, 'found "constructor"', "Put an operator"],
    ['a == "x', 6, '"\\"" starts nothing', "End the text with a quote of the same kind."],
    ["a == 'x\"", 6, `"'" starts nothing`, "End the text with a quote of the same kind."],
    ["a # b", 3, '"#" starts nothing', "Remove it."],
    ["a + 💶", 5, '"💶" starts nothing', "Remove it."],
    ["1e999", 1, "1e999 is too large", "Write a number below 1.8e308."],
  ])("refuses %j at character %i, and says what to write", (text, at, problem, remedy) => {
    const issue = issueOf(text);
    expect(issue).toEqual({
      at,
      problem: expect.stringContaining(problem),
      remedy: expect.stringContaining(remedy),
    });
    expect(new ExpressionError(at - 1, issue.problem, issue.remedy).message).toBe(
      `at character ${at}: ${issue.problem}. ${issue.remedy}`,
    );
  });

  it("refuses what is too long or nested too deep, before the stack overflows", () => {
    const deepest = `${"(".repeat(49)}a${")".repeat(49)}`;
    expect(shown(parseExpression(deepest))).toBe("a");
    expect(issueOf(`(${deepest})`).problem).toBe("the expression is nested deeper than 50 levels");
    expect(issueOf("-".repeat(900)).problem).toContain("nested deeper");
    expect(issueOf("a?".repeat(400)).problem).toContain("nested deeper");
    expect(issueOf("f(".repeat(400)).problem).toContain("nested deeper");
    // A chain is not nested.
    expect(shown(parseExpression(`a${"+a".repeat(499)}`))).toContain("((a + a) + a)");
    expect(issueOf("a+".repeat(501))).toEqual({
      at: 1_001,
      problem: "the expression has 1002 characters, more than 1000",
      remedy: "Split it over several features.",
    });
  });

  it("throws nothing but its own error, whose place is in the text", () => {
    const part = fc.constantFrom(
      ..."a 1 . e ( ) , ? : + - * / % ! = == < && || \" ' max( isnull( é".split(" "),
    );
    const codes = fc.array(fc.nat(0xffff)).map((all) => String.fromCharCode(...all));
    const text = fc.oneof(
      fc.string(),
      codes,
      fc.array(part, { maxLength: 60 }).map((all) => all.join(" ")),
    );
    fc.assert(
      fc.property(text, (any) => {
        try {
          parseExpression(any);
        } catch (error) {
          expect(error).toBeInstanceOf(ExpressionError);
          const { at, problem, remedy } = (error as ExpressionError).issue;
          expect(at).toBeGreaterThanOrEqual(1);
          expect(at).toBeLessThanOrEqual(any.length + 1);
          expect([problem, remedy]).not.toContain("");
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
