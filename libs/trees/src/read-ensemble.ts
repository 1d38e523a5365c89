import type { Attributes } from "./attributes.ts";
import type { Aggregate, Ensemble, Mode, Node, Weight } from "./ensemble.ts";
import { Unsupported } from "./unsupported.ts";

const MODES: readonly Mode[] = ["LEQ", "LT", "GTE", "GT", "EQ", "NEQ"];
const AGGREGATES: readonly Aggregate[] = ["AVERAGE", "SUM", "MIN", "MAX"];
/** `BRANCH_MEMBER` of opset 5; a mode beside MODES because it is EQ with several values. */
const MEMBER = 6;
/** More values per row are no ensemble that somebody trained. */
const TARGETS_MAX = 1024;

/**
 * Reads a TreeEnsembleRegressor ("target") or TreeEnsembleClassifier ("class") of ai.onnx.ml 1 and 3. As in
 * onnxruntime the first node of each tree is its root, trees are added in the order in which they stand, and weights
 * of splits are ignored. Throws Unsupported.
 */
export function readEnsemble(
  attributes: Attributes,
  what: "target" | "class",
  targets: number,
  features: number,
): Ensemble {
  for (const name of ["base_values", "nodes_values", `${what}_weights`]) {
    if (attributes.has(`${name}_as_tensor`)) throw new Unsupported(`${name} are in double precision`);
  }
  const treeIds = attributes.ints("nodes_treeids");
  const count = treeIds.length;
  const modes = sized(attributes.texts("nodes_modes"), count, "nodes_modes");
  const [nodeIds, featureIds, trueIds, falseIds] = (
    ["nodes_nodeids", "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids"] as const
  ).map((name) => sized(attributes.ints(name), count, name)) as [Ints, Ints, Ints, Ints];
  const values = sized(attributes.floats("nodes_values"), count, "nodes_values");
  const unknownTrue = attributes.ints("nodes_missing_value_tracks_true");

  const roots = [...treeIds.keys()].filter((i) => treeIds[i] !== treeIds[i - 1]);
  const positions = new Map(roots.map((root) => [treeIds[root] as number, new Map<number, number>()]));
  if (positions.size < roots.length) throw new Unsupported("the nodes of a tree do not stand together");
  treeIds.forEach((tree, i) => {
    const ofTree = positions.get(tree) as Map<number, number>;
    if (ofTree.has(nodeIds[i] as number)) throw new Unsupported(`tree ${tree} has node ${nodeIds[i]} twice`);
    ofTree.set(nodeIds[i] as number, i);
  });
  const position = (tree: number, node: number): number => {
    const found = positions.get(tree)?.get(node);
    if (found === undefined) throw new Unsupported(`tree ${tree} has no node ${node}`);
    return found;
  };
  const weights = new Map<number, Weight[]>();
  const weightTrees = attributes.ints(`${what}_treeids`);
  const [weightNodes, weightTargets] = [`${what}_nodeids`, `${what}_ids`].map((name) =>
    sized(attributes.ints(name), weightTrees.length, name),
  ) as [Ints, Ints];
  const weightValues = sized(attributes.floats(`${what}_weights`), weightTrees.length, `${what}_weights`);
  weightTrees.forEach((tree, i) => {
    const at = position(tree, weightNodes[i] as number);
    const weight = { target: weightTargets[i] as number, value: weightValues[i] as number };
    const ofNode = weights.get(at);
    if (ofNode === undefined) weights.set(at, [weight]);
    else ofNode.push(weight);
  });

  const nodes = modes.map((name, i): Node => {
    if (name === "LEAF") return { kind: "leaf", weights: weights.get(i) ?? [] };
    const mode = MODES.find((one) => name === `BRANCH_${one}`);
    if (mode === undefined) throw new Unsupported(`nodes_modes: ${name} is not known`);
    const tree = treeIds[i] as number;
    return {
      kind: "split",
      feature: featureIds[i] as number,
      mode,
      values: [values[i] as number],
      unknownTrue: unknownTrue[i] === 1,
      whenTrue: position(tree, trueIds[i] as number),
      whenFalse: position(tree, falseIds[i] as number),
    };
  });
  const aggregate = AGGREGATES.find((one) => one === attributes.text("aggregate_function", "SUM"));
  if (aggregate === undefined) throw new Unsupported("aggregate_function is not known");
  return checked({ targets, aggregate, nodes, roots }, features);
}

/** Reads a TreeEnsemble of ai.onnx.ml 5: splits and leaves are numbered apart, over all trees. Throws Unsupported. */
export function readEnsemble5(attributes: Attributes, features: number): Ensemble {
  const modes = attributes.tensor("nodes_modes");
  const count = modes.length;
  const [featureIds, trueIds, falseIds, trueLeaves, falseLeaves] = (
    [
      "nodes_featureids",
      "nodes_truenodeids",
      "nodes_falsenodeids",
      "nodes_trueleafs",
      "nodes_falseleafs",
    ] as const
  ).map((name) => sized(attributes.ints(name), count, name)) as [Ints, Ints, Ints, Ints, Ints];
  const thresholds = sized(attributes.tensor("nodes_splits"), count, "nodes_splits");
  const unknownTrue = attributes.ints("nodes_missing_value_tracks_true");
  const leafTargets = attributes.ints("leaf_targetids");
  const leafWeights = sized(attributes.tensor("leaf_weights"), leafTargets.length, "leaf_weights");
  const members = splitAtNaN(attributes.tensor("membership_values")).values();

  const splits = modes.map((number, i): Node => {
    const mode = number === MEMBER ? "EQ" : MODES[number];
    if (mode === undefined) throw new Unsupported(`nodes_modes: ${number} is not known`);
    const values = number === MEMBER ? members.next().value : [thresholds[i] as number];
    if (values === undefined || values.length === 0)
      throw new Unsupported("membership_values has too few sets");
    if (number === MEMBER && !isExactSet(values)) {
      throw new Unsupported("membership_values beyond the integers from 0 to 30");
    }
    const child = (id: number, isLeaf: number): number => (isLeaf === 0 ? id : count + id);
    return {
      kind: "split",
      feature: featureIds[i] as number,
      mode,
      values,
      unknownTrue: unknownTrue[i] === 1,
      whenTrue: child(trueIds[i] as number, trueLeaves[i] as number),
      whenFalse: child(falseIds[i] as number, falseLeaves[i] as number),
    };
  });
  const leaves = leafWeights.map(
    (value, i): Node => ({ kind: "leaf", weights: [{ target: leafTargets[i] as number, value }] }),
  );
  const aggregate = AGGREGATES[attributes.int("aggregate_function", 1)];
  if (aggregate === undefined) throw new Unsupported("aggregate_function is not known");
  const ensemble = { targets: attributes.int("n_targets", 0), aggregate, nodes: [...splits, ...leaves] };
  return checked({ ...ensemble, roots: attributes.ints("tree_roots") }, features);
}

type Ints = readonly number[];

function sized<T>(values: readonly T[], count: number, name: string): readonly T[] {
  if (values.length === count) return values;
  throw new Unsupported(`${name} has ${values.length} values where ${count} are expected`);
}

function splitAtNaN(values: readonly number[]): number[][] {
  const sets: number[][] = [[]];
  for (const value of values) {
    if (Number.isNaN(value)) sets.push([]);
    else sets.at(-1)?.push(value);
  }
  return sets;
}

/** In other sets onnxruntime looks for the integer part of a value, where the standard says equality. */
function isExactSet(values: readonly number[]): boolean {
  return values.length <= 30 && values.every((value) => Number.isInteger(value) && value >= 0 && value <= 30);
}

/** The ensemble, if everything in it refers to something that is there. */
function checked(ensemble: Ensemble, features: number): Ensemble {
  const { nodes, roots, targets } = ensemble;
  const isIndex = (value: number, end: number): boolean =>
    Number.isInteger(value) && value >= 0 && value < end;
  if (!isIndex(targets - 1, TARGETS_MAX))
    throw new Unsupported(`${targets} targets are not 1 to ${TARGETS_MAX}`);
  if (roots.length === 0) throw new Unsupported("there is no tree");
  if (!roots.every((root) => isIndex(root, nodes.length))) throw new Unsupported("a root is not there");
  for (const node of nodes) {
    if (node.kind === "split") {
      if (!isIndex(node.feature, features)) {
        throw new Unsupported(`a node asks for feature ${node.feature} of ${features}`);
      }
      if (!isIndex(node.whenTrue, nodes.length) || !isIndex(node.whenFalse, nodes.length)) {
        throw new Unsupported("the child of a node is not there");
      }
    } else if (node.weights.length === 0) {
      throw new Unsupported("a leaf has no weight");
    } else if (new Set(node.weights.map(({ target }) => target)).size < node.weights.length) {
      throw new Unsupported("a leaf weighs twice for one target");
    } else if (
      !node.weights.every(({ target, value }) => isIndex(target, targets) && Number.isFinite(value))
    ) {
      throw new Unsupported("a leaf's weight is not a finite number for a target that is there");
    }
  }
  if (!isAcyclic(nodes)) throw new Unsupported("a node stands below itself");
  return ensemble;
}

/** Takes away nodes that are nobody's child until none is left (Kahn 1962). */
function isAcyclic(nodes: readonly Node[]): boolean {
  const parents = new Uint32Array(nodes.length);
  for (const node of nodes) {
    if (node.kind === "leaf") continue;
    parents[node.whenTrue]! += 1;
    parents[node.whenFalse]! += 1;
  }
  const free = [...nodes.keys()].filter((at) => parents[at] === 0);
  for (const at of free) {
    const node = nodes[at] as Node;
    if (node.kind === "leaf") continue;
    if (--parents[node.whenTrue]! === 0) free.push(node.whenTrue);
    if (--parents[node.whenFalse]! === 0) free.push(node.whenFalse);
  }
  return free.length === nodes.length;
}
