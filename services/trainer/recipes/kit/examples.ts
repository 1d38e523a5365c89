import { join } from "node:path";
import { openParquet, rowMajor } from "@millrace/parquet";
import type { Job } from "./contract.ts";
import { RecipeExit } from "./job.ts";

/** What a recipe learns from, in the order of the data files. */
export interface Examples {
  readonly rows: number;
  readonly positives: number;
  /** Float32Array [rows x features], row-major, NaN where unknown. */
  readonly matrix: Float32Array;
  /** 0 or 1 per row. */
  readonly labels: Float32Array;
}

/** Fewer rows than this, or only one class, teach nothing. */
const ROWS_MIN = 20;
const MEMORY_MB = 1024;

/** Reads the rows of the job's training time. Throws a RecipeExit (bad data) when they cannot be read. */
export async function readExamples(job: Job): Promise<Examples> {
  if (job.data.length === 0)
    return { rows: 0, positives: 0, matrix: new Float32Array(0), labels: new Float32Array(0) };
  const parquet = await openParquet({
    memoryMb: MEMORY_MB,
    threads: job.threads,
    scratch: join(job.checkpoint, "scratch"),
  });
  try {
    const names = job.features.map((_, i) => `f${i}`);
    const { rows, columns } = await parquet.read(
      job.data.map(({ file }) => file),
      Object.fromEntries(["label", ...names].map((name) => [name, "float32" as const])),
      { where: [{ column: "time", atLeast: job.trainFromMs, below: job.trainUntilMs }] },
    );
    const labels = columns.label as Float32Array;
    const bad = labels.find((label) => label !== 0 && label !== 1);
    if (bad !== undefined) throw new RecipeExit("badData", `label ${bad} is not 0 or 1`);
    const matrix = rowMajor(
      names.map((name) => columns[name] as Float32Array),
      rows,
    );
    return { rows, positives: labels.reduce((sum, label) => sum + label, 0), matrix, labels };
  } catch (error) {
    if (error instanceof RecipeExit) throw error;
    throw new RecipeExit("badData", `the data cannot be read: ${String(error)}`, { cause: error });
  } finally {
    parquet.close();
  }
}

/** Throws a RecipeExit (bad data) when the examples cannot teach: too few, or all of one class. */
export function requireBothClasses({ rows, positives }: Examples): void {
  if (rows < ROWS_MIN)
    throw new RecipeExit("badData", `${rows} rows are too few: at least ${ROWS_MIN} are needed`);
  if (positives === 0 || positives === rows) {
    throw new RecipeExit(
      "badData",
      `all ${rows} labels are ${positives === 0 ? 0 : 1}: both classes are needed`,
    );
  }
}
