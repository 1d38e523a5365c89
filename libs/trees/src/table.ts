import { type Ensemble, type Leaf, leavesBelow, type Node, type Split } from "./ensemble.ts";
import { columnOffset, GROUP_BYTES, LANES, type Places } from "./kernel.ts";
import { HIGHEST, type Slot, Slots } from "./questions.ts";
import { Unsupported } from "./unsupported.ts";

/** An ensemble in the form that the kernel reads. */
export interface Table {
  readonly slots: readonly Slot[];
  /** Rows that are scored at once. */
  readonly blockRows: number;
  /** Weights per leaf: 1 where each tree weighs for one target, else as many as there are targets. */
  readonly width: number;
  readonly places: Places;
  /** What stands in the kernel's memory from `places.groups` on, and does not change. */
  readonly tables: Uint8Array<ArrayBuffer>;
}

/** Numbers of leaves and distances between nodes have 16 bits, and so have offsets of columns, in bytes. */
const TREE_NODES_MAX = 65_536;
const SLOTS_MAX = 8_192;
/** Trees that share nodes grow when they are written: without a bound a small model could fill the memory. */
const NODES_MAX = 4_194_304;
const WEIGHTS_MAX = 16_777_216;
/** The slots and values of a block stay in the second-level cache. */
const BLOCK_VALUES = 16_384;
const BLOCK_ROWS = 256;
/** So far behind a row's first column a leaf may read at most. */
const SLACK = 65_536;

interface Tree {
  /** Two words per node, as the kernel reads them. */
  readonly nodes: Int32Array;
  readonly weights: Float32Array;
}

interface Group {
  readonly firstTarget: number;
  readonly trees: readonly Tree[];
}

/**
 * Lays an ensemble out. `neutral` is the weight that changes nothing: that of targets which a leaf does not name, and
 * of the trees that fill up a group. `valuesMax`: how many FP32 per row the caller wants room for. Throws Unsupported.
 */
export function layOut(ensemble: Ensemble, neutral: number, valuesMax: number): Table {
  const slots = new Slots();
  const only = ensemble.roots.map((root) => onlyTarget(ensemble, root));
  const width = only.includes(null) ? ensemble.targets : 1;
  const filler: Tree = {
    nodes: Int32Array.of(HIGHEST, 0),
    weights: new Float32Array(width).fill(neutral),
  };
  let [nodes, weights] = [0, 0];
  const writeTree = (root: number, firstTarget: number): Tree => {
    const tree = levelOrder(ensemble, root, slots, (leaf) => {
      const dense = new Array<number>(width).fill(neutral);
      for (const { target, value } of leaf.weights) dense[target - firstTarget] = value;
      return dense;
    });
    nodes += tree.nodes.length / 2;
    weights += tree.weights.length;
    if (nodes > NODES_MAX || weights > WEIGHTS_MAX) {
      throw new Unsupported(
        `more than ${NODES_MAX} nodes or ${WEIGHTS_MAX} weights, shared ones counted anew`,
      );
    }
    return tree;
  };
  const targets = width === 1 ? [...new Set(only as number[])] : [0];
  const groups = targets.flatMap((firstTarget) => {
    const trees = ensemble.roots
      .filter((_, i) => width > 1 || only[i] === firstTarget)
      .map((root) => writeTree(root, firstTarget));
    return Array.from({ length: Math.ceil(trees.length / LANES) }, (_, g): Group => {
      const some = trees.slice(g * LANES, (g + 1) * LANES);
      return { firstTarget, trees: [...some, ...new Array<Tree>(LANES - some.length).fill(filler)] };
    });
  });
  if (slots.list.length > SLOTS_MAX) throw new Unsupported(`more than ${SLOTS_MAX} questions to a row`);
  return place(slots.list, groups, width, valuesMax);
}

function place(slots: readonly Slot[], groups: readonly Group[], width: number, valuesMax: number): Table {
  const slotsStride = Math.max(align(slots.length * 4, 16), 16);
  const blockRows = Math.min(
    Math.max(Math.floor(BLOCK_VALUES / Math.max(slotsStride / 4, valuesMax)), 1),
    BLOCK_ROWS,
  );
  const columnsAt = blockRows * slotsStride;
  const sumsAt = columnsAt + blockRows * 2 * slotsStride;
  const groupsAt = sumsAt + blockRows * valuesMax * 4;
  const groupsEnd = groupsAt + groups.length * GROUP_BYTES;
  const nodesAt = align(groupsEnd, 64);
  const trees = groups.flatMap((group) => group.trees);
  const weightsAt = nodesAt + trees.reduce((bytes, { nodes }) => bytes + nodes.byteLength, 0);
  const end = weightsAt + trees.reduce((bytes, tree) => bytes + tree.weights.byteLength, 0);

  const tables = new ArrayBuffer(end - groupsAt);
  let [nodes, weights] = [nodesAt, weightsAt];
  groups.forEach((group, g) => {
    const words = new Int32Array(tables, g * GROUP_BYTES, GROUP_BYTES / 4);
    group.trees.forEach((tree, lane) => {
      new Int32Array(tables, nodes - groupsAt).set(tree.nodes);
      new Float32Array(tables, weights - groupsAt).set(tree.weights);
      words.set([nodes, weights], lane * 2);
      nodes += tree.nodes.byteLength;
      weights += tree.weights.byteLength;
    });
    words[LANES * 2] = group.firstTarget * 4;
  });
  return {
    slots,
    blockRows,
    width,
    places: {
      slots: 0,
      slotsStride,
      columns: columnsAt,
      sums: sumsAt,
      groups: groupsAt,
      groupsEnd,
      memory: end + SLACK,
    },
    tables: new Uint8Array(tables),
  };
}

/** A tree in level order; children of a split stand next to each other. */
function levelOrder(
  ensemble: Ensemble,
  root: number,
  slots: Slots,
  weightsOf: (leaf: Leaf) => readonly number[],
): Tree {
  const words: number[] = [];
  const weights: number[] = [];
  const order = [root];
  let leaves = 0;
  for (let i = 0; i < order.length; i++) {
    const node = ensemble.nodes[order[i] as number] as Node;
    if (node.kind === "leaf") {
      words.push(HIGHEST, leaves++);
      weights.push(...weightsOf(node));
    } else {
      const { slot, unknown, key, left, right } = slots.question(wholeSet(ensemble, node));
      words.push(key, columnOffset(slot, unknown) | ((order.length - i) << 16));
      order.push(left, right);
    }
    if (order.length > TREE_NODES_MAX || weights.length > WEIGHTS_MAX) {
      throw new Unsupported(`a tree of more than ${TREE_NODES_MAX} nodes or ${WEIGHTS_MAX} weights`);
    }
  }
  return { nodes: Int32Array.from(words), weights: Float32Array.from(weights) };
}

/** Converters write "is one of a, b, ..." as "is a, else is b, else ...", all with one child: that is one question. */
function wholeSet({ nodes }: Ensemble, split: Split): Split {
  if (split.mode !== "EQ") return split;
  const values = [...split.values];
  let last = split;
  for (;;) {
    const next = nodes[last.whenFalse] as Node;
    const isSame =
      next.kind === "split" &&
      next.mode === "EQ" &&
      next.feature === split.feature &&
      next.unknownTrue === split.unknownTrue &&
      next.whenTrue === split.whenTrue;
    if (!isSame) return { ...split, values, whenFalse: last.whenFalse };
    values.push(...next.values);
    last = next;
  }
}

/** The target that all leaves of a tree weigh for, null where they weigh for several. */
function onlyTarget(ensemble: Ensemble, root: number): number | null {
  const targets = new Set(leavesBelow(ensemble, root).flatMap(({ weights }) => weights.map((w) => w.target)));
  const [target] = targets;
  return targets.size === 1 ? (target as number) : null;
}

const align = (bytes: number, to: number): number => Math.ceil(bytes / to) * to;
