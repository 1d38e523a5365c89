import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkExpression } from "./check-expression.ts";
import type { ExpressionScope } from "./type-expression.ts";

const scope: ExpressionScope = {
  fields: {
    amount: { type: "decimal", scale: 2 },
    items: { type: "integer" },
    weight: { type: "number", optional: true },
    is_gift: { type: "boolean" },
    channel: { type: "category" },
    merchant: { type: "text" },
    at: { type: "time" },
    opened: { type: "time" },
    note: { type: "text", claimAbove: 1_000 },
    receipt: { type: "blob", mediaType: "image/jpeg", bytesMax: 1_000 },
  },
  features: ["mean_24h", "amount"],
};

describe("checkExpression", () => {
  it.each([
    ["amount + items * weight", "number"],
    ["mean_24h", "number"],
    ["-amount % 3", "number"],
    ["at - opened", "number"],
    ["hour(at) + weekday(opened)", "number"],
    ["pow(min(items, 2, 3), sqrt(amount))", "number"],
    ["coalesce(weight, 0)", "number"],
    ["is_gift ? 1 : 0", "number"],
    ["amount > mean_24h", "boolean"],
    ["at >= opened", "boolean"],
    ["at == opened", "boolean"],
    ["channel == merchant", "boolean"],
    ['"chip" != channel', "boolean"],
    ["is_gift == (items > 1)", "boolean"],
    ["!is_gift && isnull(channel) || isnull(weight + 1)", "boolean"],
    ["coalesce(is_gift, items > 3)", "boolean"],
    ["is_gift ? items > 1 : items > 2", "boolean"],
    ["coalesce(at, opened)", "time"],
    ["is_gift ? at : opened", "time"],
    ["channel", "text"],
  ])("types %s as %s", (text, type) => {
    expect(checkExpression(text, scope)).toMatchObject({ ok: true, type });
  });

  it("knows which names an expression asks for, and not the words that it holds", () => {
    const checked = checkExpression('isnull(weight) || channel == "items" && hour(at) > mean_24h', scope);
    expect(checked).toMatchObject({ ok: true, names: new Set(["weight", "channel", "at", "mean_24h"]) });
  });

  it.each([
    ["chanel", 1, 'there is no field, nor a feature before this one, "chanel"', 'Did you mean "channel"?'],
    ["1 + MEAN_24H", 5, '"MEAN_24H"', 'Did you mean "mean_24h"?'],
    ["1 + zzzzzz", 5, '"zzzzzz"', "Use one of: amount, items, weight,"],
    ["is_gift == true", 12, '"true"', "Write the condition itself."],
    ["is_gift == False", 12, '"False"', "Write ! before the condition."],
    ["weight != null", 11, '"null"', "Write isnull(x) to ask whether a value is known."],
    ["constructor", 1, '"constructor"', "Use one of:"],
    [
      "receipt",
      1,
      'field "receipt" is not in the event itself but in the object store',
      "Use another field.",
    ],
    ["isnull(note)", 8, 'field "note" is not in the event itself', "Use another field."],
    ["sqr(items)", 1, 'there is no function "sqr"', 'Did you mean "sqrt"?'],
    ["toString(items)", 1, 'there is no function "toString"', "Use one of: abs, floor,"],
    ["median(items)", 1, 'there is no function "median"', "isnull, coalesce."],
    ["abs(items, 1)", 1, "abs takes 1 value, not 2", "Write abs(x)."],
    ["max(items)", 1, "max takes 2 to 20 values, not 1", "Write max(x, y, ...)."],
    ["isnull()", 1, "isnull takes 1 value, not 0", "Write isnull(x)."],
    ["coalesce(items)", 1, "coalesce takes 2 to 20 values, not 1", "Write coalesce(x, y, ...)."],
    [
      "items + channel",
      9,
      "+ takes a number, and this is a text",
      "A text can only be compared, with == and !=.",
    ],
    [
      "is_gift * 2",
      1,
      "* takes a number, and this is a boolean",
      "Choose numbers by it, for example with ? 1 : 0.",
    ],
    ["at + 1", 1, "+ takes a number, and this is a time", "Subtract two times (that gives seconds)"],
    ["at - 5", 6, "- beside a time takes a time, and this is a number", "Use a time here."],
    ["items - at", 9, "- takes a number, and this is a time", "Subtract two times"],
    ["-channel", 2, "- takes a number, and this is a text", "A text can only be compared"],
    ["!items", 2, "! takes a boolean, and this is a number", "Compare it, for example with > 0."],
    ["items && is_gift", 1, "&& takes a boolean, and this is a number", "Compare it"],
    ["is_gift || items", 12, "|| takes a boolean, and this is a number", "Compare it"],
    ["items ? 1 : 2", 1, "? : takes a boolean, and this is a number", "Compare it"],
    ["is_gift ? 1 : at", 15, "the other value of ? : beside a number takes a number", "Subtract two times"],
    ["is_gift ? channel : merchant", 11, "a text is no value here", "A text can only be compared"],
    ["coalesce(channel, merchant)", 1, "a text is no value here", "A text can only be compared"],
    ["coalesce(items, is_gift)", 17, "coalesce of a number takes a number", "Choose numbers by it"],
    ["hour(items)", 6, "hour takes a time, and this is a number", "Use a time here."],
    ["abs(at)", 5, "abs takes a number, and this is a time", "Subtract two times"],
    ["channel < merchant", 9, "a text has no order", "Compare it with == or !=."],
    ["is_gift >= is_gift", 9, "a boolean has no order", "Compare it with == or !=."],
    ["1 < items < 3", 11, "a boolean has no order", "Compare it with == or !=."],
    ["items < at", 9, "< beside a number takes a number, and this is a time", "Subtract two times"],
    ["channel == 3", 12, "== beside a text takes a text, and this is a number", "Use a text here."],
    [
      "items == 'x'",
      10,
      "== beside a number takes a number, and this is a text",
      "A text can only be compared",
    ],
  ])("refuses %j at character %i, and says what to write", (text, at, problem, remedy) => {
    expect(checkExpression(text, scope)).toEqual({
      ok: false,
      issue: { at, problem: expect.stringContaining(problem), remedy: expect.stringContaining(remedy) },
    });
  });

  it("takes a name that is both for the field, and does not speak of features where there are none", () => {
    expect(checkExpression("is_gift", { ...scope, features: ["is_gift"] })).toMatchObject({
      type: "boolean",
    });
    expect(checkExpression("x", { ...scope, features: [] })).toMatchObject({
      issue: { problem: 'there is no field "x"' },
    });
    expect(checkExpression("x", { fields: {}, features: [] })).toMatchObject({
      issue: { remedy: "Declare it." },
    });
  });

  it("types a long chain at once", () => {
    expect(checkExpression(`items${"-items".repeat(165)}`, scope).ok).toBe(true);
    expect(checkExpression(`is_gift${"==is_gift".repeat(110)}`, scope).ok).toBe(true);
  });

  it("never throws, whatever the text", () => {
    const words = [...Object.keys(scope.fields), "mean_24h", "max(", "isnull(", "hour(", "coalesce(", "pow("];
    const signs = "( ) , ? : + - * / % ! == != < >= && || 1 0.5 'x' \"\"".split(" ");
    const part = fc.constantFrom(...words, ...signs);
    const codes = fc.array(fc.nat(0xffff)).map((all) => String.fromCharCode(...all));
    const text = fc.oneof(
      fc.string(),
      codes,
      fc.array(part, { maxLength: 30 }).map((all) => all.join(" ")),
    );
    fc.assert(
      fc.property(text, (any) => {
        const checked = checkExpression(any, scope);
        if (!checked.ok) expect(checked.issue.at).toBeLessThanOrEqual(any.length + 1);
      }),
      { numRuns: 1_000 },
    );
  });
});
