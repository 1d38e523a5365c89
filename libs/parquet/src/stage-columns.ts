import {
  DOUBLE,
  type DuckDBConnection,
  DuckDBDataChunk,
  type DuckDBDoubleVector,
  type DuckDBFloatVector,
  type DuckDBType,
  FLOAT,
  VARCHAR,
} from "@duckdb/node-api";
import type { WriteColumn } from "./columns.ts";
import { quoteName } from "./sql.ts";

/** How files are written: what follows the path of a COPY. */
export const PARQUET_FORMAT = "(FORMAT parquet, COMPRESSION zstd)";

/**
 * Puts columns into a temporary table of the connection. Answers what is to be selected from it, in the order of the
 * columns, to have each as it is stored. Throws a RangeError when the lengths differ or there is no column.
 */
export async function stageColumns(
  connection: DuckDBConnection,
  table: string,
  columns: Readonly<Record<string, WriteColumn>>,
): Promise<readonly string[]> {
  const entries = Object.entries(columns);
  const rows = entries[0]?.[1].values.length;
  if (rows === undefined) throw new RangeError("no columns to write");
  for (const [name, { values }] of entries) {
    if (values.length !== rows) throw new RangeError(`column ${name} has ${values.length} rows, not ${rows}`);
  }
  const selected = entries.map(
    ([name, column]) => `${stored(quoteName(name), column)} AS ${quoteName(name)}`,
  );
  const types = entries.map(([, { kind }]) => STORED[kind]);
  const declared = entries.map(([name], i) => `${quoteName(name)} ${types[i]}`);
  await connection.run(`CREATE TEMP TABLE ${table} (${declared.join(", ")})`);
  const appender = await connection.createAppender(table);
  for (let from = 0; from < rows; from += CHUNK_ROWS) {
    const until = Math.min(rows, from + CHUNK_ROWS);
    const chunk = DuckDBDataChunk.create(types, until - from);
    entries.forEach(([, column], i) => fill(chunk, i, column, from, until));
    appender.appendDataChunk(chunk);
  }
  appender.closeSync();
  return selected;
}

/** DuckDB's vector size: the most rows that one chunk holds. */
const CHUNK_ROWS = 2048;

const STORED: Readonly<Record<WriteColumn["kind"], DuckDBType>> = {
  float32: FLOAT,
  float64: DOUBLE,
  // Appended as DOUBLE, which needs no bigint per value, and cast when written.
  integer: DOUBLE,
  boolean: DOUBLE,
  decimal: DOUBLE,
  text: VARCHAR,
};

/** The SQL of what is stored for a column of the table that was appended. */
function stored(name: string, column: WriteColumn): string {
  const number = `nullif(${name}, 'NaN')`;
  switch (column.kind) {
    case "integer":
      return `CAST(${number} AS BIGINT)`;
    case "boolean":
      return `CAST(${number} AS BOOLEAN)`;
    case "decimal": {
      // Whole numbers times one unit: decimal arithmetic, without a double in between.
      const { scale } = column;
      if (!Number.isInteger(scale) || scale < 0 || scale > DECIMAL_SCALE_MAX) {
        throw new RangeError(`column ${name} has a scale of ${scale}, not 0 to ${DECIMAL_SCALE_MAX}`);
      }
      const unit = `CAST('1e-${scale}' AS DECIMAL(${scale + 1}, ${scale}))`;
      return `CAST(CAST(${number} AS BIGINT) * ${unit} AS DECIMAL(18, ${scale}))`;
    }
    case "float32":
    case "float64":
      return number;
    case "text":
      return name;
  }
}

const DECIMAL_SCALE_MAX = 9;

/** Unknown numbers are appended as NaN, which costs less than a NULL each; `stored` makes NULLs of them. */
function fill(chunk: DuckDBDataChunk, index: number, column: WriteColumn, from: number, until: number): void {
  if (column.kind === "text") return chunk.setColumnValues(index, column.values.slice(from, until));
  const vector = chunk.getColumnVector(index) as DuckDBDoubleVector | DuckDBFloatVector;
  const { values } = column;
  for (let i = from; i < until; i++) vector.setItem(i - from, values[i] as number);
  vector.flush();
}
