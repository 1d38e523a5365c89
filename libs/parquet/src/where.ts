import { quoteName } from "./sql.ts";

/** A numeric bound on a column. Rows where the column is unknown do not pass. */
export interface Bound {
  readonly column: string;
  readonly atLeast?: number;
  readonly atMost?: number;
  readonly below?: number;
}

/** The bounds as a clause that follows a table, with its WHERE; empty where there are none. */
export function whereSql(bounds: readonly Bound[]): string {
  const terms = bounds.flatMap(({ column, atLeast, atMost, below }) => [
    ...(atLeast === undefined ? [] : [`${quoteName(column)} >= ${literal(atLeast)}`]),
    ...(atMost === undefined ? [] : [`${quoteName(column)} <= ${literal(atMost)}`]),
    ...(below === undefined ? [] : [`${quoteName(column)} < ${literal(below)}`]),
  ]);
  return terms.length === 0 ? "" : ` WHERE ${terms.join(" AND ")}`;
}

function literal(bound: number): string {
  if (!Number.isFinite(bound)) throw new RangeError(`bound ${bound} is not a finite number`);
  // With an exponent it is a DOUBLE; without one DuckDB would read a DECIMAL, which overflows.
  return bound.toExponential();
}
