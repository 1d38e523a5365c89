/**
 * Parquet files, written and read by one DuckDB inside the process. `parquet.ts` opens it; `columns.ts` what
 * columns are in memory; `sql.ts` quoting.
 */
export * from "./columns.ts";
export * from "./parquet.ts";
export { quoteFiles, quoteName, quoteText } from "./sql.ts";
