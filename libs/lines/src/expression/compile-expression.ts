import { FUNCTIONS } from "./functions.ts";
import { type BinaryOperator, type ExpressionNode, parseExpression } from "./parse-expression.ts";
import {
  type ExpressionScope,
  type ExpressionTypes,
  type Place,
  placeOf,
  typeExpression,
} from "./type-expression.ts";

/** The event's row as an expression reads it (`EventRow` of `@millrace/events` is one); i numbers the fields. */
export interface ExpressionRow {
  /** Numbers, decimals in minor units, booleans as 0 or 1, times in ms; NaN where null. */
  readonly numbers: Float64Array;
  /** A text or category is `bytes[starts[i]..ends[i])`; starts[i] is -1 where it is null. */
  readonly bytes: Uint8Array;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
}

/**
 * An expression ready to be evaluated over an event's row and the vector so far. Answers a number, 1 or 0 for true or
 * false, or NaN for null; never an infinity. Makes no objects.
 */
export type CompiledExpression = (row: ExpressionRow, features: Float64Array) => number;

/** Compiles an expression that has been checked. Throws an ExpressionError when it is wrong. */
export function compileExpression(text: string, scope: ExpressionScope): CompiledExpression {
  const node = parseExpression(text);
  return compile(node, { scope, types: typeExpression(node, scope) });
}

/** What the parts of one expression are compiled with. */
interface Typed {
  readonly scope: ExpressionScope;
  readonly types: ExpressionTypes;
}

const NULL = Number.NaN;

/** What is not finite is null: a division by zero, a root of a negative number. */
function finite(value: number): number {
  return value - value === 0 ? value : NULL;
}

function compile(node: ExpressionNode, typed: Typed): CompiledExpression {
  switch (node.kind) {
    case "number": {
      const { value } = node;
      return () => value;
    }
    case "text":
      throw new TypeError("a text has no number");
    case "name":
      return compileName(placeOf(node.name, typed.scope) as Place);
    case "unary": {
      const operand = compile(node.operand, typed);
      return node.operator === "-"
        ? (row, features) => -operand(row, features)
        : (row, features) => 1 - operand(row, features);
    }
    case "choice": {
      const condition = compile(node.condition, typed);
      const yes = compile(node.yes, typed);
      const no = compile(node.no, typed);
      return (row, features) => {
        const holds = condition(row, features);
        return holds === 1 ? yes(row, features) : holds === 0 ? no(row, features) : NULL;
      };
    }
    case "call":
      return compileCall(node, typed);
    case "binary":
      if (typed.types.get(node.left) === "text") {
        const same = compileSameText(node.left, node.right, typed);
        return node.operator === "==" ? same : (row, features) => 1 - same(row, features);
      }
      return compileBinary(
        node.operator,
        compile(node.left, typed),
        compile(node.right, typed),
        node.operator === "-" && typed.types.get(node.left) === "time",
      );
  }
}

function compileName(place: Place): CompiledExpression {
  const { index } = place;
  if (place.kind === "feature") return (_, features) => features[index] as number;
  if (place.field.type === "decimal") {
    const unit = 10 ** place.field.scale;
    return (row) => (row.numbers[index] as number) / unit;
  }
  return (row) => row.numbers[index] as number;
}

function compileCall(
  { name, given }: Extract<ExpressionNode, { kind: "call" }>,
  typed: Typed,
): CompiledExpression {
  if (name === "isnull") return compileIsNull(given[0] as ExpressionNode, typed);
  const [first, ...rest] = given.map((one) => compile(one, typed)) as [
    CompiledExpression,
    ...CompiledExpression[],
  ];
  if (name === "coalesce") {
    return rest.reduce<CompiledExpression>(
      (before, after) => (row, features) => {
        const value = before(row, features);
        return value !== value ? after(row, features) : value;
      },
      first,
    );
  }
  const { one, two } = FUNCTIONS[name] as (typeof FUNCTIONS)[string];
  if (two !== undefined) {
    return rest.reduce<CompiledExpression>(
      (before, after) => (row, features) => finite(two(before(row, features), after(row, features))),
      first,
    );
  }
  const apply = one as (value: number) => number;
  return (row, features) => finite(apply(first(row, features)));
}

function compileIsNull(node: ExpressionNode, typed: Typed): CompiledExpression {
  if (typed.types.get(node) === "text") {
    const place = node.kind === "name" ? placeOf(node.name, typed.scope) : undefined;
    if (place === undefined) return () => 0;
    return (row) => ((row.starts[place.index] as number) < 0 ? 1 : 0);
  }
  const value = compile(node, typed);
  return (row, features) => {
    const found = value(row, features);
    return found !== found ? 1 : 0;
  };
}

function compileBinary(
  operator: BinaryOperator,
  left: CompiledExpression,
  right: CompiledExpression,
  ofTimes: boolean,
): CompiledExpression {
  switch (operator) {
    case "+":
      return (row, features) => finite(left(row, features) + right(row, features));
    case "-":
      return ofTimes
        ? (row, features) => (left(row, features) - right(row, features)) / 1_000
        : (row, features) => finite(left(row, features) - right(row, features));
    case "*":
      return (row, features) => finite(left(row, features) * right(row, features));
    case "/":
      return (row, features) => finite(left(row, features) / right(row, features));
    case "%":
      return (row, features) => finite(left(row, features) % right(row, features));
    // As in SQL: what is false whatever the unknown may be is false, what is true is true.
    case "&&":
      return (row, features) => {
        const a = left(row, features);
        if (a === 0) return 0;
        const b = right(row, features);
        return b === 0 ? 0 : a * b;
      };
    case "||":
      return (row, features) => {
        const a = left(row, features);
        if (a === 1) return 1;
        const b = right(row, features);
        return b === 1 ? 1 : a + b;
      };
    case "==":
      return compare(left, right, (a, b) => a === b);
    case "!=":
      return compare(left, right, (a, b) => a !== b);
    case "<":
      return compare(left, right, (a, b) => a < b);
    case "<=":
      return compare(left, right, (a, b) => a <= b);
    case ">":
      return compare(left, right, (a, b) => a > b);
    case ">=":
      return compare(left, right, (a, b) => a >= b);
  }
}

function compare(
  left: CompiledExpression,
  right: CompiledExpression,
  holds: (a: number, b: number) => boolean,
): CompiledExpression {
  return (row, features) => {
    const a = left(row, features);
    const b = right(row, features);
    if (a !== a || b !== b) return NULL;
    return holds(a, b) ? 1 : 0;
  };
}

const utf8 = new TextEncoder();

/** Whether two texts, each a field's or one that stands in the expression, have the same bytes. */
function compileSameText(left: ExpressionNode, right: ExpressionNode, typed: Typed): CompiledExpression {
  if (left.kind === "text" && right.kind === "text") {
    const same = left.value === right.value ? 1 : 0;
    return () => same;
  }
  if (left.kind === "name" && right.kind === "name") {
    const a = (placeOf(left.name, typed.scope) as Place).index;
    const b = (placeOf(right.name, typed.scope) as Place).index;
    return ({ bytes, starts, ends }) =>
      sameBytes(bytes, starts[a] as number, ends[a] as number, bytes, starts[b] as number, ends[b] as number);
  }
  const [name, text] = left.kind === "name" ? [left, right] : [right, left];
  const { index } = placeOf((name as { name: string }).name, typed.scope) as Place;
  const wanted = utf8.encode((text as { value: string }).value);
  return ({ bytes, starts, ends }) =>
    sameBytes(bytes, starts[index] as number, ends[index] as number, wanted, 0, wanted.length);
}

function sameBytes(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  if (aStart < 0 || bStart < 0) return NULL;
  const length = aEnd - aStart;
  if (length !== bEnd - bStart) return 0;
  for (let i = 0; i < length; i++) if (a[aStart + i] !== b[bStart + i]) return 0;
  return 1;
}
