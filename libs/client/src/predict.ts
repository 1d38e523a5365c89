import { quoted, type Tensor } from "@millrace/open-inference";
import { MillraceError } from "./error.ts";
import type { Infer, Inference, InferOptions, Receipt } from "./inference.ts";
import { checkFeatureDigest, featureVector, type Line } from "./line.ts";

export interface Prediction {
  readonly score: number;
  readonly version: number;
  readonly receipt: Receipt;
  /** How old the newest event behind an entity's features was, ms of event time; null: there was none, or not said. */
  readonly featureAgeMs: number | null;
}

/**
 * What to predict on: the features of one row; an entity, whose features the server has; or the model's own inputs, of
 * one row.
 */
export type Asked<Entity, Features> = Features | { readonly entity: Entity } | readonly Tensor[];

/**
 * Asks a line's model. By features it throws FAILED_PRECONDITION where the model takes others than those that the
 * line's types were made of. A line's name in place of its types takes entities and tensors only.
 */
export type Predict = <
  Event extends object = never,
  Entity extends object = Readonly<Record<string, unknown>>,
  Features extends object = never,
>(
  line: Line<Event, Entity, Features> | string,
  asked: NoInfer<Asked<Entity, Features>>,
  options?: InferOptions,
) => Promise<Prediction>;

/** A line's input and output: MODEL_INPUT and MODEL_OUTPUT of @millrace/lines, whose checks no browser needs. */
const INPUT = "features";
const OUTPUT = "score";

/** `predict` over `infer`. */
export function predictVia(infer: Infer): Predict {
  return async (line, asked, options = {}) => {
    const name = typeof line === "string" ? line : line.name;
    if (Array.isArray(asked)) return prediction(await infer(name, asked as readonly Tensor[], options));
    if (isEntity(asked)) {
      const parameters = { ...options.parameters, entity: JSON.stringify(asked.entity) };
      return prediction(await infer(name, [], { ...options, parameters }));
    }
    if (typeof line === "string") {
      throw new MillraceError(
        "INVALID_ARGUMENT",
        `features of ${quoted(line)}: their order is not known, expected the line's types: ` +
          `\`npx millrace types ${line}\` makes them`,
      );
    }
    const data = featureVector(line.features, asked);
    const input: Tensor = { name: INPUT, datatype: "FP32", shape: [1, data.length], data };
    const answer = await infer(name, [input], options);
    if (answer.receipt.features !== null) checkFeatureDigest(line, answer.receipt.features);
    return prediction(answer);
  };
}

/** A feature's value is a number or null, so that a feature called `entity` is not taken for one. */
function isEntity(asked: object): asked is { readonly entity: object } {
  return "entity" in asked && typeof asked.entity === "object" && asked.entity !== null;
}

function prediction({ model, version, outputs, parameters, receipt }: Inference): Prediction {
  const output = outputs.get(OUTPUT);
  const score = output?.data[0];
  if (typeof score !== "number" || output?.data.length !== 1) {
    const came = output === undefined ? "none" : `${output.data.length} of ${output.datatype}`;
    throw new MillraceError(
      "INVALID_ARGUMENT",
      `outputs of ${quoted(model)}: ${came} called "${OUTPUT}", expected one number: ask for others with infer`,
    );
  }
  const age = Number(parameters.get("feature_age_ms") ?? -1);
  return {
    score,
    version: Number(version),
    receipt,
    featureAgeMs: age >= 0 ? age : null,
  };
}
