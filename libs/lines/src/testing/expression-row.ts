import type { FieldDefinition } from "../definition.ts";
import type { ExpressionRow } from "../expression/compile-expression.ts";

export type Value = string | number | boolean | null;

/** A row of an event's data, as `fillRow` of `@millrace/events` makes it. */
export function expressionRow(
  fields: Readonly<Record<string, FieldDefinition>>,
  data: Readonly<Record<string, Value>>,
): ExpressionRow {
  const names = Object.keys(fields);
  const row = {
    numbers: new Float64Array(names.length).fill(Number.NaN),
    bytes: new Uint8Array(1_000),
    starts: new Int32Array(names.length).fill(-1),
    ends: new Int32Array(names.length),
  };
  let at = 0;
  names.forEach((name, i) => {
    const value = data[name] ?? null;
    const field = fields[name] as FieldDefinition;
    if (typeof value === "string") {
      const { written } = new TextEncoder().encodeInto(value, row.bytes.subarray(at));
      row.starts[i] = at;
      row.ends[i] = at += written;
    } else if (value !== null) {
      const unit = field.type === "decimal" ? 10 ** field.scale : 1;
      row.numbers[i] = unit === 1 ? Number(value) : Math.round(Number(value) * unit);
    }
  });
  return row;
}
