/** A tree ensemble as a model states it, before it is compiled. */

/** Each row reaches one leaf per tree; the weights of those leaves are combined per target. */
export interface Ensemble {
  readonly targets: number;
  readonly aggregate: Aggregate;
  /** All nodes of all trees. */
  readonly nodes: readonly Node[];
  /** Positions of the trees' roots in `nodes`, in the order in which weights are added. */
  readonly roots: readonly number[];
}

export type Aggregate = "SUM" | "AVERAGE" | "MIN" | "MAX";

export type Node = Split | Leaf;

export interface Leaf {
  readonly kind: "leaf";
  /** At least one, at most one per target. */
  readonly weights: readonly Weight[];
}

export interface Weight {
  readonly target: number;
  readonly value: number;
}

/** A branch mode of ONNX. EQ and NEQ may have several values: equal to one of them, to none of them. */
export type Mode = "LEQ" | "LT" | "GTE" | "GT" | "EQ" | "NEQ";

export interface Split {
  readonly kind: "split";
  readonly feature: number;
  readonly mode: Mode;
  /** FP32; one, but for EQ and NEQ. */
  readonly values: readonly number[];
  /** An unknown (NaN) value goes to `whenTrue`, whatever the comparison says. */
  readonly unknownTrue: boolean;
  /** Positions in `nodes`. A node may be the child of several: converters write sets as a chain of EQ. */
  readonly whenTrue: number;
  readonly whenFalse: number;
}

/** The leaves that can be reached from a node, each once. */
export function leavesBelow({ nodes }: Ensemble, root: number): Leaf[] {
  const reached = new Set([root]);
  const leaves: Leaf[] = [];
  for (const at of reached) {
    const node = nodes[at] as Node;
    if (node.kind === "leaf") leaves.push(node);
    else reached.add(node.whenTrue).add(node.whenFalse);
  }
  return leaves;
}

/** Whether rows reach a leaf that weighs for the target: each row, none, or who knows. */
export function isScored(ensemble: Ensemble, target: number): "always" | "never" | "sometimes" {
  const shares = ensemble.roots.map((root) => {
    const leaves = leavesBelow(ensemble, root);
    return leaves.filter(({ weights }) => weights.some((w) => w.target === target)).length / leaves.length;
  });
  if (shares.includes(1)) return "always";
  return shares.every((share) => share === 0) ? "never" : "sometimes";
}
