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

/** Whether rows reach a leaf that weighs for a target: each row, none, or who knows. One answer per target. */
export function areScored(ensemble: Ensemble): readonly ("always" | "never" | "sometimes")[] {
  const scored = new Array<"always" | "never" | "sometimes">(ensemble.targets).fill("never");
  for (const root of ensemble.roots) {
    const leaves = leavesBelow(ensemble, root);
    const weighing = new Map<number, number>();
    for (const { target } of leaves.flatMap(({ weights }) => weights)) {
      weighing.set(target, (weighing.get(target) ?? 0) + 1);
    }
    for (const [target, count] of weighing) {
      if (count === leaves.length) scored[target] = "always";
      else if (scored[target] === "never") scored[target] = "sometimes";
    }
  }
  return scored;
}
