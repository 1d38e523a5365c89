import type { LineDefinition } from "@millrace/lines";
import { loadModel } from "@millrace/onnx";
import { constantModel, logisticModel } from "@millrace/onnx-graph";
import { describe, expect, it } from "vitest";
import type { Dataset, HeldOut } from "./build.ts";
import { judge, judgeBaseline } from "./judge.ts";
import type { TrainedCandidate } from "./train.ts";

const line = {
  name: "test",
  features: [{ name: "a" }],
  gates: { heldOut: 0.25, minGain: 0.001, parity: 1e-4 },
} as unknown as LineDefinition;
const description = { features: ["a"], featureDigest: "digest", recipe: "test" };
const constant = (score: number): Uint8Array => constantModel(description, score);
const weighted = logisticModel(description, { weights: [4], bias: 0, means: [0], scales: [1], fill: [0] });

function trained(name: string, model: Uint8Array, scores: readonly number[]): TrainedCandidate {
  const candidate = { name, recipe: name, window: "all", config: {} } as const;
  return { candidate, model, golden: { inputs: scores.map(() => [0]), scores }, seconds: 1 };
}

const ROWS = 20_000;
const heldOut: HeldOut = {
  rows: ROWS,
  matrix: Float32Array.from({ length: ROWS }, (_, i) => (i % 2 === 0 ? 1 : -1)),
  labels: Float32Array.from({ length: ROWS }, (_, i) => (i % 2 === 0 ? 1 : 0)),
};
const dataset = {
  manifest: { training: { rows: 10, positives: 5 }, heldOutFromMs: 1, filter: { untilMs: 2 } },
} as unknown as Dataset;
const request = { line, featureDigest: "digest", dataset, heldOut, champion: null };

describe("judge", () => {
  it("chooses the best of those that reproduce their golden rows, and says why the others sit out", async () => {
    const { verdict, winner, refused } = await judge(
      {
        ...request,
        champion: constant(0.5),
        trained: [
          trained("good", weighted, [0.5]),
          trained("flat", constant(0.4), [0.4]),
          trained("liar", constant(0.4), [0.41]),
          trained("broken", Uint8Array.of(1, 2, 3), [0.5]),
        ],
      },
      loadModel,
      1,
    );
    expect(winner.candidate.name).toBe("good");
    expect(verdict).toMatchObject({
      passed: true,
      candidate: { auc: 1, rows: ROWS },
      champion: { auc: 0.5 },
    });
    expect(verdict.gates[0]).toMatchObject({ gate: "parity", passed: true });
    expect(verdict.candidates.map(({ name }) => name)).toEqual(["good", "flat"]);
    expect(refused.map(({ candidate, reason }) => `${candidate.name}: ${reason}`)).toEqual([
      expect.stringMatching(
        /^liar: onnxruntime scores its golden rows differently by 0\.0\d+, more than 0\.0001$/,
      ),
      expect.stringMatching(/^broken: model refused: the bytes are not an ONNX model/),
    ]);
  });

  it("refuses a model of other features, and fails the run when none is left", async () => {
    const other = constantModel({ ...description, featureDigest: "other" }, 0.5);
    const wide = constantModel({ ...description, features: ["a", "b"] }, 0.5);
    const run = judge(
      { ...request, trained: [trained("other", other, [0.5]), trained("wide", wide, [0.5])] },
      loadModel,
      1,
    );
    await expect(run).rejects.toThrow(
      /No candidate can be judged: other: .*another feature definition\. wide: .*2 features, not 1\./,
    );
  });

  it("lets the first baseline pass when it reproduces itself, and only then", async () => {
    const passed = await judgeBaseline(trained("baseline", constant(0.5), [0.5]), request, loadModel);
    expect(passed).toMatchObject({ passed: true, champion: null });
    const run = judgeBaseline(trained("baseline", constant(0.5), [0.6]), request, loadModel);
    await expect(run).rejects.toThrow(/cannot be served/);
  });
});
