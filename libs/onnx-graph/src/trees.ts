import { MODEL_INPUT, MODEL_OUTPUT } from "@millrace/lines";
import { attribute, int64Tensor, type ModelDescription, modelBytes, node } from "./graph.ts";

/** One node of a binary tree. A row goes left when its value is at most the threshold. */
export type TreeNode =
  | {
      readonly kind: "split";
      readonly feature: number;
      readonly threshold: number;
      /** Positions in `Tree`. */
      readonly left: number;
      readonly right: number;
      /** Where an unknown (NaN) value goes. */
      readonly unknownLeft: boolean;
    }
  | { readonly kind: "leaf"; readonly value: number };

/** A tree: its nodes, the root first. */
export type Tree = readonly TreeNode[];

/** score = sigmoid(bias + sum of the leaves that the row reaches). */
export interface TreeEnsemble {
  readonly bias: number;
  readonly trees: readonly Tree[];
}

/**
 * The largest FP32 number that is not above `x`. With it `v <= x` and `v <= float32Below(x)` agree for every FP32
 * value v, so rounding a threshold never moves a row to the other side.
 */
export function float32Below(x: number): number {
  const nearest = Math.fround(x);
  if (nearest <= x || Number.isNaN(x)) return nearest;
  if (nearest === Infinity) return FLOAT32_MAX;
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, nearest);
  // The numbers of one sign are ordered as their bits; one below zero is the smallest negative number.
  view.setUint32(0, nearest > 0 ? view.getUint32(0) - 1 : nearest < 0 ? view.getUint32(0) + 1 : 0x80000001);
  return view.getFloat32(0);
}

const FLOAT32_MAX = 3.4028234663852886e38;

/**
 * The ensemble as an ONNX TreeEnsembleRegressor and a sigmoid. Splits decide exactly as in double precision; the
 * leaves are added in FP32, which for a thousand trees differs from double precision by about 1e-6.
 * Throws a RangeError when there is no tree, a node refers to a missing feature or node, is reached twice, or a leaf is
 * not finite.
 */
export function treeEnsembleModel(description: ModelDescription, ensemble: TreeEnsemble): Uint8Array {
  if (ensemble.trees.length === 0) throw new RangeError("an ensemble needs at least one tree");
  ensemble.trees.forEach((tree, t) => checkTree(tree, t, description.features.length));
  const nodes = ensemble.trees.flatMap((tree, treeId) => tree.map((n, nodeId) => ({ n, treeId, nodeId })));
  const leaves = nodes.flatMap(({ n, treeId, nodeId }) =>
    n.kind === "leaf" ? [{ treeId, nodeId, value: n.value }] : [],
  );
  const of = (get: (n: Extract<TreeNode, { kind: "split" }>) => number): number[] =>
    nodes.map(({ n }) => (n.kind === "split" ? get(n) : 0));
  return modelBytes(
    description,
    [
      node(
        "TreeEnsembleRegressor",
        [MODEL_INPUT],
        ["logit"],
        [
          attribute.int("n_targets", 1),
          attribute.string("aggregate_function", "SUM"),
          attribute.string("post_transform", "NONE"),
          attribute.floats("base_values", [ensemble.bias]),
          attribute.ints(
            "nodes_treeids",
            nodes.map(({ treeId }) => treeId),
          ),
          attribute.ints(
            "nodes_nodeids",
            nodes.map(({ nodeId }) => nodeId),
          ),
          attribute.choices(
            "nodes_modes",
            ["LEAF", "BRANCH_LEQ"],
            of(() => 1),
          ),
          attribute.ints(
            "nodes_featureids",
            of((n) => n.feature),
          ),
          attribute.floats(
            "nodes_values",
            of((n) => float32Below(n.threshold)),
          ),
          attribute.ints(
            "nodes_truenodeids",
            of((n) => n.left),
          ),
          attribute.ints(
            "nodes_falsenodeids",
            of((n) => n.right),
          ),
          attribute.ints(
            "nodes_missing_value_tracks_true",
            of((n) => (n.unknownLeft ? 1 : 0)),
          ),
          attribute.ints(
            "target_treeids",
            leaves.map(({ treeId }) => treeId),
          ),
          attribute.ints(
            "target_nodeids",
            leaves.map(({ nodeId }) => nodeId),
          ),
          attribute.ints(
            "target_ids",
            leaves.map(() => 0),
          ),
          attribute.floats(
            "target_weights",
            leaves.map(({ value }) => value),
          ),
        ],
        "ai.onnx.ml",
      ),
      node("Sigmoid", ["logit"], ["probability"]),
      node("Squeeze", ["probability", "column"], [MODEL_OUTPUT]),
    ],
    [int64Tensor("column", [1])],
  );
}

function checkTree(tree: Tree, t: number, features: number): void {
  const reached = new Set<number>();
  const open = [0];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const found = tree[at];
    if (found === undefined) throw new RangeError(`tree ${t}: there is no node ${at}`);
    if (reached.has(at)) throw new RangeError(`tree ${t}: node ${at} is reached twice`);
    reached.add(at);
    if (found.kind === "leaf") {
      if (!Number.isFinite(Math.fround(found.value)))
        throw new RangeError(`tree ${t}: leaf ${at} is not a finite number`);
      continue;
    }
    if (!Number.isInteger(found.feature) || found.feature < 0 || found.feature >= features) {
      throw new RangeError(`tree ${t}: node ${at} splits on feature ${found.feature} of ${features}`);
    }
    if (Number.isNaN(found.threshold)) throw new RangeError(`tree ${t}: the threshold of node ${at} is NaN`);
    open.push(found.left, found.right);
  }
  if (reached.size !== tree.length) throw new RangeError(`tree ${t}: has nodes that no row reaches`);
}
