import type { onnx } from "@millrace/contracts";
import { Attributes } from "./attributes.ts";
import { areScored, type Ensemble } from "./ensemble.ts";
import { readEnsemble, readEnsemble5 } from "./read-ensemble.ts";
import { arithmetic, type Step } from "./steps.ts";
import { Unsupported } from "./unsupported.ts";

/** A tree operator: its trees, and what it does with their sums. */
export interface TreeOperator {
  readonly ensemble: Ensemble;
  readonly steps: readonly Step[];
  /** Which of its outputs has the values. */
  readonly output: number;
}

/**
 * Reads an operator of ai.onnx.ml that evaluates trees, null for another one. What the standard leaves open follows
 * onnxruntime 1.30 (`tree_ensemble_aggregator.h`, `ml_common.h`). Throws Unsupported.
 */
export function readTreeOperator(node: onnx.NodeProto, features: number): TreeOperator | null {
  const attributes = new Attributes(node);
  switch (node.opType) {
    case "TreeEnsembleRegressor":
      return readRegressor(attributes, features);
    case "TreeEnsembleClassifier":
      return readClassifier(attributes, features);
    case "TreeEnsemble": {
      // The standard and onnxruntime number the transforms differently.
      if (attributes.int("post_transform", 0) !== 0) throw new Unsupported("post_transform of TreeEnsemble");
      const ensemble = readEnsemble5(attributes, features);
      return { ensemble, steps: averaged(ensemble), output: 0 };
    }
    default:
      return null;
  }
}

function readRegressor(attributes: Attributes, features: number): TreeOperator {
  const targets = attributes.int("n_targets", 0);
  const ensemble = readEnsemble(attributes, "target", targets, features);
  const base = attributes.floats("base_values");
  if (base.length !== 0 && base.length !== targets) {
    throw new Unsupported(`base_values has ${base.length} values for ${targets} targets`);
  }
  const transform = transformOf(attributes, targets);
  // The standard applies it; onnxruntime passes a single target on as it is.
  if (targets === 1 && transform.length > 0) throw new Unsupported("post_transform of one target");
  const steps = [...averaged(ensemble), ...added(ensemble, base), ...transform];
  return { ensemble, steps, output: 0 };
}

function readClassifier(attributes: Attributes, features: number): TreeOperator {
  const classes =
    attributes.texts("classlabels_strings").length || attributes.ints("classlabels_int64s").length;
  if (classes < 2) throw new Unsupported(`a classifier with ${classes} classes`);
  const ensemble = readEnsemble(attributes, "class", classes, features);
  if (ensemble.aggregate !== "SUM") throw new Unsupported("aggregate_function of a classifier");
  const base = attributes.floats("base_values");
  if (classes === 2) return { ensemble, steps: twoClasses(ensemble, attributes, base), output: 1 };
  if (base.length !== 0 && base.length !== classes) {
    throw new Unsupported(`base_values has ${base.length} values for ${classes} classes`);
  }
  // Here base values are added to classes without a weight, too.
  const steps = [
    ...(base.length === 0 ? [] : [arithmetic("add", base)]),
    ...transformOf(attributes, classes),
  ];
  return { ensemble, steps, output: 1 };
}

/**
 * Two classes have a score each, or one together, given for class 0 but meaning class 1: that is how boosted trees
 * are converted. What base values then do is clear only for the one score.
 */
function twoClasses(ensemble: Ensemble, attributes: Attributes, base: readonly number[]): Step[] {
  const transform = transformOf(attributes, 2);
  const second = areScored(ensemble)[1];
  if (second === "sometimes")
    throw new Unsupported("whether the second class has a score depends on the row");
  if (base.length > (second === "always" ? 0 : 1)) throw new Unsupported("base_values of two classes");
  if (second === "always") return transform;
  const first: Step = { kind: "select", width: 1, from: 2, columns: [0] };
  const score = base.length === 0 ? [first] : [first, arithmetic("add", base)];
  return [...score, { kind: "pair", width: 2, negative: negativeScore(attributes) }];
}

function negativeScore(attributes: Attributes): "sigmoid" | "complement" | "opposite" {
  if (attributes.text("post_transform", "NONE") === "LOGISTIC") return "sigmoid";
  return attributes.floats("class_weights").every((weight) => weight >= 0) ? "complement" : "opposite";
}

function averaged({ aggregate, roots, targets }: Ensemble): Step[] {
  if (aggregate !== "AVERAGE") return [];
  return [arithmetic("divide", new Array<number>(targets).fill(roots.length))];
}

/** Base values are added, but to a target without any weight. */
function added(ensemble: Ensemble, base: readonly number[]): Step[] {
  if (base.every((value) => value === 0)) return [];
  const scored = areScored(ensemble);
  const values = base.map((value, target) => {
    if (value !== 0 && scored[target] === "sometimes")
      throw new Unsupported(`whether target ${target} has a weight depends on the row`);
    return scored[target] === "always" ? value : 0;
  });
  return [arithmetic("add", values)];
}

function transformOf(attributes: Attributes, width: number): Step[] {
  const name = attributes.text("post_transform", "NONE");
  switch (name) {
    case "NONE":
      return [];
    case "LOGISTIC":
      return [{ kind: "sigmoid", width }];
    case "SOFTMAX":
      return [{ kind: "softmax", width }];
    default:
      // PROBIT and SOFTMAX_ZERO make much of the last bit of a sum.
      throw new Unsupported(`post_transform ${name}`);
  }
}
