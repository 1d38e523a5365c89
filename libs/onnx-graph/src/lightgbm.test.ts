import { describe, expect, it } from "vitest";
import { LightgbmFormatError, parseLightgbm } from "./lightgbm.ts";

const HEAD = `tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=binary sigmoid:1
feature_names=a b
tree_sizes=1 2
`;
const STUMP = `
Tree=0
num_leaves=1
num_cat=0
leaf_value=-0.5
is_linear=0
shrinkage=1
`;
// decision_type: 10 = NaN is missing, goes left; 8 = NaN is missing, goes right; 0 = nothing was missing.
const TREE = `
Tree=1
num_leaves=4
num_cat=0
split_feature=1 0 0
threshold=0.25 -3 7
decision_type=10 0 8
left_child=1 -1 -3
right_child=2 -2 -4
leaf_value=1 2 3 4
is_linear=0
shrinkage=0.1


end of trees
`;

describe("parseLightgbm", () => {
  it("reads splits, leaves and where unknown values go", () => {
    const { bias, trees } = parseLightgbm(HEAD + STUMP + TREE);
    expect(bias).toBe(0);
    expect(trees[0]).toEqual([{ kind: "leaf", value: -0.5 }]);
    expect(trees[1]).toEqual([
      { kind: "split", feature: 1, threshold: 0.25, left: 1, right: 2, unknownLeft: true },
      // Nothing was missing: NaN is read as 0, which is above -3.
      { kind: "split", feature: 0, threshold: -3, left: 3, right: 4, unknownLeft: false },
      { kind: "split", feature: 0, threshold: 7, left: 5, right: 6, unknownLeft: false },
      { kind: "leaf", value: 1 },
      { kind: "leaf", value: 2 },
      { kind: "leaf", value: 3 },
      { kind: "leaf", value: 4 },
    ]);
  });

  it("reads the split of the unknown from all known values", () => {
    const { trees } = parseLightgbm(HEAD + TREE.replace("threshold=0.25 -3", "threshold=inf -inf"));
    expect(trees[0]?.slice(0, 2)).toMatchObject([{ threshold: Infinity }, { threshold: -Infinity }]);
  });

  it("applies the slope of the objective's sigmoid", () => {
    const { trees } = parseLightgbm(HEAD.replace("sigmoid:1", "sigmoid:2") + STUMP);
    expect(trees[0]).toEqual([{ kind: "leaf", value: -1 }]);
  });

  it.each([
    ["another version", (text: string) => text.replace("version=v4", "version=v3"), "v3"],
    ["another objective", (text: string) => text.replace("binary sigmoid:1", "regression"), "regression"],
    ["a random forest", (text: string) => text.replace("label_index=0", "average_output"), "average_output"],
    ["categorical splits", (text: string) => text.replace("num_cat=0", "num_cat=1"), "categorical"],
    ["linear leaves", (text: string) => text.replace("is_linear=0", "is_linear=1"), "linear"],
    [
      "zero as missing",
      (text: string) => text.replace("decision_type=10", "decision_type=4"),
      "zero_as_missing",
    ],
    ["a tree cut short", (text: string) => text.replace("right_child=2 -2 -4", ""), "incomplete"],
    ["text for a number", (text: string) => text.replace("threshold=0.25", "threshold=x"), "threshold"],
  ])("refuses %s", (_what, change, named) => {
    expect(() => parseLightgbm(change(HEAD + STUMP + TREE))).toThrow(LightgbmFormatError);
    expect(() => parseLightgbm(change(HEAD + STUMP + TREE))).toThrow(named);
  });
});
