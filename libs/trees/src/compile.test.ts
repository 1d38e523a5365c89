import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { onnx } from "@millrace/contracts";
import { type ModelDescription, type Tree, type TreeNode, treeEnsembleModel } from "@millrace/onnx-graph";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CompiledTrees, compileTrees, startTrees } from "./index.ts";

const description: ModelDescription = { features: ["a", "b", "c"], featureDigest: "d", recipe: "test" };
const WIDTH = 3;
const leaf = (value: number): TreeNode => ({ kind: "leaf", value });
const stump: Tree = [
  { kind: "split", feature: 1, threshold: 0.5, left: 1, right: 2, unknownLeft: true },
  leaf(-1),
  leaf(2),
];

function compiled(bytes: Uint8Array): CompiledTrees {
  const image = compileTrees(bytes);
  if ("unsupported" in image) throw new Error(image.unsupported);
  return startTrees(image);
}

/** Why a model that was changed does not compile. */
function reason(change: (graph: onnx.GraphProto, trees: onnx.NodeProto) => void): string {
  const model = fromBinary(
    onnx.ModelProtoSchema,
    treeEnsembleModel(description, { bias: 0, trees: [stump] }),
  );
  const graph = model.graph!;
  change(graph, graph.node[0]!);
  const result = compileTrees(toBinary(onnx.ModelProtoSchema, model));
  return "unsupported" in result ? result.unsupported : "it compiles";
}
const attribute = (node: onnx.NodeProto, name: string): onnx.AttributeProto =>
  node.attribute.find((one) => one.name === name)!;

describe("compiled trees", () => {
  it("add in FP32 what a naive walk adds, for any number of trees and rows", () => {
    const split = fc.record({
      feature: fc.nat(WIDTH - 1),
      threshold: fc.float({ noNaN: true, min: -2, max: 2 }),
      unknownLeft: fc.boolean(),
    });
    const tree = fc
      .array(split, { maxLength: 20 })
      .map(
        (splits): Tree => [
          ...splits.map((one, i) => ({ kind: "split" as const, ...one, left: 2 * i + 1, right: 2 * i + 2 })),
          ...Array.from({ length: splits.length + 1 }, (_, i) =>
            leaf(Math.fround(Math.sin(i + splits.length))),
          ),
        ],
      );
    const value = fc.oneof(fc.float({ min: -2, max: 2 }), fc.constantFrom(Infinity, -Infinity, Number.NaN));
    fc.assert(
      fc.property(
        fc.array(tree, { minLength: 1, maxLength: 20 }),
        fc.array(value, { minLength: WIDTH, maxLength: 10 * WIDTH }),
        fc.integer({ min: 1, max: 600 }),
        (trees, some, rows) => {
          const ours = compiled(treeEnsembleModel(description, { bias: 0.25, trees }));
          const matrix = Float32Array.from({ length: rows * WIDTH }, (_, i) => some[i % some.length]!);
          const out = new Float32Array(rows);
          ours.score(matrix, rows, out);
          const expected = Float32Array.from(out, (_, i) => {
            const row = matrix.subarray(i * WIDTH, (i + 1) * WIDTH);
            const sum = trees.reduce((total, one) => Math.fround(total + leafOf(one, row)), 0);
            return Math.fround(1 / (1 + Math.exp(-Math.fround(sum + 0.25))));
          });
          expect(out).toEqual(expected);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("say what they need and hold, and refuse other sizes", () => {
    const ours = compiled(treeEnsembleModel(description, { bias: 0, trees: [stump] }));
    expect([ours.features, ours.outputs]).toEqual([3, 1]);
    expect(ours.bytes).toBeGreaterThan(0);
    expect(() => ours.score(new Float32Array(4), 1, new Float32Array(1))).toThrow(
      "4 values and 1 scores are not 1 rows of 3 and 1",
    );
    expect(() => ours.score(new Float32Array(3), 1, new Float32Array(2))).toThrow(RangeError);
    ours.score(new Float32Array(0), 0, new Float32Array(0));
    ours.release();
    ours.release();
    expect(() => ours.score(new Float32Array(3), 1, new Float32Array(1))).toThrow("released");
  });
});

describe("an image", () => {
  it("passes from thread to thread, may be transferred, and starts as often as one likes", () => {
    const image = compileTrees(treeEnsembleModel(description, { bias: 0.5, trees: [stump, stump] }));
    if ("unsupported" in image) throw new Error(image.unsupported);
    const matrix = Float32Array.of(0, 0, 0, 0, 1, 0, 0, Number.NaN, 0);
    const scoresOf = (trees: CompiledTrees): Float32Array => {
      const out = new Float32Array(3);
      trees.score(matrix, 3, out);
      return out;
    };
    const expected = scoresOf(startTrees(image));
    expect(expected[0]).not.toBe(expected[1]);
    const copy = structuredClone(image);
    expect(copy).toEqual(image);
    const moved = structuredClone(copy, { transfer: [copy.kernel.buffer, copy.tables.buffer] });
    const [first, second] = [startTrees(moved), startTrees(moved)];
    first.release();
    expect(scoresOf(second)).toEqual(expected);
  });
});

describe("what does not compile", () => {
  it("is named", () => {
    expect(reason(() => {})).toBe("it compiles");
    expect(
      reason((_, trees) => (attribute(trees, "nodes_modes").strings[0] = new TextEncoder().encode("X"))),
    ).toBe("nodes_modes: X is not known");
    expect(reason((_, trees) => (attribute(trees, "nodes_featureids").ints[0] = 3n))).toBe(
      "a node asks for feature 3 of 3",
    );
    expect(reason((_, trees) => (attribute(trees, "nodes_truenodeids").ints[0] = 9n))).toBe(
      "tree 0 has no node 9",
    );
    expect(reason((_, trees) => (attribute(trees, "nodes_truenodeids").ints[0] = 0n))).toBe(
      "a node stands below itself",
    );
    expect(reason((_, trees) => (attribute(trees, "n_targets").i = 1n << 40n))).toBe(
      "1099511627776 targets are not 1 to 1024",
    );
    expect(reason((_, trees) => attribute(trees, "nodes_values").floats.pop())).toBe(
      "nodes_values has 2 values where 3 are expected",
    );
    expect(reason((_, trees) => (attribute(trees, "target_weights").floats[0] = Number.NaN))).toBe(
      "a leaf's weight is not a finite number for a target that is there",
    );
    expect(
      reason((_, trees) => (attribute(trees, "post_transform").s = new TextEncoder().encode("PROBIT"))),
    ).toBe("post_transform PROBIT");
    expect(reason((graph) => (graph.node[1]!.opType = "Exp"))).toBe("operator Exp is not known");
    expect(reason((graph) => graph.node.shift())).toBe("operator Sigmoid before the trees");
    expect(reason((graph) => (graph.node[1]!.input[0] = "features"))).toBe(
      "operator Sigmoid reads more than the trees' value and small constants",
    );
    expect(reason((graph) => graph.node.pop())).toBe(
      "the output is not one FP32 tensor, that of the last operator",
    );
    expect(reason((graph) => (graph.node[2]!.input[1] = ""))).toMatch(/^operator Squeeze/);
    expect(reason((graph) => graph.input.pop())).toMatch(/^the input is not one FP32/);
  });

  it("is a small model that would become a large one", () => {
    // Each split has the next one on both sides: 2 to the power of 40 leaves.
    const splits = 40;
    const result = reason((_, trees) => {
      const ids = Array.from({ length: splits + 1 }, (_, i) => BigInt(i));
      const fill = (name: string, values: bigint[]): void => void (attribute(trees, name).ints = values);
      const encoder = new TextEncoder();
      fill(
        "nodes_treeids",
        ids.map(() => 0n),
      );
      fill("nodes_nodeids", ids);
      fill(
        "nodes_featureids",
        ids.map(() => 0n),
      );
      fill(
        "nodes_missing_value_tracks_true",
        ids.map(() => 0n),
      );
      fill(
        "nodes_truenodeids",
        ids.map((id) => id + 1n),
      );
      fill(
        "nodes_falsenodeids",
        ids.map((id) => id + 1n),
      );
      attribute(trees, "nodes_values").floats = ids.map(() => 0);
      attribute(trees, "nodes_modes").strings = ids.map((_, i) =>
        encoder.encode(i < splits ? "BRANCH_LEQ" : "LEAF"),
      );
      fill("target_treeids", [0n]);
      fill("target_nodeids", [BigInt(splits)]);
      fill("target_ids", [0n]);
      attribute(trees, "target_weights").floats = [1];
    });
    expect(result).toBe("a tree of more than 65536 nodes or 16777216 weights");
  });

  it("is anything that is no model, and never throws", () => {
    const good = treeEnsembleModel(description, { bias: 0, trees: [stump] });
    expect(compileTrees(new Uint8Array(0))).toEqual({
      unsupported: "the bytes are not an ONNX model: there is no graph",
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }), (changes) => {
        const bytes = Uint8Array.from(good);
        for (const [at, byte] of changes) bytes[at] = byte;
        const image = compileTrees(bytes);
        if ("unsupported" in image) return;
        const { features, outputs } = image;
        startTrees(image).score(new Float32Array(2 * features), 2, new Float32Array(2 * outputs));
      }),
      { numRuns: 500 },
    );
  });
});

function leafOf(tree: Tree, row: Float32Array): number {
  let node = tree[0]!;
  while (node.kind === "split") {
    const value = row[node.feature]!;
    node = tree[(Number.isNaN(value) ? node.unknownLeft : value <= node.threshold) ? node.left : node.right]!;
  }
  return node.value;
}
