import { type Tree, type TreeNode, treeEnsembleModel } from "@millrace/onnx-graph";

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
  const random = mulberry32(SEED);
  const trees = Array.from({ length: SHAPE.trees }, () => growTree(random));
  const matrix = Float32Array.from({ length: SHAPE.rows * SHAPE.features }, () =>
    random() < UNKNOWN ? Number.NaN : random(),
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
function growTree(random: () => number): Tree {
  const leaf = (): TreeNode => ({ kind: "leaf", value: (random() - 0.5) / 10 });
  const nodes: TreeNode[] = [leaf()];
  const edge = (value: number): number[] => new Array<number>(SHAPE.features).fill(value);
  const boxes: Box[] = [{ at: 0, share: 1, low: edge(0), high: edge(1) }];
  while (boxes.length < SHAPE.leaves) {
    // Gain is about the number of rows times luck.
    const gains = boxes.map(({ share }) => Math.sqrt(share) * random());
    const [box] = boxes.splice(gains.indexOf(Math.max(...gains)), 1) as [Box];
    const feature = Math.floor(random() * random() * SHAPE.features);
    const part = 0.1 + 0.8 * random();
    const [low, high] = [box.low[feature] as number, box.high[feature] as number];
    const threshold = low + (high - low) * part;
    const left = nodes.push(leaf(), leaf()) - 2;
    const right = left + 1;
    nodes[box.at] = { kind: "split", feature, threshold, left, right, unknownLeft: random() < 0.5 };
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

/** The generator mulberry32 (Tommy Ettinger, 2017): 32 bits of state, numbers from 0 to below 1. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
