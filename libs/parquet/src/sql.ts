import { resolve } from "node:path";

/** A text as an SQL literal. Throws a RangeError for text with a zero character. */
export function quoteText(text: string): string {
  if (text.includes("\0")) throw new RangeError("text with a zero character cannot be quoted");
  return `'${text.replaceAll("'", "''")}'`;
}

/** A name (of a column, a table) as an SQL identifier. Throws a RangeError for an empty one or one with a zero character. */
export function quoteName(name: string): string {
  if (name === "" || name.includes("\0"))
    throw new RangeError("a name must not be empty or hold a zero character");
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * Parquet files as an SQL table expression. Paths are local files, exactly as named: one that DuckDB would read as
 * a pattern is refused with a RangeError, and so is an empty list.
 */
export function quoteFiles(files: readonly string[]): string {
  return readParquetSql(files, "");
}

/** The same of files that have different columns: what a file lacks is NULL. */
export function unitedFiles(files: readonly string[]): string {
  return readParquetSql(files, ", union_by_name = true");
}

function readParquetSql(files: readonly string[], options: string): string {
  if (files.length === 0) throw new RangeError("no files to read");
  const paths = files.map((file) => quoteText(plainPath(file))).join(", ");
  return `read_parquet([${paths}], hive_partitioning = false${options})`;
}

/** Absolute, so that no path is read as an address or an option. */
export function plainPath(file: string): string {
  if (/[*?[\]{}]/.test(file))
    throw new RangeError(`path ${file} has pattern characters: rename the folder or file`);
  return resolve(file);
}
