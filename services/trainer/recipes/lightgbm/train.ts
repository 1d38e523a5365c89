import { parseLightgbm, treeEnsembleModel } from "@millrace/onnx-graph";
import { z } from "zod";
import { readCheckpoint, writeCheckpoint } from "../kit/checkpoint.ts";
import { requireBothClasses } from "../kit/examples.ts";
import { readConfig } from "../kit/job.ts";
import { breathe, runRecipe, stopped } from "../kit/run.ts";
import { LIBRARY_FILE } from "./config.ts";
import { loadLightgbm } from "./library.ts";

const CONFIG = {
  trees: z.int().min(1).max(10_000).default(100),
  leaves: z.int().min(2).max(4_096).default(31),
  learningRate: z.number().positive().max(1).default(0.1),
  minLeafRows: z.int().min(1).default(20),
  l2: z.number().min(0).default(0),
};
/** Trees grown and the model in text form. */
const stateSchema = z.object({ trees: z.int().min(1), model: z.string() });
const CHECKPOINT_SECONDS = 30;
/** Kept back for the conversion, which takes about this share of the time that the trees took. */
const CONVERSION_SHARE = 0.3;
const RESERVE_SECONDS = 1;

const secondsSince = (ms: number): number => (performance.now() - ms) / 1000;

await runRecipe("lightgbm", async ({ job, examples, description, stop, secondsLeft, report }) => {
  const config = readConfig(job, CONFIG);
  const lightgbm = loadLightgbm(LIBRARY_FILE);
  requireBothClasses(examples);
  const width = job.features.length;
  const parameters = [
    "objective=binary",
    `num_leaves=${config.leaves}`,
    `learning_rate=${config.learningRate}`,
    `min_data_in_leaf=${config.minLeafRows}`,
    `lambda_l2=${config.l2}`,
    `seed=${job.seed}`,
    `num_threads=${job.threads}`,
    // The same trees from the same data, seed and number of threads.
    "deterministic=true",
    "force_row_wise=true",
    "verbosity=-1",
  ].join(" ");

  const dataset = lightgbm.createDataset(examples.matrix, examples.labels, width, parameters);
  const earlier = stateSchema.safeParse(await readCheckpoint(job)).data;
  const start = earlier === undefined ? null : lightgbm.loadBooster(earlier.model);
  if (start !== null) dataset.setInitialScores(start.predict(examples.matrix, width, true));
  const booster = lightgbm.createBooster(dataset, parameters);
  if (start !== null) {
    booster.prepend(start);
    start.free();
  }

  let trees = earlier?.trees ?? 0;
  const begun = performance.now();
  let kept = begun;
  let slowest = 0;
  const keep = (): Promise<void> => writeCheckpoint(job, { trees, model: booster.save() }, report);
  while (trees < config.trees) {
    await breathe();
    if (stop.aborted) {
      if (trees > 0) await keep();
      throw stopped();
    }
    const reserve = RESERVE_SECONDS + CONVERSION_SHARE * secondsSince(begun) + 2 * slowest;
    if (trees > 0 && secondsLeft() < reserve) {
      report({
        type: "progress",
        done: trees / config.trees,
        message: `the budget ends after ${trees} trees`,
      });
      break;
    }
    const before = performance.now();
    if (!booster.grow()) break;
    trees++;
    slowest = Math.max(slowest, secondsSince(before));
    if (trees % 10 === 0) report({ type: "progress", done: trees / config.trees, message: `${trees} trees` });
    if (secondsSince(kept) > CHECKPOINT_SECONDS) {
      await keep();
      kept = performance.now();
    }
  }

  const ensemble = parseLightgbm(booster.save());
  return {
    model: treeEnsembleModel(description, ensemble),
    score: (matrix) => booster.predict(matrix, width, false),
    metrics: { trees: ensemble.trees.length },
  };
});
