import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FieldDefinition } from "../definition.ts";
import { anyExpression, anyKnown, anyScope, type Known } from "../testing/any-expression.ts";
import { expressionRow } from "../testing/expression-row.ts";
import { compileExpression } from "./compile-expression.ts";
import { ExpressionError } from "./expression-error.ts";

/** The answer for an event's data and the features before: a number, true and false as 1 and 0, or null. */
function valueOf(text: string, known: Known = {}): number | null {
  const row = expressionRow(anyScope.fields, known);
  const features = Float64Array.from(anyScope.features, (name) => (known[name] as number) ?? Number.NaN);
  const value = compileExpression(text, anyScope)(row, features);
  return Number.isNaN(value) ? null : value + 0;
}

describe("compileExpression", () => {
  it.each<[string, Known, number | null]>([
    // What is not known stays unknown.
    ["n + 1", {}, null],
    ["n * 0", {}, null],
    ["-n", {}, null],
    ["pow(n, 0)", {}, null],
    ["max(n, 1)", {}, null],
    ["n == n", {}, null],
    ["n != 1", {}, null],
    ['s == "a"', {}, null],
    ['s != "a"', {}, null],
    ["flag ? 1 : 2", {}, null],
    ["!flag", {}, null],
    ["hour(at)", {}, null],
    // So does what is no number.
    ["1 / 0", {}, null],
    ["0 / 0", {}, null],
    ["5 % 0", {}, null],
    ["sqrt(-1)", {}, null],
    ["log(0)", {}, null],
    ["1e300 * 1e300", {}, null],
    ["exp(1000)", {}, null],
    // And and or know as much as can be known.
    ["flag && 1 > 2", {}, 0],
    ["1 > 2 && flag", {}, 0],
    ["flag && 1 < 2", {}, null],
    ["flag || 1 < 2", {}, 1],
    ["1 < 2 || flag", {}, 1],
    ["flag || 1 > 2", {}, null],
    // Only these two look at what is not known.
    ["isnull(n)", {}, 1],
    ["isnull(n)", { n: 0 }, 0],
    ["isnull(s)", {}, 1],
    ["isnull(s)", { s: "" }, 0],
    ['isnull("")', {}, 0],
    ["isnull(1 / 0)", {}, 1],
    ["coalesce(n, f, 7)", {}, 7],
    ["coalesce(n, f, 7)", { f: 3 }, 3],
    ["coalesce(n, f)", {}, null],
    // Units.
    ["d * 2", { d: 12.34 }, 24.68],
    ["at - since", { at: 5_500, since: 2_000 }, 3.5],
    ["flag", { flag: true }, 1],
    ["hour(at)", { at: Date.UTC(2026, 0, 1, 17, 59) }, 17],
    ["weekday(at)", { at: Date.UTC(2026, 0, 4) }, 0],
    ["f / g", { f: 1, g: 4 }, 0.25],
    // Texts are equal by their characters.
    ["s == c", { s: "ä€", c: "ä€" }, 1],
    ["s == c", { s: "a", c: "ab" }, 0],
    ["s != c", { s: "ab", c: "ac" }, 1],
    ['"ä€" == s', { s: "ä€" }, 1],
    ['"a" == "a"', {}, 1],
    ['"a" != "a"', {}, 0],
    // As in JavaScript.
    ["-7 % 4", {}, -3],
    ["round(-2.5)", {}, -2],
    ["round(2.5)", {}, 3],
    ["-0", {}, 0],
    ["max(1, 3, 2) - min(3, 1, 2)", {}, 2],
  ])("%s of %j is %j", (text, known, value) => {
    expect(valueOf(text, known)).toBe(value);
  });

  it("equals its meaning, whatever the expression and the values", () => {
    const any = fc.oneof(anyExpression.number, anyExpression.boolean);
    fc.assert(
      fc.property(any, fc.array(anyKnown, { minLength: 1, maxLength: 5 }), ({ text, meaning }, knowns) => {
        fc.pre(text.length <= 1_000);
        for (const known of knowns) {
          const expected = meaning(known);
          expect([text, valueOf(text, known)]).toEqual([
            text,
            expected === null ? null : Number(expected) + 0,
          ]);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it("finds its values by their place among all fields and features", () => {
    const fields: Readonly<Record<string, FieldDefinition>> = {
      id: { type: "text" },
      price: { type: "decimal", scale: 3 },
    };
    const compiled = compileExpression("price + last", { fields, features: ["first", "price", "last"] });
    const row = expressionRow(fields, { id: "x", price: 1.234 });
    expect(compiled(row, Float64Array.of(10, 20, 30))).toBe(31.234);
  });

  it("throws its own error for what has not been checked", () => {
    expect(() => compileExpression("nothing", anyScope)).toThrow(ExpressionError);
    expect(() => compileExpression("1 +", anyScope)).toThrow(/^at character 4: a value is expected/);
  });
});
