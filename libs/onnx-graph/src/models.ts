import { MODEL_INPUT, MODEL_OUTPUT } from "@millrace/lines";
import { attribute, floatTensor, int64Tensor, type ModelDescription, modelBytes, node } from "./graph.ts";

/**
 * A model that answers every row with the same score, for example the base rate.
 * Throws a RangeError when the score is not a probability.
 */
export function constantModel(description: ModelDescription, score: number): Uint8Array {
  if (!(score >= 0 && score <= 1)) throw new RangeError(`score ${score} is not a probability`);
  return modelBytes(
    description,
    [
      node("Shape", [MODEL_INPUT], ["rows"], [attribute.int("start", 0), attribute.int("end", 1)]),
      node(
        "ConstantOfShape",
        ["rows"],
        [MODEL_OUTPUT],
        [attribute.tensor("value", floatTensor("value", [1], [score]))],
      ),
    ],
    [],
  );
}

/** A logistic model over standardised features. All arrays have one value per feature. */
export interface LogisticParameters {
  readonly weights: readonly number[];
  readonly bias: number;
  readonly means: readonly number[];
  /** Standard deviations; above 0. */
  readonly scales: readonly number[];
  /** What stands in for an unknown (NaN) value, in the feature's own unit. */
  readonly fill: readonly number[];
}

/** Standardised values are clipped to this many standard deviations, so that one absurd value does not decide alone. */
export const STANDARDISED_LIMIT: number = 10;

/**
 * The value that the model computes for one feature before it is weighted, in FP32 as the model does:
 * clip((x - mean) / scale), with `fill` for NaN. Parameters must already be FP32 numbers.
 */
export function standardise(x: number, mean: number, scale: number, fill: number): number {
  const known = Number.isNaN(x) ? fill : x;
  const z = Math.fround(Math.fround(known - mean) / scale);
  return Math.min(STANDARDISED_LIMIT, Math.max(-STANDARDISED_LIMIT, z));
}

/**
 * score = sigmoid(weights . standardised + bias), with imputation and standardisation inside the graph.
 * Throws a RangeError when an array has not one value per feature, a value is not finite or a scale is not above 0.
 */
export function logisticModel(description: ModelDescription, parameters: LogisticParameters): Uint8Array {
  const { weights, bias, means, scales, fill } = parameters;
  const width = description.features.length;
  for (const [name, values] of Object.entries({ weights, means, scales, fill, bias: [bias] })) {
    if (name !== "bias" && values.length !== width) {
      throw new RangeError(`${name}: ${values.length} values for ${width} features`);
    }
    if (!values.every((value) => Number.isFinite(Math.fround(value))))
      throw new RangeError(`${name}: not finite`);
  }
  if (!scales.every((scale) => Math.fround(scale) > 0)) throw new RangeError("scales: each must be above 0");
  return modelBytes(
    description,
    [
      node("IsNaN", [MODEL_INPUT], ["unknown"]),
      node("Where", ["unknown", "fill", MODEL_INPUT], ["known"]),
      node("Sub", ["known", "means"], ["centred"]),
      node("Div", ["centred", "scales"], ["scaled"]),
      node("Clip", ["scaled", "lowest", "highest"], ["standardised"]),
      node("MatMul", ["standardised", "weights"], ["weighted"]),
      node("Add", ["weighted", "bias"], ["logit"]),
      node("Sigmoid", ["logit"], ["probability"]),
      node("Squeeze", ["probability", "column"], [MODEL_OUTPUT]),
    ],
    [
      floatTensor("fill", [1, width], fill),
      floatTensor("means", [1, width], means),
      floatTensor("scales", [1, width], scales),
      floatTensor("lowest", [], [-STANDARDISED_LIMIT]),
      floatTensor("highest", [], [STANDARDISED_LIMIT]),
      floatTensor("weights", [width, 1], weights),
      floatTensor("bias", [1], [bias]),
      int64Tensor("column", [1]),
    ],
  );
}
