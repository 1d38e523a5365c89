import { logisticModel } from "@millrace/onnx-graph";
import { z } from "zod";
import { requireBothClasses } from "../kit/examples.ts";
import { RecipeExit, readConfig } from "../kit/job.ts";
import { breathe, runRecipe, stopped } from "../kit/run.ts";
import { newtonSteps, scalingOf, scoreLogistic, standardised } from "./logistic.ts";

/** A Newton step needs features^2 multiplications per row. */
const FEATURES_MAX = 500;

await runRecipe("logistic", async ({ job, examples, description, stop, secondsLeft, report }) => {
  const { l2 } = readConfig(job, { l2: z.number().min(0).default(1) });
  requireBothClasses(examples);
  const width = job.features.length;
  if (width > FEATURES_MAX) {
    throw new RecipeExit(
      "badData",
      `${width} features are more than the ${FEATURES_MAX} that Newton's method is fit for`,
    );
  }
  const scaling = scalingOf(examples.matrix, width);
  const matrix = standardised(examples.matrix, scaling);

  let last = { coefficients: new Float64Array(width + 1), loss: Number.POSITIVE_INFINITY };
  let iterations = 0;
  for (const step of newtonSteps(matrix, examples.labels, width, l2)) {
    last = step;
    iterations++;
    report({
      type: "progress",
      done: Math.min(0.95, iterations / 10),
      message: `log loss ${step.loss.toFixed(5)}`,
    });
    await breathe();
    if (stop.aborted) throw stopped();
    if (secondsLeft() <= 0) break;
  }
  const parameters = {
    ...scaling,
    weights: Array.from(last.coefficients.subarray(0, width), Math.fround),
    bias: Math.fround(last.coefficients[width] as number),
  };
  return {
    model: logisticModel(description, parameters),
    score: (rows) => scoreLogistic(rows, parameters),
    metrics: { iterations, trainingLogLoss: last.loss },
  };
});
