import { stat } from "node:fs/promises";
import type { DuckDBConnection } from "@duckdb/node-api";
import { type Column, concat, copyColumn, kindOf, type WriteColumn } from "./columns.ts";
import { plainPath, quoteFiles, quoteName, quoteText } from "./sql.ts";
import { PARQUET_FORMAT, stageColumns } from "./stage-columns.ts";

/** What a column holds; `other`: something that has no form here, such as a list. */
export type TableColumnKind = "number" | "boolean" | "text" | "time" | "other";

export interface TableColumn {
  readonly name: string;
  readonly kind: TableColumnKind;
  /** As DuckDB calls its type. */
  readonly type: string;
}

/** A Parquet or CSV file of somebody else's. */
export interface TableFile {
  readonly columns: readonly TableColumn[];
  /**
   * Columns by name, in the order of the file: numbers, booleans as 0 or 1, and times in ms as Float64Array with NaN
   * where unknown, texts with null. Throws a RangeError for a column that is not there, or is `other`.
   */
  read(names: readonly string[]): Promise<Readonly<Record<string, Column>>>;
  /**
   * Writes the rows with these numbers, ascending from 0, as a Parquet file: their own columns as they are, then
   * `further` ones, row by row. A further column takes the place of an own one of the same name.
   */
  writeWith(file: string, rows: Float64Array, further: Readonly<Record<string, WriteColumn>>): Promise<void>;
}

/** The file is not there, or is not what its name says. */
export class TableFileError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "TableFileError";
  }
}

type Connect = () => Promise<DuckDBConnection & Disposable>;

/** The number of a row in its file, where the table has it beside the file's own columns. */
const ROW_NAME = "millrace row";
const ROW = quoteName(ROW_NAME);

export async function openTableFile(
  file: string,
  texts: readonly string[],
  connect: Connect,
): Promise<TableFile> {
  const isThere = await stat(file).catch(() => null);
  if (isThere?.isFile() !== true) throw new TableFileError(`there is no file ${file}`);
  const { source, columns } = await describeTable(file, texts, connect);
  const names = new Map(columns.map((column) => [column.name, column]));

  return {
    columns,

    async read(wanted) {
      const selected = wanted.map((name) => {
        const column = names.get(name);
        if (column === undefined) throw new RangeError(`${file} has no column "${name}"`);
        return `${valueSql(column, file)} AS ${quoteName(name)}`;
      });
      if (selected.length === 0) return {};
      using connection = await connect();
      const result = await connection.stream(`SELECT ${selected.join(", ")} FROM ${source}`);
      const kinds = result.columnTypes().map((type, i) => kindOf(wanted[i] as string, type));
      const parts: Column[][] = kinds.map(() => []);
      for await (const chunk of result) {
        kinds.forEach((kind, i) => parts[i]?.push(copyColumn(chunk, i, kind)));
      }
      return Object.fromEntries(kinds.map((kind, i) => [wanted[i], concat(kind, parts[i] as Column[])]));
    },

    async writeWith(target, rows, further) {
      using connection = await connect();
      const staged = { [ROW_NAME]: { kind: "integer", values: rows } as const, ...further };
      const selected = await stageColumns(connection, "further", staged);
      const replaced = new Set(Object.keys(further).map((name) => name.toLowerCase()));
      const own = columns.filter(({ name }) => !replaced.has(name.toLowerCase()));
      const kept = [...own.map(({ name }) => `own.${quoteName(name)}`), `added.* EXCLUDE (${ROW})`];
      await connection.run(
        `COPY (SELECT ${kept.join(", ")}
          FROM (SELECT *, row_number() OVER () - 1 AS ${ROW} FROM ${source}) AS own
          JOIN (SELECT ${selected.join(", ")} FROM further) AS added ON own.${ROW} = added.${ROW}
          ORDER BY added.${ROW}) TO ${quoteText(plainPath(target))} ${PARQUET_FORMAT}`,
      );
    },
  };
}

/** The table as SQL, and its columns. All of a CSV file is looked at, so that no later row is of another type. */
async function describeTable(
  file: string,
  texts: readonly string[],
  connect: Connect,
): Promise<{ readonly source: string; readonly columns: readonly TableColumn[] }> {
  using connection = await connect();
  const describe = async (source: string): Promise<readonly TableColumn[]> => {
    const reader = await connection.runAndReadAll(`DESCRIBE SELECT * FROM ${source}`);
    return reader.getRows().map(([name, type]) => {
      return { name: String(name), kind: columnKind(String(type)), type: String(type) };
    });
  };
  try {
    if (/\.parquet$/i.test(file)) {
      const source = quoteFiles([file]);
      return { source, columns: await describe(source) };
    }
    if (!/\.csv(\.gz)?$/i.test(file)) {
      throw new TableFileError(`${file} is neither a .parquet nor a .csv file`);
    }
    const path = `${quoteText(plainPath(file))}, sample_size = -1`;
    const guessed = await describe(`read_csv(${path})`);
    const forced = guessed.filter(({ name }) => texts.includes(name)).map(({ name }) => name);
    const types = forced.map((name) => `${quoteText(name)}: 'VARCHAR'`).join(", ");
    const source = types === "" ? `read_csv(${path})` : `read_csv(${path}, types = {${types}})`;
    return { source, columns: await describe(source) };
  } catch (error) {
    if (error instanceof TableFileError || error instanceof RangeError) throw error;
    const [reason] = (error as Error).message.split("\n");
    throw new TableFileError(`${file} cannot be read: ${reason}`, { cause: error });
  }
}

function columnKind(type: string): TableColumnKind {
  if (/^(U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)|FLOAT|DOUBLE|DECIMAL\(.*\))$/.test(type))
    return "number";
  if (/^(DATE|TIMESTAMP.*)$/.test(type)) return "time";
  if (type === "BOOLEAN") return "boolean";
  return /^(VARCHAR|ENUM\(.*\)|UUID)$/s.test(type) ? "text" : "other";
}

function valueSql({ name, kind, type }: TableColumn, file: string): string {
  const column = quoteName(name);
  switch (kind) {
    case "number":
    case "boolean":
      return `CAST(${column} AS DOUBLE)`;
    case "text":
      return `CAST(${column} AS VARCHAR)`;
    case "time":
      return `CAST(epoch_ms(${column}) AS DOUBLE)`;
    case "other":
      throw new RangeError(`column "${name}" of ${file} is ${type}`);
  }
}
