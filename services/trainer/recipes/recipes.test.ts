import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadModel } from "@millrace/onnx";
import { openParquet, type WriteColumn } from "@millrace/parquet";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  EXIT,
  goldenSchema,
  type Job,
  metricsSchema,
  OUTPUT_FILES,
  type Report,
  recipeSchema,
  reportSchema,
  signatureSchema,
} from "./kit/contract.ts";

/** LightGBM's shared library, as the local supervisor fetches it. */
const LIBRARY = process.env.MILLRACE_LIGHTGBM_LIBRARY;
const FEATURES = ["hour", "distance", "late_1h", "never", "constant"];
const ROWS = 3_000;
/** Each test starts processes. */
const SLOW_MS = 60_000;

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "recipes-"));
  await writeData("data.parquet", ROWS, (x) => x);
  await writeData("one-class.parquet", 200, () => 0);
  await writeData("few.parquet", 10, (x) => x);
  await writeData("third-class.parquet", 200, () => 2);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Rows of which late_1h and distance say something about the label; some values unknown. */
async function writeData(name: string, rows: number, label: (l: number) => number): Promise<void> {
  let state = 42;
  const next = (): number => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  const columns = FEATURES.map(() => new Float32Array(rows));
  const labels = new Float32Array(rows);
  for (let i = 0; i < rows; i++) {
    const values = [
      Math.floor(next() * 24),
      next() * 4_000,
      next() < 0.2 ? Number.NaN : next(),
      Number.NaN,
      7,
    ];
    values.forEach((value, j) => void (columns[j]![i] = value));
    const late = values[2]!;
    const logit = (Number.isNaN(late) ? 0.5 : 4 * late - 2) + (values[1]! > 2_000 ? 1 : -1);
    labels[i] = label(next() < 1 / (1 + Math.exp(-logit)) ? 1 : 0);
  }
  const table: Record<string, WriteColumn> = {
    id: { kind: "text", values: Array.from({ length: rows }, (_, i) => `id-${i}`) },
    time: { kind: "integer", values: Float64Array.from({ length: rows }, (_, i) => 1_000 + i) },
    known_at: { kind: "integer", values: Float64Array.from({ length: rows }, (_, i) => 1_500 + i) },
    label: { kind: "float32", values: labels },
  };
  columns.forEach((values, j) => void (table[`f${j}`] = { kind: "float32", values }));
  const parquet = await openParquet({ memoryMb: 256, threads: 1, scratch: join(folder, "scratch") });
  await parquet.write(join(folder, name), table);
  parquet.close();
}

let runs = 0;
/** A complete job in a folder of its own; what `change` says differs. */
function jobOf(change: Partial<Job> = {}): { file: string; job: Job } {
  const at = join(folder, `run-${runs++}`);
  mkdirSync(at);
  const job: Job = {
    contract: 1,
    line: "flights",
    runId: "run",
    candidate: "x/all",
    features: FEATURES,
    featureDigest: "digest",
    label: "late",
    data: [{ file: "../data.parquet", rows: ROWS }],
    trainFromMs: 0,
    trainUntilMs: 1e12,
    config: {},
    seed: 7,
    threads: 1,
    budget: { seconds: 60, joules: null },
    output: "output",
    checkpoint: "checkpoint",
    parent: null,
    ...change,
  };
  writeFileSync(join(at, "job.json"), JSON.stringify(job));
  return {
    file: join(at, "job.json"),
    job: { ...job, output: join(at, "output"), checkpoint: join(at, "checkpoint") },
  };
}

interface Ended {
  readonly code: number | null;
  readonly reports: readonly Report[];
  readonly error: string;
}

/** Runs a recipe as the trainer does; `onReport` sees each line and may signal the process. */
async function run(
  recipe: string,
  argument: string | undefined,
  {
    environment = {},
    onReport,
  }: {
    environment?: Record<string, string | undefined>;
    onReport?: (report: Report, kill: () => void) => void;
  } = {},
): Promise<Ended> {
  const cwd = join(import.meta.dirname, recipe);
  const manifest = recipeSchema.parse(JSON.parse(readFileSync(join(cwd, "recipe.json"), "utf8")));
  expect(manifest.name).toBe(recipe);
  const [program, ...rest] = manifest.command;
  expect(program).toBe("node");
  const needs = Object.fromEntries(manifest.needs.map((name) => [name, process.env[name]]));
  const child = spawn(process.execPath, [...rest, ...(argument === undefined ? [] : [argument])], {
    cwd,
    env: { PATH: process.env.PATH, ...needs, ...environment },
  });
  const reports: Report[] = [];
  let error = "";
  let pending = "";
  child.stderr.on("data", (data: Buffer) => void (error += data.toString()));
  child.stdout.on("data", (data: Buffer) => {
    const lines = (pending + data.toString()).split("\n");
    pending = lines.pop() ?? "";
    for (const line of lines) {
      const report = reportSchema.parse(JSON.parse(line));
      reports.push(report);
      // Once, as the trainer does.
      onReport?.(report, () => child.killed || child.kill("SIGTERM"));
    }
  });
  const code = await new Promise<number | null>((resolve) => void child.once("close", resolve));
  return { code, reports, error };
}

/** What the trainer does with an output folder: the golden rows through onnxruntime. */
async function readOutput(job: Job) {
  const json = (name: string): unknown => JSON.parse(readFileSync(join(job.output, name), "utf8"));
  const golden = goldenSchema.parse(json(OUTPUT_FILES.golden));
  const model = await loadModel(readFileSync(join(job.output, OUTPUT_FILES.model)), { threads: 1 });
  const matrix = Float32Array.from(golden.inputs.flat(), (value) => value ?? Number.NaN);
  const scores = await model.score(matrix, golden.inputs.length);
  await model.release();
  return {
    golden,
    model: model.signature,
    signature: signatureSchema.parse(json(OUTPUT_FILES.signature)),
    metrics: metricsSchema.parse(json(OUTPUT_FILES.metrics)),
    parity: Math.max(...golden.scores.map((score, i) => Math.abs(score - scores[i]!))),
  };
}

const recipes = [
  { recipe: "baseline", works: true },
  { recipe: "logistic", works: true },
  { recipe: "lightgbm", works: LIBRARY !== undefined },
];

describe.each(recipes)("$recipe", { timeout: SLOW_MS }, ({ recipe, works }) => {
  it.runIf(works)("leaves a model that reproduces its own golden scores, and describes it", async () => {
    const { file, job } = jobOf();
    const { code, reports, error } = await run(recipe, file);
    expect({ code, error }).toEqual({ code: EXIT.ok, error: "" });
    const output = await readOutput(job);
    expect(output.signature).toEqual({
      features: FEATURES,
      featureDigest: "digest",
      input: "features",
      output: "score",
    });
    expect(output.model).toMatchObject({
      features: 5,
      featureNames: FEATURES,
      featureDigest: "digest",
      recipe,
    });
    expect(output.golden.inputs.length).toBe(64);
    expect(output.golden.inputs.flat().includes(null)).toBe(true);
    expect(output.golden.scores.every((score) => score > 0 && score < 1)).toBe(true);
    expect(output.parity).toBeLessThan(1e-5);
    expect(output.metrics).toMatchObject({ rows: ROWS });
    expect(reports.at(-1)).toEqual({ type: "progress", done: 1, message: "finished" });
    expect(reports.some((report) => report.type === "metric" && report.name === "seconds")).toBe(true);
  });

  it.runIf(works)("gives the same model for the same job", async () => {
    const [a, b] = [jobOf(), jobOf()];
    await Promise.all([run(recipe, a.file), run(recipe, b.file)]);
    const bytes = ({ job }: { job: Job }): Buffer => readFileSync(join(job.output, OUTPUT_FILES.model));
    expect(bytes(a).equals(bytes(b))).toBe(true);
  });

  it.runIf(works)("learns from the rows of the training time only", async () => {
    const { file, job } = jobOf({ trainFromMs: 1_100, trainUntilMs: 2_100 });
    expect((await run(recipe, file)).code).toBe(EXIT.ok);
    expect((await readOutput(job)).metrics.rows).toBe(1_000);
  });

  it("answers 64 to a setting that it does not know and names it", async () => {
    const { code, error } = await run(recipe, jobOf({ config: { tres: 5 } }).file);
    expect({ code, named: error.includes("config: ") && error.includes("tres") }).toEqual({
      code: EXIT.badJob,
      named: true,
    });
  });

  it.runIf(works && recipe !== "baseline")("answers 65 to one class, too few rows and no data", async () => {
    for (const data of [
      [{ file: "../one-class.parquet", rows: 200 }],
      [{ file: "../few.parquet", rows: 10 }],
      [],
    ]) {
      const { file, job } = jobOf({ data });
      expect((await run(recipe, file)).code).toBe(EXIT.badData);
      expect(existsSync(job.output)).toBe(false);
    }
  });

  // The baseline has ended before a signal can reach it.
  it.runIf(works && recipe !== "baseline")(
    "answers 75 when it is told to stop, and leaves no output",
    async () => {
      const { file, job } = jobOf();
      const { code } = await run(recipe, file, { onReport: (_report, kill) => kill() });
      expect(code).toBe(EXIT.stopped);
      expect(existsSync(job.output)).toBe(false);
    },
  );
});

// What every recipe has from the kit.
describe("a recipe", { timeout: SLOW_MS }, () => {
  it.each<[string, Partial<Record<keyof Job, unknown>>, string]>([
    ["an unknown contract", { contract: 2 }, "contract"],
    ["no features", { features: [] }, "features"],
    ["a missing field", { output: undefined }, "output"],
  ])("answers 64 to %s and names it", async (_what, change, named) => {
    const { code, error } = await run("baseline", jobOf(change as Partial<Job>).file);
    expect(code).toBe(EXIT.badJob);
    expect(error).toContain(named);
  });

  it("answers 64 without a job and to one that is not JSON", async () => {
    expect((await run("baseline", undefined)).code).toBe(EXIT.badJob);
    const broken = join(folder, "broken.json");
    writeFileSync(broken, "{");
    expect((await run("baseline", broken)).code).toBe(EXIT.badJob);
  });

  it.each(["missing.parquet", "broken.json", "third-class.parquet"])(
    "answers 65 to %s as data",
    async (data) => {
      writeFileSync(join(folder, "broken.json"), "{");
      const { code, error } = await run("baseline", jobOf({ data: [{ file: `../${data}`, rows: 1 }] }).file);
      expect(code).toBe(EXIT.badData);
      expect(error).not.toBe("");
    },
  );

  it("answers 65 to data with fewer features than the job names", async () => {
    const { code, error } = await run("baseline", jobOf({ features: [...FEATURES, "more"] }).file);
    expect({ code, named: error.includes("f5") }).toEqual({ code: EXIT.badData, named: true });
  });
});

describe("baseline", { timeout: SLOW_MS }, () => {
  it("answers 0.5 before there is any data", async () => {
    const { file, job } = jobOf({ data: [] });
    expect((await run("baseline", file)).code).toBe(EXIT.ok);
    expect((await readOutput(job)).golden.scores).toEqual([0.5, 0.5]);
  });

  it("answers the share of positive labels", async () => {
    const { file, job } = jobOf();
    await run("baseline", file);
    const { golden, metrics } = await readOutput(job);
    expect(golden.scores[0]).toBeCloseTo(metrics.positives! / ROWS, 3);
  });
});

describe("logistic", { timeout: SLOW_MS }, () => {
  it("finds what the data says", async () => {
    const { file, job } = jobOf();
    await run("logistic", file);
    expect((await readOutput(job)).metrics.trainingLogLoss).toBeLessThan(0.56);
  });
});

describe("lightgbm", { timeout: SLOW_MS }, () => {
  it("answers 69 without its library, and to one that is none", async () => {
    const without = await run("lightgbm", jobOf().file, {
      environment: { MILLRACE_LIGHTGBM_LIBRARY: undefined },
    });
    expect(without.code).toBe(EXIT.libraryMissing);
    expect(without.error).toContain("MILLRACE_LIGHTGBM_LIBRARY is not set");
    const wrong = await run("lightgbm", jobOf().file, {
      environment: { MILLRACE_LIGHTGBM_LIBRARY: import.meta.filename },
    });
    expect(wrong.code).toBe(EXIT.libraryMissing);
  });

  it.runIf(LIBRARY !== undefined)(
    "goes on from its checkpoint to the model that it would have made",
    async () => {
      const config = { trees: 60, leaves: 15 };
      const whole = jobOf({ config });
      expect((await run("lightgbm", whole.file)).code).toBe(EXIT.ok);

      const halted = jobOf({ config });
      const first = await run("lightgbm", halted.file, {
        onReport: (report, kill) => report.type === "progress" && report.message === "20 trees" && kill(),
      });
      expect(first.code).toBe(EXIT.stopped);
      expect(first.reports.at(-1)).toEqual({
        type: "checkpoint",
        file: join(halted.job.checkpoint, "checkpoint.json"),
      });
      const second = await run("lightgbm", halted.file);
      expect(second.code).toBe(EXIT.ok);
      expect(
        second.reports.some((report) => report.type === "progress" && report.message === "20 trees"),
      ).toBe(false);

      const [a, b] = [await readOutput(whole.job), await readOutput(halted.job)];
      expect(b.metrics.trees).toBe(60);
      expect(b.parity).toBeLessThan(1e-5);
      a.golden.scores.forEach((score, i) => expect(b.golden.scores[i]).toBeCloseTo(score, 5));
    },
  );

  it.runIf(LIBRARY !== undefined)("does not take up the checkpoint of another job", async () => {
    const { file, job } = jobOf({ config: { trees: 5 } });
    mkdirSync(job.checkpoint);
    writeFileSync(
      join(job.checkpoint, "checkpoint.json"),
      JSON.stringify({ of: "another", state: { trees: 4, model: "x" } }),
    );
    expect((await run("lightgbm", file)).code).toBe(EXIT.ok);
    expect((await readOutput(job)).metrics.trees).toBe(5);
  });

  it.runIf(LIBRARY !== undefined)("ends within its budget with the trees that it has", async () => {
    const { file, job } = jobOf({
      config: { trees: 10_000, leaves: 255, minLeafRows: 1, learningRate: 0.001 },
      budget: { seconds: 4, joules: null },
    });
    expect((await run("lightgbm", file)).code).toBe(EXIT.ok);
    const { metrics, parity } = await readOutput(job);
    expect(metrics.seconds).toBeLessThan(8);
    expect(metrics.trees).toBeLessThan(10_000);
    expect(metrics.trees).toBeGreaterThan(10);
    expect(parity).toBeLessThan(1e-4);
  });
});
