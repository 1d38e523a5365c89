import {
  DOUBLE,
  type DuckDBConnection,
  DuckDBDataChunk,
  DuckDBInstance,
  type DuckDBType,
  FLOAT,
  VARCHAR,
} from "@duckdb/node-api";
import {
  type Batch,
  type Column,
  type ColumnKind,
  type ColumnOf,
  concat,
  copyColumn,
  kindOf,
  type WriteColumn,
} from "./columns.ts";
import { plainPath, quoteFiles, quoteName, quoteText } from "./sql.ts";

export interface ParquetOptions {
  /** Most memory for queries; sorting more spills into `scratch`. */
  readonly memoryMb: number;
  readonly threads: number;
  /** Folder for spilled data; made when needed. */
  readonly scratch: string;
}

/** A numeric bound on a column. Rows where the column is unknown do not pass. */
export interface Bound {
  readonly column: string;
  readonly atLeast?: number;
  readonly atMost?: number;
  readonly below?: number;
}

export type Schema = Readonly<Record<string, ColumnKind>>;
export interface Table<S extends Schema> {
  readonly rows: number;
  readonly columns: { readonly [K in keyof S]: ColumnOf<S[K]> };
}

export interface Parquet {
  /**
   * Writes columns of equal length to a file, replacing it; rows keep their order and equal columns give equal
   * bytes. The file appears when it is complete. Throws a RangeError when the lengths differ or there is no column.
   */
  write(file: string, columns: Readonly<Record<string, WriteColumn>>): Promise<void>;
  /**
   * Reads the columns of `schema` from the files, in the order of the files unless `orderBy` says otherwise.
   * Numbers of any type become what the schema says. Throws when a file or a column is missing.
   */
  read<const S extends Schema>(
    files: readonly string[],
    schema: S,
    options?: { readonly where?: readonly Bound[]; readonly orderBy?: readonly string[] },
  ): Promise<Table<S>>;
  /**
   * Streams the result of a query in batches of about 2,000 rows; the query reads files through `quoteFiles`.
   * FLOAT becomes Float32Array, other numbers and booleans Float64Array, VARCHAR texts; throws a TypeError for other
   * types. Ending the loop early ends the query. The SQL must be the program's own: never a stranger's.
   */
  queryBatches(
    sql: string,
    parameters?: readonly (string | number | boolean | null)[],
  ): AsyncGenerator<Batch, void, void>;
  /** Frees everything. Queries still running end with an error. May be called more than once. */
  close(): void;
}

/** Opens DuckDB in memory. It loads no extensions and its settings are locked. */
export async function openParquet(options: ParquetOptions): Promise<Parquet> {
  const instance = await DuckDBInstance.create(":memory:", {
    memory_limit: `${options.memoryMb}MB`,
    threads: String(options.threads),
    temp_directory: options.scratch,
    autoinstall_known_extensions: "false",
    autoload_known_extensions: "false",
    allow_community_extensions: "false",
    lock_configuration: "true",
  });
  const open = new Set<DuckDBConnection>();
  let closed = false;
  const connect = async (): Promise<DuckDBConnection & Disposable> => {
    if (closed) throw new Error("parquet is closed");
    const connection = await instance.connect();
    open.add(connection);
    return Object.assign(connection, {
      [Symbol.dispose]: () => {
        if (open.delete(connection)) connection.closeSync();
      },
    });
  };

  async function* queryBatches(
    sql: string,
    parameters: readonly (string | number | boolean | null)[] = [],
  ): AsyncGenerator<Batch, void, void> {
    using connection = await connect();
    const result = await connection.stream(sql, [...parameters]);
    const names = result.columnNames();
    const kinds = result.columnTypes().map((type, i) => kindOf(names[i] as string, type));
    for await (const chunk of result) {
      const columns = kinds.map((kind, i) => [names[i] as string, copyColumn(chunk, i, kind)] as const);
      yield { rows: chunk.rowCount, columns: Object.fromEntries(columns) };
    }
  }

  return {
    async write(file, columns) {
      using connection = await connect();
      const entries = Object.entries(columns);
      const rows = entries[0]?.[1].values.length;
      if (rows === undefined) throw new RangeError("no columns to write");
      for (const [name, { values }] of entries) {
        if (values.length !== rows)
          throw new RangeError(`column ${name} has ${values.length} rows, not ${rows}`);
      }
      const types = entries.map(([, { kind }]) => STORED[kind]);
      const declared = entries.map(([name], i) => `${quoteName(name)} ${types[i]}`);
      await connection.run(`CREATE TEMP TABLE rows (${declared.join(", ")})`);
      const appender = await connection.createAppender("rows");
      for (let from = 0; from < rows; from += CHUNK_ROWS) {
        const until = Math.min(rows, from + CHUNK_ROWS);
        const chunk = DuckDBDataChunk.create(types, until - from);
        entries.forEach(([, column], i) => fill(chunk, i, column, from, until));
        appender.appendDataChunk(chunk);
      }
      appender.closeSync();
      const selected = entries.map(([name, { kind }]) =>
        kind === "integer" ? `CAST(${quoteName(name)} AS BIGINT) AS ${quoteName(name)}` : quoteName(name),
      );
      await connection.run(
        `COPY (SELECT ${selected.join(", ")} FROM rows) TO ${quoteText(plainPath(file))} (FORMAT parquet, COMPRESSION zstd)`,
      );
    },

    async read<const S extends Schema>(
      files: readonly string[],
      schema: S,
      { where = [], orderBy = [] }: { where?: readonly Bound[]; orderBy?: readonly string[] } = {},
    ): Promise<Table<S>> {
      const names = Object.keys(schema);
      const selected = names.map(
        (name) => `CAST(${quoteName(name)} AS ${READ[schema[name] as ColumnKind]}) AS ${quoteName(name)}`,
      );
      const bounds = where.flatMap(({ column, atLeast, atMost, below }) => [
        ...(atLeast === undefined ? [] : [`${quoteName(column)} >= ${literal(atLeast)}`]),
        ...(atMost === undefined ? [] : [`${quoteName(column)} <= ${literal(atMost)}`]),
        ...(below === undefined ? [] : [`${quoteName(column)} < ${literal(below)}`]),
      ]);
      const sql = [
        `SELECT ${selected.join(", ")} FROM ${quoteFiles(files)}`,
        ...(bounds.length > 0 ? [`WHERE ${bounds.join(" AND ")}`] : []),
        ...(orderBy.length > 0 ? [`ORDER BY ${orderBy.map(quoteName).join(", ")}`] : []),
      ].join(" ");
      const batches: Batch[] = [];
      for await (const batch of queryBatches(sql)) batches.push(batch);
      const columns = names.map((name) => {
        const parts = batches.map((batch) => batch.columns[name] as Column);
        return [name, concat(schema[name] as ColumnKind, parts)] as const;
      });
      return {
        rows: batches.reduce((sum, batch) => sum + batch.rows, 0),
        columns: Object.fromEntries(columns) as Table<S>["columns"],
      };
    },

    queryBatches,

    close() {
      if (closed) return;
      closed = true;
      for (const connection of open) connection.closeSync();
      open.clear();
      instance.closeSync();
    },
  };
}

/** DuckDB's vector size: the most rows that one chunk holds. */
const CHUNK_ROWS = 2048;

const STORED: Readonly<Record<WriteColumn["kind"], DuckDBType>> = {
  float32: FLOAT,
  float64: DOUBLE,
  // Appended as DOUBLE, which needs no bigint per value, and cast when written.
  integer: DOUBLE,
  text: VARCHAR,
};
const READ: Readonly<Record<ColumnKind, string>> = { float32: "FLOAT", float64: "DOUBLE", text: "VARCHAR" };

function fill(chunk: DuckDBDataChunk, index: number, column: WriteColumn, from: number, until: number): void {
  if (column.kind === "text") return chunk.setColumnValues(index, column.values.slice(from, until));
  const numbers = Array.from(column.values.subarray(from, until), (value) =>
    Number.isNaN(value) ? null : value,
  );
  chunk.setColumnValues(index, numbers);
}

function literal(bound: number): string {
  if (!Number.isFinite(bound)) throw new RangeError(`bound ${bound} is not a finite number`);
  // With an exponent it is a DOUBLE; without one DuckDB would read a DECIMAL, which overflows.
  return bound.toExponential();
}
