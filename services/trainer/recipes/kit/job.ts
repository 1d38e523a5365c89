import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { EXIT, type ExitReason, type Job, jobSchema } from "./contract.ts";

/** Ends the recipe with the exit code of `reason`; the message goes to standard error. */
export class RecipeExit extends Error {
  readonly code: number;
  constructor(reason: ExitReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "RecipeExit";
    this.code = EXIT[reason];
  }
}

/** Reads and checks a job file; its paths become absolute. Throws a RecipeExit (bad job). */
export async function readJob(file: string | undefined): Promise<Job> {
  if (file === undefined)
    throw new RecipeExit("badJob", "the job file is missing: give its path as the argument");
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    throw new RecipeExit("badJob", `the job file ${file} cannot be read as JSON: ${String(error)}`, {
      cause: error,
    });
  }
  const job = checked(jobSchema, value, "the job");
  const at = (path: string): string => resolve(dirname(file), path);
  return {
    ...job,
    data: job.data.map(({ file, rows }) => ({ file: at(file), rows })),
    output: at(job.output),
    checkpoint: at(job.checkpoint),
    parent: job.parent === null ? null : { file: at(job.parent.file) },
  };
}

/** The recipe's configuration with its defaults. Throws a RecipeExit (bad job) that names each wrong key. */
export function readConfig<S extends z.ZodRawShape>(
  job: Job,
  shape: S,
): z.infer<z.ZodObject<S, z.core.$strict>> {
  return checked(z.strictObject(shape), job.config, "config");
}

function checked<S extends z.ZodType>(schema: S, value: unknown, what: string): z.infer<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${[what, ...issue.path].join(".")}: ${issue.message}`);
  throw new RecipeExit("badJob", problems.join("; "));
}
