import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Candidate } from "@millrace/catalogue";
import { featureNames, type LearningLine, MODEL_INPUT, MODEL_OUTPUT } from "@millrace/lines";
import type { Log } from "@millrace/runtime";
import {
  type Golden,
  goldenSchema,
  type Job,
  OUTPUT_FILES,
  type RecipeManifest,
  type Report,
  recipeSchema,
  signatureSchema,
} from "../recipes/kit/contract.ts";
import type { Dataset } from "./build.ts";
import { StoppedError } from "./patience.ts";
import type { Settings } from "./ports.ts";
import { runRecipe } from "./recipe-process.ts";

const MODEL_BYTES_MAX = 256 * 1024 * 1024;
const SEED = 1;
/** OpenMP's threads sleep while they wait for one another: the cores have other work to do. */
const PATIENT_THREADS = { OMP_WAIT_POLICY: "PASSIVE" };

/** What a recipe left. Nothing of it is trusted yet. */
export interface TrainedCandidate {
  readonly candidate: Candidate;
  /** ONNX bytes. */
  readonly model: Uint8Array;
  readonly golden: Golden;
  readonly seconds: number;
}

/** A candidate that does not compete, and a sentence why. */
export interface FailedCandidate {
  readonly candidate: Candidate;
  readonly reason: string;
}

export interface TrainingRequest {
  readonly line: LearningLine;
  readonly featureDigest: string;
  readonly runId: string;
  /** Counts the starts of the run from 1: an earlier start's process may still be writing. */
  readonly attempt: number;
  /** null: the recipe needs none (the baseline). */
  readonly dataset: Dataset | null;
  /** File of the champion's model; null when there is none to learn on from. */
  readonly parentFile: string | null;
  /** Folder of this run. */
  readonly folder: string;
}

/**
 * Trains one candidate: writes the job, runs the recipe, reads what it left. A recipe that fails is an answer, not
 * an error. Throws a StoppedError when the signal aborts; the recipe has then kept a checkpoint where it can.
 */
export async function trainCandidate(
  candidate: Candidate,
  request: TrainingRequest,
  settings: Settings,
  log: Log,
  signal: AbortSignal,
  onReport: (report: Report) => void,
): Promise<TrainedCandidate | FailedCandidate> {
  const startedAt = performance.now();
  const recipeFolder = join(settings.recipes, candidate.recipe);
  const recipe = await readRecipe(recipeFolder);
  if (recipe === null)
    return { candidate, reason: `there is no recipe ${candidate.recipe} in ${settings.recipes}` };
  const missing = recipe.needs.filter((name) => settings.recipeEnvironment[name] === undefined);
  if (missing.length > 0) {
    return { candidate, reason: `recipe ${recipe.name} needs ${missing.join(" and ")}, which is not set` };
  }

  const folder = join(request.folder, candidate.name.replaceAll("/", "-"));
  const output = join(folder, `output-${request.attempt}`);
  await rm(output, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const jobFile = join(folder, `job-${request.attempt}.json`);
  const job = jobOf(candidate, request, settings, { output, checkpoint: join(folder, "checkpoint") });
  await writeFile(jobFile, JSON.stringify(job));
  const given = ["PATH", ...recipe.needs].map(
    (name) => [name, settings.recipeEnvironment[name] ?? ""] as const,
  );
  const environment = { ...Object.fromEntries(given), ...PATIENT_THREADS };
  // A recipe keeps to its budget by itself; one that does not is stopped a little later.
  const seconds = settings.seconds * 1.1 + 2;
  const start = { recipe, folder: recipeFolder, jobFile, environment, seconds, onReport };
  const end = await runRecipe(start, log, signal);
  if (signal.aborted) throw new StoppedError(`candidate ${candidate.name}`);
  if (!end.ok) return { candidate, reason: end.reason };
  return readOutput(candidate, output, job, (performance.now() - startedAt) / 1_000);
}

function jobOf(
  candidate: Candidate,
  { line, featureDigest, runId, dataset, parentFile }: TrainingRequest,
  { threads, seconds }: Settings,
  folders: Pick<Job, "output" | "checkpoint">,
): Job {
  const manifest = dataset?.manifest;
  const isSinceChange = candidate.window === "since-change";
  return {
    contract: 1,
    line: line.name,
    runId,
    candidate: candidate.name,
    features: featureNames(line),
    featureDigest,
    label: line.label.name,
    data: dataset?.files ?? [],
    trainFromMs: Math.max(manifest?.filter.fromMs ?? 0, isSinceChange ? (manifest?.changeMs ?? 0) : 0),
    trainUntilMs: manifest?.heldOutFromMs ?? 0,
    config: candidate.config,
    seed: SEED,
    threads,
    budget: { seconds, joules: null },
    ...folders,
    parent: parentFile === null ? null : { file: parentFile },
  };
}

async function readRecipe(folder: string): Promise<RecipeManifest | null> {
  const text = await readFile(join(folder, "recipe.json"), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  return text === null ? null : recipeSchema.parse(JSON.parse(text));
}

async function readOutput(
  candidate: Candidate,
  output: string,
  job: Job,
  seconds: number,
): Promise<TrainedCandidate | FailedCandidate> {
  const refuse = (problem: string): FailedCandidate => ({
    candidate,
    reason: `it ended well, but ${problem}`,
  });
  try {
    const { size } = await stat(join(output, OUTPUT_FILES.model));
    if (size > MODEL_BYTES_MAX) return refuse(`its model has ${size} bytes, more than ${MODEL_BYTES_MAX}`);
    const [model, signatureText, goldenText] = await Promise.all([
      readFile(join(output, OUTPUT_FILES.model)),
      readFile(join(output, OUTPUT_FILES.signature), "utf8"),
      readFile(join(output, OUTPUT_FILES.golden), "utf8"),
    ]);
    const signature = signatureSchema.parse(JSON.parse(signatureText));
    if (signature.featureDigest !== job.featureDigest || signature.features.join() !== job.features.join()) {
      return refuse("its signature has other features than the job");
    }
    if (signature.input !== MODEL_INPUT || signature.output !== MODEL_OUTPUT) {
      return refuse(
        `its model maps ${signature.input} to ${signature.output}, not ${MODEL_INPUT} to ${MODEL_OUTPUT}`,
      );
    }
    return { candidate, model, golden: goldenSchema.parse(JSON.parse(goldenText)), seconds };
  } catch (error) {
    return refuse(`its output cannot be read: ${(error as Error).message}`);
  }
}
