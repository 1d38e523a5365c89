import { join } from "node:path";
import type { ColumnScan } from "./replay.ts";

/** Kinds in which columns are read for a replay with codes: numbers, NaN where unknown; texts as codes. */
export type CodedKind = "float64" | "code";
export type CodedSchema = Readonly<Record<string, CodedKind>>;

/** Rows of a coded scan: of a text column, code c > 0 is text c - 1 of its dictionary, and 0 is null. */
export interface CodedBatch {
  readonly rows: number;
  readonly columns: Readonly<Record<string, Float64Array | Int32Array>>;
  /** The same object in each batch of a scan. */
  readonly dictionaries: Readonly<Record<string, readonly string[]>>;
}

export interface CodedScanOptions {
  readonly where: readonly { readonly column: string; readonly atLeast?: number; readonly atMost?: number }[];
  /** Columns to sort by; none: the order of the files. */
  readonly orderBy: readonly string[];
  /**
   * Rows come in so many groups, one after the other and each in the order of `orderBy`, whose first column then has
   * whole numbers within +-2^48. The group of a row is the first of the columns `by` that is known in it, a code or a
   * whole number, modulo `count`, and 0 where there is none. The columns share one dictionary.
   */
  readonly groups?: { readonly by: readonly string[]; readonly count: number };
  readonly signal: AbortSignal;
}

/** The port to Parquet files for those who replay. The adapter is `libs/parquet`. */
export interface ReplayScan extends ColumnScan {
  /** A column that a file lacks is unknown there (NaN, 0). */
  scanCoded(
    files: readonly string[],
    schema: CodedSchema,
    options: CodedScanOptions,
  ): AsyncIterable<CodedBatch>;
  /** What is still being read ends with an error. */
  close(): void;
}

/** How a thread comes to a port of its own, since ports cannot be sent to it. */
export interface ScanModule {
  /** URL of a module that exports `openParquet` as `libs/parquet` does: `PARQUET_MODULE`. */
  readonly module: string;
  /** Most memory for sorting, of all threads together; what is more spills into `scratch`. */
  readonly memoryMb: number;
  readonly scratch: string;
}

interface ParquetModule {
  openParquet(options: {
    readonly memoryMb: number;
    readonly threads: number;
    readonly scratch: string;
  }): Promise<ReplayScan>;
}

/** One of `sharers` threads, which has a share of the memory and a scratch folder of its own. */
export interface ThreadShare {
  readonly number: number;
  readonly sharers: number;
  /** Threads that its queries may use. */
  readonly queryThreads: number;
}

/** Opens the port in this thread. */
export async function openScan(
  { module, memoryMb, scratch }: ScanModule,
  { number, sharers, queryThreads }: ThreadShare,
): Promise<ReplayScan> {
  const { openParquet } = (await import(module)) as ParquetModule;
  return openParquet({
    memoryMb: Math.ceil(memoryMb / sharers),
    threads: queryThreads,
    scratch: join(scratch, `thread-${number}`),
  });
}
