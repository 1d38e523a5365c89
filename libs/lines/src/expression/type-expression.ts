import type { FieldDefinition } from "../definition.ts";
import { suggest } from "../suggest.ts";
import { ExpressionError } from "./expression-error.ts";
import { type ExpressionType, FUNCTIONS } from "./functions.ts";
import type { BinaryOperator, ExpressionNode } from "./parse-expression.ts";

/** What the names of an expression mean. A name that is both means the field. */
export interface ExpressionScope {
  /** The fields of the event, in the order of its row. */
  readonly fields: Readonly<Record<string, FieldDefinition>>;
  /** Names of the vector's values before this one, in model order. */
  readonly features: readonly string[];
}

/** Where a name's value is found. */
export type Place =
  | { readonly kind: "field"; readonly index: number; readonly field: FieldDefinition }
  | { readonly kind: "feature"; readonly index: number };

const TYPE_OF_FIELD: Readonly<Record<FieldDefinition["type"], ExpressionType | null>> = {
  number: "number",
  integer: "number",
  decimal: "number",
  boolean: "boolean",
  category: "text",
  text: "text",
  time: "time",
  blob: null,
};

/** The place of a name, or undefined when the scope does not have it. */
export function placeOf(name: string, scope: ExpressionScope): Place | undefined {
  const index = Object.keys(scope.fields).indexOf(name);
  if (index >= 0) return { kind: "field", index, field: scope.fields[name] as FieldDefinition };
  const feature = scope.features.indexOf(name);
  return feature >= 0 ? { kind: "feature", index: feature } : undefined;
}

/** The type of each part of an expression, its root included. */
export type ExpressionTypes = ReadonlyMap<ExpressionNode, ExpressionType>;

/** Types an expression and all its parts. Throws an ExpressionError where they do not fit. */
export function typeExpression(root: ExpressionNode, scope: ExpressionScope): ExpressionTypes {
  // Each part is typed once: asked for again and again, a long chain would take for ever.
  const types = new Map<ExpressionNode, ExpressionType>();
  const type: Typed = (part) => {
    const found = types.get(part) ?? typeOf(part, scope, type, expect);
    types.set(part, found);
    return found;
  };
  const expect: Expect = (part, wanted, by) => {
    const found = type(part);
    if (found === wanted) return;
    throw new ExpressionError(
      part.at,
      `${by} takes a ${wanted}, and this is a ${found}`,
      CONVERSIONS[`${found}>${wanted}`] ?? `Use a ${wanted} here.`,
    );
  };
  type(root);
  return types;
}

function typeOf(node: ExpressionNode, scope: ExpressionScope, type: Typed, expect: Expect): ExpressionType {
  switch (node.kind) {
    case "number":
    case "text":
      return node.kind;
    case "name":
      return typeOfName(node, scope);
    case "unary":
      expect(node.operand, node.operator === "!" ? "boolean" : "number", node.operator);
      return node.operator === "!" ? "boolean" : "number";
    case "choice": {
      expect(node.condition, "boolean", "? :");
      const yes = type(node.yes);
      if (yes === "text") throw noText(node.yes.at);
      expect(node.no, yes, `the other value of ? : beside a ${yes}`);
      return yes;
    }
    case "call":
      return typeOfCall(node, type, expect);
    case "binary":
      return typeOfBinary(node, type, expect);
  }
}

type Typed = (part: ExpressionNode) => ExpressionType;
type Expect = (part: ExpressionNode, wanted: ExpressionType, by: string) => void;

/** What to write where one type was found and another is wanted. */
const CONVERSIONS: Readonly<Record<string, string>> = {
  "number>boolean": "Compare it, for example with > 0.",
  "boolean>number": "Choose numbers by it, for example with ? 1 : 0.",
  "text>number": "A text can only be compared, with == and !=.",
  "time>number": "Subtract two times (that gives seconds), or take hour(...) or weekday(...) of it.",
};

/** Words that are values or operators in other languages. */
const WORDS: ReadonlyMap<string, string> = new Map([
  ["true", "Write the condition itself."],
  ["false", "Write ! before the condition."],
  ["null", "Write isnull(x) to ask whether a value is known."],
  ["not", "Write ! for not."],
]);

function typeOfName(
  { at, name }: { readonly at: number; readonly name: string },
  scope: ExpressionScope,
): ExpressionType {
  const place = placeOf(name, scope);
  if (place === undefined) {
    const known = [...Object.keys(scope.fields), ...scope.features];
    throw new ExpressionError(
      at,
      `there is no field${scope.features.length > 0 ? ", nor a feature before this one," : ""} "${name}"`,
      WORDS.get(name.toLowerCase()) ?? suggest(name, known),
    );
  }
  if (place.kind === "feature") return "number";
  const type = TYPE_OF_FIELD[place.field.type];
  if (type === null || (place.field.type === "text" && place.field.claimAbove !== undefined)) {
    throw new ExpressionError(
      at,
      `field "${name}" is not in the event itself but in the object store`,
      "Use another field.",
    );
  }
  return type;
}

function typeOfCall(
  node: Extract<ExpressionNode, { kind: "call" }>,
  type: Typed,
  expect: Expect,
): ExpressionType {
  const { at, name, given } = node;
  if (name === "isnull") {
    arity(node, 1, 1, "isnull(x)");
    type(given[0] as ExpressionNode);
    return "boolean";
  }
  if (name === "coalesce") {
    arity(node, 2, 20, "coalesce(x, y, ...)");
    const first = type(given[0] as ExpressionNode);
    if (first === "text") throw noText(at);
    for (const one of given.slice(1)) expect(one, first, `coalesce of a ${first}`);
    return first;
  }
  const called = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
  if (called === undefined) {
    throw new ExpressionError(
      at,
      `there is no function "${name}"`,
      suggest(name, [...Object.keys(FUNCTIONS), "isnull", "coalesce"]),
    );
  }
  arity(node, called.least, called.most, called.usage);
  for (const one of given) expect(one, called.takes, name);
  return "number";
}

function arity(
  { at, name, given }: Extract<ExpressionNode, { kind: "call" }>,
  least: number,
  most: number,
  usage: string,
): void {
  if (given.length >= least && given.length <= most) return;
  const wanted = least === most ? `${least}` : `${least} to ${most}`;
  const values = most === 1 ? "value" : "values";
  throw new ExpressionError(at, `${name} takes ${wanted} ${values}, not ${given.length}`, `Write ${usage}.`);
}

function typeOfBinary(
  { at, operator, left, right }: Extract<ExpressionNode, { kind: "binary" }>,
  type: Typed,
  expect: Expect,
): ExpressionType {
  switch (operator) {
    case "&&":
    case "||":
      expect(left, "boolean", operator);
      expect(right, "boolean", operator);
      return "boolean";
    case "==":
    case "!=": {
      const found = type(left);
      expect(right, found, `${operator} beside a ${found}`);
      if (found === "text") onlyPlainText(left, right);
      return "boolean";
    }
    case "<":
    case "<=":
    case ">":
    case ">=": {
      const found = type(left);
      if (found !== "number" && found !== "time") {
        throw new ExpressionError(at, `a ${found} has no order`, "Compare it with == or !=.");
      }
      expect(right, found, `${operator} beside a ${found}`);
      return "boolean";
    }
    case "-":
      if (type(left) === "time") {
        expect(right, "time", "- beside a time");
        return "number";
      }
      break;
    case "+":
    case "*":
    case "/":
    case "%":
      break;
  }
  expect(left, "number", operator satisfies BinaryOperator);
  expect(right, "number", operator);
  return "number";
}

/** A text is the value of a field or stands there as it is; there is nothing to compute with it. */
function onlyPlainText(...parts: readonly ExpressionNode[]): void {
  const part = parts.find(({ kind }) => kind !== "name" && kind !== "text");
  if (part !== undefined) throw noText(part.at);
}

function noText(at: number): ExpressionError {
  return new ExpressionError(at, "a text is no value here", "A text can only be compared, with == and !=.");
}
