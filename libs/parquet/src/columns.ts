import { type DuckDBDataChunk, type DuckDBType, DuckDBTypeId, type DuckDBVector } from "@duckdb/node-api";

/** How a column is held in memory. NULL is NaN in numbers and null in text. */
export type ColumnKind = "float32" | "float64" | "text";
export type Column = Float32Array | Float64Array | (string | null)[];
export type ColumnOf<K extends ColumnKind> = K extends "float32"
  ? Float32Array
  : K extends "float64"
    ? Float64Array
    : (string | null)[];

/** Columns by name, all of the same length. */
export interface Batch {
  readonly rows: number;
  readonly columns: Readonly<Record<string, Column>>;
}

/**
 * A column to write; NaN and null become NULL. `integer` is stored as BIGINT: whole numbers within +-2^53. `boolean` is
 * stored as BOOLEAN: 0 or 1. `decimal` is stored as DECIMAL(18, scale), exact: `values` are whole numbers of units of
 * 10^-scale, scale 0..9.
 */
export type WriteColumn =
  | { readonly kind: "float32"; readonly values: Float32Array }
  | { readonly kind: "float64" | "integer" | "boolean"; readonly values: Float64Array }
  | { readonly kind: "decimal"; readonly scale: number; readonly values: Float64Array }
  | { readonly kind: "text"; readonly values: readonly (string | null)[] };

/** How a result column of DuckDB is held. Throws a TypeError that names a type that has no such form. */
export function kindOf(name: string, type: DuckDBType): ColumnKind {
  switch (type.typeId) {
    case DuckDBTypeId.FLOAT:
      return "float32";
    case DuckDBTypeId.DOUBLE:
    case DuckDBTypeId.BIGINT:
    case DuckDBTypeId.UBIGINT:
    case DuckDBTypeId.HUGEINT:
    case DuckDBTypeId.INTEGER:
    case DuckDBTypeId.UINTEGER:
    case DuckDBTypeId.SMALLINT:
    case DuckDBTypeId.USMALLINT:
    case DuckDBTypeId.TINYINT:
    case DuckDBTypeId.UTINYINT:
    case DuckDBTypeId.BOOLEAN:
    case DuckDBTypeId.DECIMAL:
      return "float64";
    case DuckDBTypeId.VARCHAR:
      return "text";
    default:
      throw new TypeError(
        `column ${name} is ${type}: cast it to FLOAT, DOUBLE, BIGINT or VARCHAR in the query`,
      );
  }
}

/** Copies one column out of a chunk, whose memory is gone once the next chunk is read. */
export function copyColumn(chunk: DuckDBDataChunk, index: number, kind: ColumnKind): Column {
  const vector: DuckDBVector = chunk.getColumnVector(index);
  const rows = chunk.rowCount;
  if (kind === "text") return Array.from({ length: rows }, (_, i) => vector.getItem(i) as string | null);
  const numbers = kind === "float32" ? new Float32Array(rows) : new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    const value = vector.getItem(i);
    numbers[i] = value === null ? Number.NaN : typeof value === "number" ? value : Number(value);
  }
  return numbers;
}

/** Joins the parts of one column. */
export function concat(kind: ColumnKind, parts: readonly Column[]): Column {
  if (kind === "text") return (parts as (string | null)[][]).flat();
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const whole = kind === "float32" ? new Float32Array(length) : new Float64Array(length);
  let at = 0;
  for (const part of parts as (Float32Array | Float64Array)[]) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Columns [rows] side by side as one matrix [rows x columns], row-major. */
export function rowMajor(columns: readonly Float32Array[], rows: number): Float32Array {
  const width = columns.length;
  const matrix = new Float32Array(rows * width);
  columns.forEach((column, j) => {
    for (let i = 0, at = j; i < rows; i++, at += width) matrix[at] = column[i] as number;
  });
  return matrix;
}
