import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { float32Below, type Tree, treeEnsembleModel } from "./trees.ts";

const description = { features: ["a", "b"], featureDigest: "d", recipe: "r" };
const model =
  (tree: Tree): (() => Uint8Array) =>
  () =>
    treeEnsembleModel(description, { bias: 0, trees: [tree] });

describe("float32Below", () => {
  it("never moves an FP32 value to the other side of a threshold", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), fc.float({ noNaN: true }), (threshold, value) => {
        expect(value <= float32Below(threshold)).toBe(value <= threshold);
        const near = Math.fround(threshold);
        expect(near <= float32Below(threshold)).toBe(near <= threshold);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    [0.1, 0.09999999403953552],
    [-0.1, -0.10000000149011612],
    [0.5, 0.5],
    [1e300, 3.4028234663852886e38],
    [-1e300, -Infinity],
    [Infinity, Infinity],
    [1e-60, 0],
    [-1e-60, -1.401298464324817e-45],
  ])("%d becomes %d", (threshold, expected) => {
    expect(float32Below(threshold)).toBe(expected);
  });
});

describe("treeEnsembleModel", () => {
  const leaf = { kind: "leaf", value: 1 } as const;
  const split = { kind: "split", feature: 0, threshold: 0, left: 1, right: 2, unknownLeft: false } as const;

  it("refuses trees that are not trees", () => {
    expect(model([])).toThrow("tree 0: there is no node 0");
    expect(model([split, leaf])).toThrow("there is no node 2");
    expect(model([{ ...split, right: 0 }, leaf])).toThrow("node 0 is reached twice");
    expect(model([{ ...split, right: 1 }, leaf])).toThrow("node 1 is reached twice");
    expect(model([{ kind: "leaf", value: Infinity }])).toThrow("leaf 0 is not a finite number");
    expect(model([leaf, leaf])).toThrow("no row reaches");
    expect(model([{ ...split, feature: 2 }, leaf, leaf])).toThrow("feature 2 of 2");
    expect(model([{ ...split, threshold: Number.NaN }, leaf, leaf])).toThrow("NaN");
    expect(() => treeEnsembleModel(description, { bias: 0, trees: [] })).toThrow("at least one tree");
  });
});
