import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MODEL_INPUT, MODEL_OUTPUT } from "@millrace/lines";
import type { ModelDescription } from "@millrace/onnx-graph";
import { EXIT, type Job, OUTPUT_FILES, type Report, type Signature } from "./contract.ts";
import { type Examples, readExamples } from "./examples.ts";
import { goldenMatrix, goldenOf } from "./golden.ts";
import { RecipeExit, readJob } from "./job.ts";

/** What a recipe works with. */
export interface Training {
  readonly job: Job;
  readonly examples: Examples;
  /** For the writers of `@millrace/onnx-graph`. */
  readonly description: ModelDescription;
  /** Aborts when the trainer wants the recipe to stop: keep a checkpoint and throw `stopped()`. */
  readonly stop: AbortSignal;
  /** Seconds left of the budget. */
  secondsLeft(): number;
  /** Writes a line to the trainer. */
  report(line: Report): void;
}

/** What a recipe has made. */
export interface Trained {
  /** ONNX bytes. */
  readonly model: Uint8Array;
  /** The recipe's own scores, without onnxruntime: Float32Array [rows x features] in, one score per row out. */
  score(matrix: Float32Array, rows: number): Iterable<number>;
  readonly metrics: Readonly<Record<string, number>>;
}

/** How a recipe ends that was asked to stop. */
export function stopped(): RecipeExit {
  return new RecipeExit("stopped", "stopped on request");
}

/** Lets signals in: call it between the steps of a computation that holds the thread. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * Runs one recipe as a process: reads the job and its examples, trains, writes the output folder and sets the exit
 * code. The last statement of a recipe's `train.ts`.
 */
export async function runRecipe(
  name: string,
  train: (training: Training) => Promise<Trained>,
): Promise<void> {
  const started = performance.now();
  const abort = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => abort.abort());
  const report = (line: Report): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
  const seconds = (): number => (performance.now() - started) / 1000;
  try {
    const job = await readJob(process.argv[2]);
    const examples = await readExamples(job);
    report({ type: "progress", done: 0, message: `${examples.rows} rows read` });
    const description = { features: job.features, featureDigest: job.featureDigest, recipe: name };
    const secondsLeft = (): number => job.budget.seconds - seconds();
    const trained = await train({ job, examples, description, stop: abort.signal, secondsLeft, report });
    if (abort.signal.aborted) throw stopped();
    const metrics = {
      rows: examples.rows,
      positives: examples.positives,
      ...trained.metrics,
      seconds: seconds(),
    };
    await writeOutput(job, examples, trained, metrics);
    for (const [metric, value] of Object.entries(metrics)) report({ type: "metric", name: metric, value });
    report({ type: "progress", done: 1, message: "finished" });
    process.exitCode = EXIT.ok;
  } catch (error) {
    const expected = error instanceof RecipeExit;
    process.stderr.write(
      `recipe ${name}: ${expected ? error.message : error instanceof Error ? error.stack : String(error)}\n`,
    );
    process.exitCode = expected ? error.code : EXIT.internal;
  }
}

async function writeOutput(
  job: Job,
  examples: Examples,
  trained: Trained,
  metrics: Record<string, number>,
): Promise<void> {
  const { features, featureDigest } = job;
  const rows = goldenMatrix(examples, features.length);
  const golden = goldenOf(rows, features.length, trained.score(rows, rows.length / features.length));
  const signature: Signature = { features, featureDigest, input: MODEL_INPUT, output: MODEL_OUTPUT };
  await mkdir(job.output, { recursive: true });
  const write = (file: string, data: string | Uint8Array): Promise<void> =>
    writeFile(join(job.output, file), data);
  await write(OUTPUT_FILES.signature, JSON.stringify(signature));
  await write(OUTPUT_FILES.metrics, JSON.stringify(metrics));
  await write(OUTPUT_FILES.golden, JSON.stringify(golden));
  await write(OUTPUT_FILES.model, trained.model);
}
