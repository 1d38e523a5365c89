import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { type CodedBatch, type CodedScanOptions, type CodedSchema, scanCoded } from "./coded-scan.ts";
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
import { PARQUET_FORMAT, stageColumns } from "./stage-columns.ts";
import { openTableFile, type TableFile } from "./table-file.ts";
import { type Bound, whereSql } from "./where.ts";

export interface ParquetOptions {
  /** Most memory for queries; sorting more spills into `scratch`. */
  readonly memoryMb: number;
  readonly threads: number;
  /** Folder for spilled data; made when needed. */
  readonly scratch: string;
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
   * Like `read`, in batches of about 2,000 rows in the order of the files; and a column that a file lacks is unknown
   * there. Ending the loop early ends the reading.
   */
  scan<const S extends Schema>(
    files: readonly string[],
    schema: S,
    options?: { readonly where?: readonly Bound[] },
  ): AsyncGenerator<Table<S>, void, void>;
  /**
   * Like `scan`, of all files together, in the order of `orderBy`; text columns come as codes of dictionaries, which
   * are made first and must fit in memory. What is sorted spills into `scratch` where it does not.
   */
  scanCoded<const S extends CodedSchema>(
    files: readonly string[],
    schema: S,
    options?: CodedScanOptions,
  ): AsyncGenerator<CodedBatch<S>, void, void>;
  /**
   * Opens a Parquet or CSV file of somebody else's, whose columns are not known. `texts`: columns that a CSV file holds
   * text in, though it may look like numbers. Throws a TableFileError when it is not there or cannot be read.
   */
  openTable(file: string, texts?: readonly string[]): Promise<TableFile>;
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

/** Opens DuckDB in memory. It loads no extensions, a time without zone is in UTC, and its settings are locked. */
export async function openParquet(options: ParquetOptions): Promise<Parquet> {
  const instance = await DuckDBInstance.create(":memory:", {
    memory_limit: `${options.memoryMb}MB`,
    threads: String(options.threads),
    temp_directory: options.scratch,
    autoinstall_known_extensions: "false",
    autoload_known_extensions: "false",
    allow_community_extensions: "false",
  });
  const settings = await instance.connect();
  await settings.run("SET GLOBAL TimeZone = 'UTC'");
  await settings.run("SET lock_configuration = true");
  settings.closeSync();
  const open = new Set<DuckDBConnection>();
  let closed = false;
  const connect = async (): Promise<DuckDBConnection & Disposable> => {
    if (closed) throw new Error("parquet is closed");
    const connection = await instance.connect();
    open.add(connection);
    return Object.assign(connection, {
      [Symbol.dispose]: () => {
        open.delete(connection);
        connection.closeSync();
        if (closed && open.size === 0) instance.closeSync();
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
      const selected = await stageColumns(connection, "rows", columns);
      await connection.run(
        `COPY (SELECT ${selected.join(", ")} FROM rows) TO ${quoteText(plainPath(file))} ${PARQUET_FORMAT}`,
      );
    },

    async read<const S extends Schema>(
      files: readonly string[],
      schema: S,
      { where = [], orderBy = [] }: { where?: readonly Bound[]; orderBy?: readonly string[] } = {},
    ): Promise<Table<S>> {
      const names = Object.keys(schema);
      const sql = selectSql(files, schema, null, where, orderBy);
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

    async *scan<const S extends Schema>(
      files: readonly string[],
      schema: S,
      { where = [] }: { where?: readonly Bound[] } = {},
    ): AsyncGenerator<Table<S>, void, void> {
      for (const file of files) {
        const present = new Set<string>();
        const described = `SELECT column_name FROM (DESCRIBE SELECT * FROM ${quoteFiles([file])})`;
        for await (const { columns } of queryBatches(described)) {
          for (const name of columns["column_name"] as readonly string[]) present.add(name);
        }
        for await (const batch of queryBatches(selectSql([file], schema, present, where, [])))
          yield batch as Table<S>;
      }
    },

    async *scanCoded(files, schema, options = {}) {
      using connection = await connect();
      yield* scanCoded(connection, files, schema, options);
    },

    openTable: (file, texts = []) => openTableFile(file, texts, connect),

    queryBatches,

    close() {
      if (closed) return;
      closed = true;
      // A connection that is closed under its query never answers: it is interrupted, and then closed by its user.
      for (const connection of open) connection.interrupt();
      if (open.size === 0) instance.closeSync();
    },
  };
}

const READ: Readonly<Record<ColumnKind, string>> = { float32: "FLOAT", float64: "DOUBLE", text: "VARCHAR" };

/** `present`: the columns that the files have, where some may be missing. */
function selectSql(
  files: readonly string[],
  schema: Schema,
  present: ReadonlySet<string> | null,
  where: readonly Bound[],
  orderBy: readonly string[],
): string {
  const selected = Object.entries(schema).map(([name, kind]) => {
    const value = present === null || present.has(name) ? quoteName(name) : "NULL";
    return `CAST(${value} AS ${READ[kind]}) AS ${quoteName(name)}`;
  });
  return [
    `SELECT ${selected.join(", ")} FROM ${quoteFiles(files)}${whereSql(where)}`,
    ...(orderBy.length > 0 ? [`ORDER BY ${orderBy.map(quoteName).join(", ")}`] : []),
  ].join(" ");
}
