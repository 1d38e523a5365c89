import { stat } from "node:fs/promises";
import type { DuckDBConnection } from "@duckdb/node-api";
import { type Column, concat, copyColumn, kindOf, type WriteColumn } from "./columns.ts";
import { plainPath, quoteFiles, quoteName, quoteText } from "./sql.ts";
import { stageColumns } from "./stage-columns.ts";

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
   * Writes rows as a Parquet file: their own columns as they are, then `further` ones. Uint8Array `kept` [rows of the
   * file] has 1 for each row that is written; null: all are. Further columns have the rows that are written, and take
   * the place of own ones of the same name.
   */
  writeWith(
    file: string,
    kept: Uint8Array | null,
    further: Readonly<Record<string, WriteColumn>>,
  ): Promise<void>;
}

/** The file is not there, or is not what its name says. */
export class TableFileError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "TableFileError";
  }
}

type Connect = () => Promise<DuckDBConnection & Disposable>;

/** What follows the path of a COPY: the least effort of zstd takes less time than any other compression. */
const FAST_FORMAT = "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)";

/** The flag of rows that are written, where it is beside the file's own columns. */
const KEPT = "is written by millrace";

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

    async writeWith(target, kept, further) {
      using connection = await connect();
      const replaced = new Set(Object.keys(further).map((name) => name.toLowerCase()));
      const own = columns.filter(({ name }) => !replaced.has(name.toLowerCase()));
      const added = Object.entries(further).map(
        ([name, column]) => [name, kept === null ? column : spread(column, kept)] as const,
      );
      const flags =
        kept === null ? [] : [[KEPT, { kind: "boolean", values: Float64Array.from(kept) }] as const];
      const staged = await stageColumns(connection, "further", Object.fromEntries([...added, ...flags]));
      const selected = [...own, ...added.map(([name]) => ({ name }))].map(({ name }) => quoteName(name));
      // Joined by position, rows stay in their order without being sorted.
      await connection.run(
        `COPY (SELECT ${selected.join(", ")}
          FROM (SELECT ${own.map(({ name }) => quoteName(name)).join(", ") || "NULL AS nothing"} FROM ${source})
          POSITIONAL JOIN (SELECT ${staged.join(", ")} FROM further)
          ${kept === null ? "" : `WHERE ${quoteName(KEPT)}`}) TO ${quoteText(plainPath(target))} ${FAST_FORMAT}`,
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

/** A column of the rows that are kept, with nothing in the rows between them. */
function spread(column: WriteColumn, kept: Uint8Array): WriteColumn {
  let next = 0;
  if (column.kind === "text") {
    const { values } = column;
    return {
      ...column,
      values: Array.from(kept, (isKept) => (isKept === 1 ? (values[next++] ?? null) : null)),
    };
  }
  const values = column.kind === "float32" ? new Float32Array(kept.length) : new Float64Array(kept.length);
  for (let row = 0; row < kept.length; row++) {
    values[row] = kept[row] === 1 ? (column.values[next++] as number) : Number.NaN;
  }
  return { ...column, values } as WriteColumn;
}
