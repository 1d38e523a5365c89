import { z } from "zod";

/**
 * The recipe contract as types: what the trainer writes for a recipe and what it reads back. `../README.md` has it
 * in words, for recipes in other languages. Readers ignore fields they do not know.
 */

/** `recipe.json`, in the recipe's folder. */
export interface RecipeManifest {
  readonly name: string;
  readonly title: string;
  /** Started in the recipe's folder with the job file as last argument; `node` is the trainer's own. */
  readonly command: readonly string[];
  /** Environment variables that the recipe needs to be set; it gets no others but PATH and OMP_WAIT_POLICY. */
  readonly needs: readonly string[];
}
export const recipeSchema: z.ZodType<RecipeManifest> = z.object({
  name: z.string(),
  title: z.string(),
  command: z.array(z.string()).min(1),
  needs: z.array(z.string()),
});

/** The job file. Paths are absolute or relative to it. Times are event times in ms. */
export interface Job {
  readonly contract: 1;
  readonly line: string;
  readonly runId: string;
  readonly candidate: string;
  /** Feature names in model order; feature i is column `f<i>` of the data. */
  readonly features: readonly string[];
  readonly featureDigest: string;
  readonly label: string;
  /** Parquet files: id, time, known_at, label (0 or 1), f0, f1, ... FLOAT, NULL where unknown. One row per event. */
  readonly data: readonly { readonly file: string; readonly rows: number }[];
  /** Only rows with trainFromMs <= time < trainUntilMs may be learnt from. */
  readonly trainFromMs: number;
  readonly trainUntilMs: number;
  /** As the line has it. */
  readonly config: Readonly<Record<string, number | string | boolean>>;
  readonly seed: number;
  readonly threads: number;
  /** Wall-clock seconds of this start. */
  readonly budget: { readonly seconds: number; readonly joules: number | null };
  /** Folders of this candidate alone; made when missing. */
  readonly output: string;
  readonly checkpoint: string;
  /** The champion's `model.onnx`, for recipes that learn on from it. */
  readonly parent: { readonly file: string } | null;
}
export const jobSchema: z.ZodType<Job> = z.object({
  contract: z.literal(1),
  line: z.string(),
  runId: z.string(),
  candidate: z.string(),
  features: z.array(z.string()).min(1),
  featureDigest: z.string(),
  label: z.string(),
  data: z.array(z.object({ file: z.string(), rows: z.int().min(0) })),
  trainFromMs: z.number(),
  trainUntilMs: z.number(),
  config: z.record(z.string(), z.union([z.number(), z.string(), z.boolean()])),
  seed: z.int().min(0).max(2_147_483_647),
  threads: z.int().min(1),
  budget: z.object({ seconds: z.number().positive(), joules: z.number().positive().nullable() }),
  output: z.string(),
  checkpoint: z.string(),
  parent: z.object({ file: z.string() }).nullable(),
});

/** One line of standard output. Lines that are not of this form are a library's chatter: skip them. */
export type Report =
  /** `done`: 0..1. */
  | { readonly type: "progress"; readonly done: number; readonly message: string }
  | { readonly type: "metric"; readonly name: string; readonly value: number }
  | { readonly type: "checkpoint"; readonly file: string }
  /** Spent since the start. */
  | { readonly type: "energy"; readonly joules: number };
export const reportSchema: z.ZodType<Report> = z.discriminatedUnion("type", [
  z.object({ type: z.literal("progress"), done: z.number().min(0).max(1), message: z.string() }),
  z.object({ type: z.literal("metric"), name: z.string(), value: z.number() }),
  z.object({ type: z.literal("checkpoint"), file: z.string() }),
  z.object({ type: z.literal("energy"), joules: z.number().min(0) }),
]);

/** Names of the files that a recipe leaves in the output folder. */
export const OUTPUT_FILES = {
  model: "model.onnx",
  signature: "signature.json",
  metrics: "metrics.json",
  golden: "golden.json",
} as const;

/** `signature.json` */
export interface Signature {
  readonly features: readonly string[];
  readonly featureDigest: string;
  readonly input: string;
  readonly output: string;
}
export const signatureSchema: z.ZodType<Signature> = z.object({
  features: z.array(z.string()),
  featureDigest: z.string(),
  input: z.string(),
  output: z.string(),
});

/** `metrics.json` */
export type Metrics = Readonly<Record<string, number>>;
export const metricsSchema: z.ZodType<Metrics> = z.record(z.string(), z.number());

export const GOLDEN_ROWS_MAX = 64;

/** `golden.json`: rows for the parity check and the recipe's own scores of them, not onnxruntime's. */
export interface Golden {
  /** [rows][features], FP32 values, null where unknown. */
  readonly inputs: readonly (readonly (number | null)[])[];
  /** One per row. */
  readonly scores: readonly number[];
}
export const goldenSchema: z.ZodType<Golden> = z.object({
  inputs: z.array(z.array(z.number().nullable())).min(1).max(GOLDEN_ROWS_MAX),
  scores: z.array(z.number()),
});

/** How a recipe ends. */
export const EXIT = {
  ok: 0,
  badJob: 64,
  badData: 65,
  libraryMissing: 69,
  internal: 70,
  stopped: 75,
} as const;
export type ExitReason = Exclude<keyof typeof EXIT, "ok">;
