import type { DuckDBConnection, DuckDBDataChunk } from "@duckdb/node-api";
import { quoteName, unitedFiles } from "./sql.ts";
import { type Bound, whereSql } from "./where.ts";

/** How a column of a coded scan is held: numbers with NaN where unknown, or texts as codes of a dictionary. */
export type CodedKind = "float64" | "code";
export type CodedSchema = Readonly<Record<string, CodedKind>>;

export interface CodedBatch<S extends CodedSchema> {
  readonly rows: number;
  readonly columns: { readonly [K in keyof S]: S[K] extends "code" ? Int32Array : Float64Array };
  /** The different texts of each `code` column: code c > 0 is text c - 1, and 0 is NULL. The same in each batch. */
  readonly dictionaries: { readonly [K in keyof S]: readonly string[] };
}

export interface CodedScanOptions {
  readonly where?: readonly Bound[];
  /** Columns to sort by; none: rows come in the order of the files. */
  readonly orderBy?: readonly string[];
  /** Ends the reading with its reason, also in the midst of a query. */
  readonly signal?: AbortSignal;
}

/**
 * Reads the files as one table; a column that a file lacks is unknown there. A dictionary is an ENUM type of the
 * connection, so that DuckDB finds the codes where it reads a column and sorts small integers rather than texts. No
 * result is NULL: a vector with NULLs takes some hundred ns for each value that is asked for.
 */
export async function* scanCoded<const S extends CodedSchema>(
  connection: DuckDBConnection,
  files: readonly string[],
  schema: S,
  { where = [], orderBy = [], signal }: CodedScanOptions,
): AsyncGenerator<CodedBatch<S>, void, void> {
  const interrupt = (): void => connection.interrupt();
  signal?.addEventListener("abort", interrupt);
  try {
    const source = `${unitedFiles(files)}${whereSql(where)}`;
    const { selected, dictionaries } = await makeDictionaries(connection, files, source, schema, signal);
    const order = orderBy.length === 0 ? "" : ` ORDER BY ${orderBy.map(quoteName).join(", ")}`;
    const result = await connection.stream(`SELECT ${selected.join(", ")} FROM ${source}${order}`);
    let next = result.fetchChunk();
    try {
      for (let chunk = await next; chunk !== null && chunk.rowCount > 0; chunk = await next) {
        signal?.throwIfAborted();
        const batch = { rows: chunk.rowCount, columns: copyColumns(chunk, schema), dictionaries };
        // The chunk's memory goes with the next one, which is fetched while the batch is used.
        next = result.fetchChunk();
        yield batch as unknown as CodedBatch<S>;
      }
    } finally {
      await next.catch(() => null);
    }
  } catch (error) {
    throw signal?.aborted === true ? signal.reason : error;
  } finally {
    signal?.removeEventListener("abort", interrupt);
  }
}

interface Coded {
  /** What is to be selected to have each column of the schema. */
  readonly selected: readonly string[];
  readonly dictionaries: Readonly<Record<string, readonly string[]>>;
}

async function makeDictionaries(
  connection: DuckDBConnection,
  files: readonly string[],
  source: string,
  schema: CodedSchema,
  signal: AbortSignal | undefined,
): Promise<Coded> {
  const described = `SELECT column_name FROM (DESCRIBE SELECT * FROM ${unitedFiles(files)})`;
  const present = new Set(await textsOf(connection, described));
  const dictionaries: Record<string, readonly string[]> = {};
  const selected: string[] = [];
  for (const [name, kind] of Object.entries(schema)) {
    signal?.throwIfAborted();
    const value = present.has(name) ? quoteName(name) : "NULL";
    if (kind === "float64") {
      selected.push(`coalesce(CAST(${value} AS DOUBLE), CAST('NaN' AS DOUBLE)) AS ${quoteName(name)}`);
      continue;
    }
    const type = quoteName(`codes of ${name}`);
    const text = `CAST(${value} AS VARCHAR)`;
    const different = `SELECT DISTINCT t FROM (SELECT ${text} AS t FROM ${source}) WHERE t IS NOT NULL`;
    await connection.run(`CREATE TEMP TYPE ${type} AS ENUM (${different})`);
    dictionaries[name] = await textsOf(connection, `SELECT unnest(enum_range(CAST(NULL AS ${type})))`);
    const code = `CAST(enum_code(CAST(${text} AS ${type})) AS INTEGER) + 1`;
    selected.push(`coalesce(${code}, 0) AS ${quoteName(name)}`);
  }
  return { selected, dictionaries };
}

async function textsOf(connection: DuckDBConnection, sql: string): Promise<readonly string[]> {
  const reader = await connection.runAndReadAll(sql);
  return (reader.getColumns()[0] ?? []) as string[];
}

function copyColumns(
  chunk: DuckDBDataChunk,
  schema: CodedSchema,
): Readonly<Record<string, Int32Array | Float64Array>> {
  const rows = chunk.rowCount;
  return Object.fromEntries(
    Object.entries(schema).map(([name, kind], i) => {
      const vector = chunk.getColumnVector(i);
      const values = kind === "code" ? new Int32Array(rows) : new Float64Array(rows);
      for (let row = 0; row < rows; row++) values[row] = vector.getItem(row) as number;
      return [name, values];
    }),
  );
}
