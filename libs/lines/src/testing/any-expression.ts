import fc from "fast-check";
import { hourOf, weekdayOf } from "../expression/calendar.ts";
import type { ExpressionScope } from "../expression/type-expression.ts";
import type { Value } from "./expression-row.ts";

/** Data of an event, and the values of the features before. */
export type Known = Readonly<Record<string, Value>>;

/** An expression as text, how tightly its outermost operator binds, and what it means, null being null. */
export interface AnyExpression {
  readonly text: string;
  readonly precedence: number;
  readonly meaning: (known: Known) => Value;
}

export const anyScope: ExpressionScope = {
  fields: {
    n: { type: "number", optional: true },
    i: { type: "integer", optional: true },
    d: { type: "decimal", scale: 2, optional: true },
    flag: { type: "boolean", optional: true },
    other: { type: "boolean", optional: true },
    s: { type: "text", optional: true },
    c: { type: "category", optional: true },
    at: { type: "time", optional: true },
    since: { type: "time", optional: true },
  },
  features: ["f", "g"],
};

const number = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.double({ noNaN: true, noDefaultInfinity: true }));
const text = fc.constantFrom("", "a", "b", "ä€💶");
const time = fc.integer({ min: -2e12, max: 2e12 });
const nullable = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(arbitrary, { freq: 4 });

export const anyKnown: fc.Arbitrary<Known> = fc.record({
  n: nullable(number),
  i: nullable(fc.integer({ min: -5, max: 5 })),
  d: nullable(fc.integer({ min: -1_000, max: 1_000 }).map((cents) => cents / 100)),
  flag: nullable(fc.boolean()),
  other: nullable(fc.boolean()),
  s: nullable(text),
  c: nullable(text),
  at: nullable(time),
  since: nullable(time),
  f: nullable(number),
  g: nullable(number),
});

const PRIMARY = 8;
const UNARY = 7;
const CHOICE = 0;

const leaf = (name: string): AnyExpression => ({
  text: name,
  precedence: PRIMARY,
  meaning: (known) => known[name] ?? null,
});
const literal = (written: string, value: Value): AnyExpression => ({
  text: written,
  precedence: PRIMARY,
  meaning: () => value,
});

/** In as few parentheses as are needed. */
const within = ({ text: inner, precedence }: AnyExpression, least: number): string =>
  precedence < least ? `(${inner})` : inner;

const finite = (value: number): Value => (Number.isFinite(value) ? value : null);

function binary(
  [operator, precedence, of]: readonly [string, number, (a: Value, b: Value) => Value],
  left: AnyExpression,
  right: AnyExpression,
): AnyExpression {
  return {
    text: `${within(left, precedence)} ${operator} ${within(right, precedence + 1)}`,
    precedence,
    meaning: (known) => of(left.meaning(known), right.meaning(known)),
  };
}

/** Null where one of the two is. */
const strict =
  (of: (a: number, b: number) => Value) =>
  (a: Value, b: Value): Value =>
    a === null || b === null ? null : of(a as number, b as number);
const arithmetic = (of: (a: number, b: number) => number): ((a: Value, b: Value) => Value) =>
  strict((a, b) => finite(of(a, b)));

const ARITHMETIC = [
  ["+", 5, arithmetic((a, b) => a + b)],
  ["-", 5, arithmetic((a, b) => a - b)],
  ["*", 6, arithmetic((a, b) => a * b)],
  ["/", 6, arithmetic((a, b) => a / b)],
  ["%", 6, arithmetic((a, b) => a % b)],
] as const;
const ORDER = [
  ["<", 4, strict((a, b) => a < b)],
  ["<=", 4, strict((a, b) => a <= b)],
  [">", 4, strict((a, b) => a > b)],
  [">=", 4, strict((a, b) => a >= b)],
] as const;
const EQUALITY = [
  ["==", 3, strict((a, b) => a === b)],
  ["!=", 3, strict((a, b) => a !== b)],
] as const;
const LOGIC = [
  [
    "&&",
    2,
    (a: Value, b: Value) => (a === false || b === false ? false : a === null || b === null ? null : true),
  ],
  [
    "||",
    1,
    (a: Value, b: Value) => (a === true || b === true ? true : a === null || b === null ? null : false),
  ],
] as const;

const ONE = {
  abs: Math.abs,
  floor: Math.floor,
  ceil: Math.ceil,
  round: Math.round,
  sqrt: Math.sqrt,
  log: Math.log,
  exp: Math.exp,
};

const called = (
  name: string,
  given: readonly AnyExpression[],
  of: (values: readonly Value[]) => Value,
): AnyExpression => ({
  text: `${name}(${given.map(({ text: one }) => one).join(", ")})`,
  precedence: PRIMARY,
  meaning: (known) => of(given.map(({ meaning }) => meaning(known))),
});

const ofNumbers =
  (of: (values: readonly number[]) => number) =>
  (values: readonly Value[]): Value =>
    values.includes(null) ? null : finite(of(values as readonly number[]));

const coalesced = (given: readonly AnyExpression[]): AnyExpression =>
  called("coalesce", given, (values) => values.find((value) => value !== null) ?? null);

const chosen = (condition: AnyExpression, yes: AnyExpression, no: AnyExpression): AnyExpression => ({
  text: `${within(condition, CHOICE + 1)} ? ${yes.text} : ${no.text}`,
  precedence: CHOICE,
  meaning: (known) => {
    const holds = condition.meaning(known);
    return holds === null ? null : (holds ? yes : no).meaning(known);
  },
});

type Tie<T> = (key: keyof T) => fc.Arbitrary<AnyExpression>;
type Types = Readonly<Record<"number" | "boolean" | "time", AnyExpression>>;

const textLeaf = fc.oneof(
  fc.constantFrom(leaf("s"), leaf("c")),
  text.map((value) => literal(`"${value}"`, value)),
);
const numberLeaf = fc.oneof(
  fc.constantFrom(...["n", "i", "d", "f", "g"].map(leaf)),
  fc.integer({ min: 0, max: 9 }).map((value) => literal(`${value}`, value)),
  fc.constantFrom(literal(".5", 0.5), literal("1e300", 1e300)),
);

/** Expressions of each type over `anyScope`, with what they mean. */
export const anyExpression: Readonly<Record<keyof Types, fc.Arbitrary<AnyExpression>>> = fc.letrec<Types>(
  (tie: Tie<Types>) => ({
    number: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      numberLeaf,
      fc.tuple(fc.constantFrom(...ARITHMETIC), tie("number"), tie("number")).map((all) => binary(...all)),
      tie("number").map((one) => ({
        text: `-${within(one, UNARY)}`,
        precedence: UNARY,
        meaning: (known: Known) => {
          const value = one.meaning(known) as number | null;
          return value === null ? null : -value;
        },
      })),
      fc
        .tuple(fc.constantFrom(...(Object.keys(ONE) as (keyof typeof ONE)[])), tie("number"))
        .map(([name, one]) =>
          called(
            name,
            [one],
            ofNumbers(([value]) => ONE[name](value as number)),
          ),
        ),
      fc.tuple(tie("number"), tie("number")).map((given) =>
        called(
          "pow",
          given,
          ofNumbers(([x, y]) => (x as number) ** (y as number)),
        ),
      ),
      fc
        .tuple(fc.constantFrom("min", "max"), fc.array(tie("number"), { minLength: 2, maxLength: 4 }))
        .map(([name, given]) =>
          called(
            name,
            given,
            ofNumbers((values) => Math[name as "min" | "max"](...values)),
          ),
        ),
      fc.array(tie("number"), { minLength: 2, maxLength: 3 }).map(coalesced),
      fc.tuple(tie("boolean"), tie("number"), tie("number")).map((all) => chosen(...all)),
      fc
        .tuple(tie("time"), tie("time"))
        .map(([a, b]) => binary(["-", 5, strict((one, other) => (one - other) / 1_000)], a, b)),
      fc.tuple(fc.constantFrom("hour", "weekday"), tie("time")).map(([name, one]) =>
        called(
          name,
          [one],
          ofNumbers(([value]) => (name === "hour" ? hourOf : weekdayOf)(value as number)),
        ),
      ),
    ),
    boolean: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      fc.constantFrom(leaf("flag"), leaf("other")),
      fc
        .tuple(fc.constantFrom(...ORDER, ...EQUALITY), tie("number"), tie("number"))
        .map((all) => binary(...all)),
      fc.tuple(fc.constantFrom(...ORDER, ...EQUALITY), tie("time"), tie("time")).map((all) => binary(...all)),
      fc.tuple(fc.constantFrom(...EQUALITY), tie("boolean"), tie("boolean")).map((all) => binary(...all)),
      fc.tuple(fc.constantFrom(...EQUALITY), textLeaf, textLeaf).map((all) => binary(...all)),
      fc.tuple(fc.constantFrom(...LOGIC), tie("boolean"), tie("boolean")).map((all) => binary(...all)),
      tie("boolean").map((one) => ({
        text: `!${within(one, UNARY)}`,
        precedence: UNARY,
        meaning: (known: Known) => {
          const holds = one.meaning(known);
          return holds === null ? null : !holds;
        },
      })),
      fc
        .oneof(tie("number"), tie("boolean"), tie("time"), textLeaf)
        .map((one) => called("isnull", [one], ([value]) => value === null)),
      fc.array(tie("boolean"), { minLength: 2, maxLength: 3 }).map(coalesced),
      fc.tuple(tie("boolean"), tie("boolean"), tie("boolean")).map((all) => chosen(...all)),
    ),
    time: fc.oneof(
      { maxDepth: 2 },
      fc.constantFrom(leaf("at"), leaf("since")),
      fc.array(tie("time"), { minLength: 2, maxLength: 3 }).map(coalesced),
      fc.tuple(tie("boolean"), tie("time"), tie("time")).map((all) => chosen(...all)),
    ),
  }),
);
