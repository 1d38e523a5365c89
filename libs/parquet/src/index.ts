/**
 * Parquet files, written and read by one DuckDB inside the process. `parquet.ts` opens it; `columns.ts` what columns
 * are in memory; `coded-scan.ts` texts read as codes; `table-file.ts` files of others; `stage-columns.ts` how columns
 * come into DuckDB; `sql.ts` and `where.ts` quoting.
 */
export type { CodedBatch, CodedKind, CodedScanOptions, CodedSchema } from "./coded-scan.ts";
export * from "./columns.ts";
export * from "./parquet.ts";
export { quoteFiles, quoteName, quoteText } from "./sql.ts";
export { type TableColumn, type TableColumnKind, type TableFile, TableFileError } from "./table-file.ts";
export type { Bound } from "./where.ts";

/** Where threads import this module from. */
export const PARQUET_MODULE: string = import.meta.url;
