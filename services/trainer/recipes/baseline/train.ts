import { constantModel } from "@millrace/onnx-graph";
import { readConfig } from "../kit/job.ts";
import { runRecipe } from "../kit/run.ts";

await runRecipe("baseline", async ({ job, examples, description }) => {
  readConfig(job, {});
  // Laplace's rule of succession: 0.5 before anything is known, and never quite 0 or 1.
  const baseRate = Math.fround((examples.positives + 1) / (examples.rows + 2));
  return {
    model: constantModel(description, baseRate),
    score: (_matrix, rows) => new Array<number>(rows).fill(baseRate),
    metrics: { baseRate },
  };
});
