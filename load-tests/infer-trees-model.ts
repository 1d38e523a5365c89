import { type Tree, type TreeNode, treeEnsembleModel } from "@millrace/onnx-graph";
import { random } from "@millrace/testkit";

/** The workload of the claim: an ensemble of the size and shape that LightGBM makes with its usual settings. */
export const SHAPE = { trees: 200, leaves: 63, features: 30, rows: 4096 } as const;

/** Rows have this share of unknown values. */
const UNKNOWN = 0.05;
const SEED = 20_261_125;

export interface Workload {
  readonly model: Uint8Array;
  /** FP32 [rows x features], from 0 to 1, or NaN. */
  readonly matrix: Float32Array;
  /** Splits that a row passes on its way through a tree, on average. */
  readonly meanDepth: number;
}

export function inferTreesWorkload(): Workload {
  const draw = random(SEED);
  const trees = Array.from({ length: SHAPE.trees }, () => growTree(draw));
  const matrix = Float32Array.from({ length: SHAPE.rows * SHAPE.features }, () =>
    draw() < UNKNOWN ? Number.NaN : draw(),
  );
  const features = Array.from({ length: SHAPE.features }, (_, i) => `f${i}`);
  const description = { features, featureDigest: "none", recipe: "load-test" };
  return {
    model: treeEnsembleModel(description, { bias: 0.1, trees }),
    matrix,
    meanDepth: meanDepth(trees, matrix.subarray(0, 200 * SHAPE.features)),
  };
}

/** A leaf of a tree that still grows: its box in the space of features, and the share of rows in it. */
interface Box {
  readonly at: number;
  readonly share: number;
  readonly low: readonly number[];
  readonly high: readonly number[];
}

/** Grows leaf by leaf, the fuller ones first; some features are asked more often than others. */
function growTree(draw: () => number): Tree {
  const leaf = (): TreeNode => ({ kind: "leaf", value: (draw() - 0.5) / 10 });
  const nodes: TreeNode[] = [leaf()];
  const edge = (value: number): number[] => new Array<number>(SHAPE.features).fill(value);
  const boxes: Box[] = [{ at: 0, share: 1, low: edge(0), high: edge(1) }];
  while (boxes.length < SHAPE.leaves) {
    // Gain is about the number of rows times luck.
    const gains = boxes.map(({ share }) => Math.sqrt(share) * draw());
    const [box] = boxes.splice(gains.indexOf(Math.max(...gains)), 1) as [Box];
    const feature = Math.floor(draw() * draw() * SHAPE.features);
    const part = 0.1 + 0.8 * draw();
    const [low, high] = [box.low[feature] as number, box.high[feature] as number];
    const threshold = low + (high - low) * part;
    const left = nodes.push(leaf(), leaf()) - 2;
    const right = left + 1;
    nodes[box.at] = { kind: "split", feature, threshold, left, right, unknownLeft: draw() < 0.5 };
    boxes.push(
      { ...box, at: left, share: box.share * part, high: box.high.with(feature, threshold) },
      { ...box, at: right, share: box.share * (1 - part), low: box.low.with(feature, threshold) },
    );
  }
  return nodes;
}

function meanDepth(trees: readonly Tree[], matrix: Float32Array): number {
  const depth = (tree: Tree, row: Float32Array, at: number): number => {
    const node = tree[at] as TreeNode;
    if (node.kind === "leaf") return 0;
    const value = row[node.feature] as number;
    const isLeft = Number.isNaN(value) ? node.unknownLeft : value <= node.threshold;
    return 1 + depth(tree, row, isLeft ? node.left : node.right);
  };
  const rows = matrix.length / SHAPE.features;
  let sum = 0;
  for (let i = 0; i < rows; i++) {
    const row = matrix.subarray(i * SHAPE.features, (i + 1) * SHAPE.features);
    for (const tree of trees) sum += depth(tree, row, 0);
  }
  return sum / rows / trees.length;
}
