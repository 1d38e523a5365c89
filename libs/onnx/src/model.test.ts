import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { onnx } from "@millrace/contracts";
import {
  constantModel,
  logisticModel,
  type ModelDescription,
  standardise,
  type Tree,
  type TreeEnsemble,
  treeEnsembleModel,
} from "@millrace/onnx-graph";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ModelRefused } from "./check-model.ts";
import { loadModel } from "./load.ts";

const WIDTH = 3;
const description: ModelDescription = { features: ["a", "b", "c"], featureDigest: "d", recipe: "test" };
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Values near each other, so that thresholds and inputs meet; NaN is unknown. */
const value = fc
  .oneof(fc.constant(Number.NaN), fc.constantFrom(0, 0.1, -0.1, 1), fc.float({ noNaN: true }))
  .map(Math.fround);
const matrix = fc.array(value, { minLength: WIDTH, maxLength: 20 * WIDTH }).map((values) => {
  const rows = Math.floor(values.length / WIDTH);
  return { rows, values: Float32Array.from(values.slice(0, rows * WIDTH)) };
});
const threshold = fc.oneof(
  fc.constantFrom(0, 0.1, -0.1, 1, 1e300, -1e300, Infinity, -Infinity),
  fc.double({ noNaN: true, min: -2, max: 2 }),
);

/** Trees of depth up to 4, built from a list of splits in level order. */
const tree: fc.Arbitrary<Tree> = fc
  .array(fc.record({ feature: fc.nat(WIDTH - 1), threshold, unknownLeft: fc.boolean() }), { maxLength: 15 })
  .chain((splits) =>
    fc
      .array(fc.double({ noNaN: true, min: -1, max: 1 }), {
        minLength: splits.length + 1,
        maxLength: splits.length + 1,
      })
      .map((leaves) => [
        ...splits.map((s, i) => ({ kind: "split" as const, ...s, left: 2 * i + 1, right: 2 * i + 2 })),
        ...leaves.map((v) => ({ kind: "leaf" as const, value: v })),
      ]),
  );
const ensemble = fc.record({
  bias: fc.double({ noNaN: true, min: -1, max: 1 }),
  trees: fc.array(tree, { minLength: 1, maxLength: 6 }),
});

function naive(model: TreeEnsemble, row: Float32Array): number {
  const leafOf = (t: Tree): number => {
    let at = 0;
    for (;;) {
      const found = t[at]!;
      if (found.kind === "leaf") return found.value;
      const x = row[found.feature] as number;
      at = (Number.isNaN(x) ? found.unknownLeft : x <= found.threshold) ? found.left : found.right;
    }
  };
  return sigmoid(model.trees.reduce((sum, t) => sum + leafOf(t), model.bias));
}

async function scores(bytes: Uint8Array, values: Float32Array, rows: number): Promise<Float32Array> {
  const model = await loadModel(bytes, { threads: 1 });
  try {
    return await model.score(values, rows);
  } finally {
    await model.release();
  }
}

function expectClose(actual: Float32Array, expected: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((e, i) => expect(Math.abs((actual[i] as number) - e)).toBeLessThanOrEqual(tolerance));
}

const rowsOf = (values: Float32Array): Float32Array[] =>
  Array.from({ length: values.length / WIDTH }, (_, i) => values.subarray(i * WIDTH, (i + 1) * WIDTH));

describe("models scored by onnxruntime", () => {
  it("a tree ensemble equals its naive evaluation in double precision, unknown values included", async () => {
    await fc.assert(
      fc.asyncProperty(ensemble, matrix, async (model, { values, rows }) => {
        const actual = await scores(treeEnsembleModel(description, model), values, rows);
        expectClose(
          actual,
          rowsOf(values).map((row) => naive(model, row)),
          1e-5,
        );
      }),
      { numRuns: 200 },
    );
  });

  it("a logistic model equals the formula, unknown and absurd values included", async () => {
    const parameter = fc.array(fc.float({ noNaN: true, min: -3, max: 3 }), {
      minLength: WIDTH,
      maxLength: WIDTH,
    });
    const scale = fc.array(fc.float({ noNaN: true, min: 0.5, max: 10 }), {
      minLength: WIDTH,
      maxLength: WIDTH,
    });
    await fc.assert(
      fc.asyncProperty(
        parameter,
        parameter,
        scale,
        parameter,
        matrix,
        async (weights, means, scales, fill, m) => {
          const bytes = logisticModel(description, { weights, bias: 0.25, means, scales, fill });
          const expected = rowsOf(m.values).map((row) =>
            sigmoid(
              row.reduce(
                (sum, x, j) => sum + weights[j]! * standardise(x, means[j]!, scales[j]!, fill[j]!),
                0.25,
              ),
            ),
          );
          expectClose(await scores(bytes, m.values, m.rows), expected, 1e-5);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("a constant model answers its constant for every row", async () => {
    const values = Float32Array.from([Number.NaN, Infinity, -1, 0, 1, 2]);
    expect([...(await scores(constantModel(description, 0.25), values, 2))]).toEqual([0.25, 0.25]);
  });
});

describe("loadModel", () => {
  const bytes = constantModel(description, 0.5);

  it("refuses what inspection refuses, and what onnxruntime cannot load", async () => {
    await expect(loadModel(new Uint8Array([1, 2, 3]), { threads: 1 })).rejects.toThrow(ModelRefused);
    const broken = fromBinary(onnx.ModelProtoSchema, bytes);
    broken.graph!.node[0]!.opType = "NoSuchOperator";
    await expect(loadModel(toBinary(onnx.ModelProtoSchema, broken), { threads: 1 })).rejects.toThrow(
      ModelRefused,
    );
  });

  it("loads from a view into a larger buffer", async () => {
    const large = new Uint8Array(bytes.length + 20).fill(255);
    large.set(bytes, 7);
    expect([...(await scores(large.subarray(7, 7 + bytes.length), new Float32Array(3), 1))]).toEqual([0.5]);
  });

  it("refuses a matrix of another size, answers nothing to no rows", async () => {
    const model = await loadModel(bytes, { threads: 1 });
    await expect(model.score(new Float32Array(4), 1)).rejects.toThrow(
      "4 values are not 1 rows of 3 features",
    );
    expect((await model.score(new Float32Array(0), 0)).length).toBe(0);
    await model.release();
  });

  it("release waits for the runs in flight, may be repeated, and ends scoring", async () => {
    const model = await loadModel(bytes, { threads: 1 });
    const results = Array.from({ length: 20 }, () => model.score(new Float32Array(300), 100));
    const ends = [model.release(), model.release()];
    for (const result of results) expect((await result).length).toBe(100);
    await Promise.all(ends);
    await expect(model.score(new Float32Array(3), 1)).rejects.toThrow("released");
  });

  it("concurrent calls get their own answers", async () => {
    const leaf = (v: number): Tree => [
      { kind: "split", feature: 0, threshold: 0, left: 1, right: 2, unknownLeft: true },
      { kind: "leaf", value: -v },
      { kind: "leaf", value: v },
    ];
    const model = await loadModel(treeEnsembleModel(description, { bias: 0, trees: [leaf(2)] }), {
      threads: 1,
    });
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) => model.score(Float32Array.from([i % 2 === 0 ? 1 : -1, 0, 0]), 1)),
    );
    answers.forEach((a, i) => expect(a[0]).toBeCloseTo(sigmoid(i % 2 === 0 ? 2 : -2), 5));
    await model.release();
  });
});
