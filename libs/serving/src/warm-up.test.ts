import type { Tensor } from "@millrace/open-inference";
import { rowModel } from "@millrace/testkit";
import { describe, expect, it } from "vitest";
import { featureTensor } from "./index.ts";
import { warmUp } from "./warm-up.ts";

describe("the warm-up", () => {
  it("says how long runs of each size take, without the first, in which nothing is in place", async () => {
    let time = 0;
    const seen = new Set<number>();
    const model = rowModel(2, () => 1);
    const cold = {
      ...model,
      run: (inputs: readonly Tensor[]) => {
        const rows = inputs[0]?.shape[0] as number;
        time += seen.has(rows) ? rows : 1_000;
        seen.add(rows);
        return model.run(inputs);
      },
    };
    const recorded = [3, 4].map((rows) => [featureTensor(new Float32Array(2 * rows), rows)]);
    const times = await warmUp(cold, { featureNames: ["a", "b"] }, recorded, () => time);
    expect([...times]).toEqual([
      [1, 1],
      [64, 64],
    ]);
    expect(seen).toEqual(new Set([1, 64, 7]));
  });
});
