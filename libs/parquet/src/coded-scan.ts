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
  /**
   * Rows come in so many groups, one after the other and each in the order of `orderBy`, whose first column then has
   * whole numbers within +-2^48. The group of a row is the first of the columns `by` that is known in it, a code or a
   * whole number, modulo `count`, and 0 where there is none. The columns share one dictionary.
   */
  readonly groups?: { readonly by: readonly string[]; readonly count: number };
  /** Ends the reading with its reason, also in the midst of a query. */
  readonly signal?: AbortSignal;
}

/** More than the values of a first column to sort by lie apart. */
const GROUP_STRIDE = 2 ** 50;

/**
 * Reads the files as one table; a column that a file lacks is unknown there. A dictionary is an ENUM type of the
 * connection, so that DuckDB finds the codes where it reads a column and sorts small integers rather than texts. No
 * result is NULL: a vector with NULLs takes some hundred ns for each value that is asked for.
 */
export async function* scanCoded<const S extends CodedSchema>(
  connection: DuckDBConnection,
  files: readonly string[],
  schema: S,
  { where = [], orderBy = [], groups, signal }: CodedScanOptions,
): AsyncGenerator<CodedBatch<S>, void, void> {
  const interrupt = (): void => connection.interrupt();
  signal?.addEventListener("abort", interrupt);
  try {
    const source = `${unitedFiles(files)}${whereSql(where)}`;
    const coded = await makeDictionaries(connection, files, source, schema, groups?.by ?? [], signal);
    const { dictionaries, values } = coded;
    const selected = Object.entries(schema).map(([name, kind]) => {
      const unknown = kind === "code" ? "0" : "CAST('NaN' AS DOUBLE)";
      return `coalesce(${values[name]}, ${unknown}) AS ${quoteName(name)}`;
    });
    const order = orderSql(orderBy, groups, values);
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
  /** SQL of each column's value, a number or a code from 1; NULL where unknown. */
  readonly values: Readonly<Record<string, string>>;
  readonly dictionaries: Readonly<Record<string, readonly string[]>>;
}

/** `shared`: columns whose texts have the same codes. */
async function makeDictionaries(
  connection: DuckDBConnection,
  files: readonly string[],
  source: string,
  schema: CodedSchema,
  shared: readonly string[],
  signal: AbortSignal | undefined,
): Promise<Coded> {
  const described = `SELECT column_name FROM (DESCRIBE SELECT * FROM ${unitedFiles(files)})`;
  const present = new Set(await textsOf(connection, described));
  const valueOf = (name: string): string => (present.has(name) ? quoteName(name) : "NULL");
  const textOf = (name: string): string => `CAST(${valueOf(name)} AS VARCHAR)`;
  const values: Record<string, string> = {};
  const dictionaries: Record<string, readonly string[]> = {};
  for (const [name, kind] of Object.entries(schema)) {
    signal?.throwIfAborted();
    if (kind === "float64") {
      values[name] = `CAST(${valueOf(name)} AS DOUBLE)`;
      continue;
    }
    const together = shared.includes(name) ? shared : [name];
    const [first] = together as [string];
    const type = quoteName(`codes of ${first}`);
    if (dictionaries[first] === undefined) {
      const texts = together.map((one) => `SELECT ${textOf(one)} AS t FROM ${source}`).join(" UNION ALL ");
      const different = `SELECT DISTINCT t FROM (${texts}) WHERE t IS NOT NULL`;
      await connection.run(`CREATE TEMP TYPE ${type} AS ENUM (${different})`);
      dictionaries[first] = await textsOf(connection, `SELECT unnest(enum_range(CAST(NULL AS ${type})))`);
    }
    const texts = dictionaries[first] as readonly string[];
    dictionaries[name] = texts;
    values[name] =
      texts.length === 1
        ? `CASE WHEN ${valueOf(name)} IS NULL THEN NULL ELSE 1 END` // need not be looked up
        : `(CAST(enum_code(CAST(${textOf(name)} AS ${type})) AS INTEGER) + 1)`;
  }
  return { values, dictionaries };
}

/** DuckDB sorts by keys of up to 32 bytes much faster: group and first column go into one integer. */
function orderSql(
  orderBy: readonly string[],
  groups: CodedScanOptions["groups"],
  values: Coded["values"],
): string {
  const keys = orderBy.map(quoteName);
  if (groups !== undefined) {
    const known = groups.by.map((name) => `CAST(${values[name]} AS BIGINT)`);
    const group = `((coalesce(${known.join(", ")}, 0) % ${groups.count} + ${groups.count}) % ${groups.count})`;
    const first = keys[0] === undefined ? "0" : `CAST(${keys[0]} AS BIGINT)`;
    keys.splice(0, 1, `${group} * ${GROUP_STRIDE} + ${first}`);
  }
  return keys.length === 0 ? "" : ` ORDER BY ${keys.join(", ")}`;
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
