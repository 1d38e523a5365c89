import type { TensorSpec } from "@millrace/open-inference";
import { GenerationError } from "./generation-error.ts";

/** What a model takes and gives, in this order. */
export interface Signature {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/** A language model's tensors, as Hugging Face's optimum names them when it exports to ONNX. */
export interface Form {
  readonly inputs: readonly TensorSpec[];
  /** Names of all outputs, in the model's order. */
  readonly outputs: readonly string[];
  /** Of each input that holds keys or values of the tokens before (`past_...`), the output that holds them after. */
  readonly cache: ReadonlyMap<string, string>;
  /** Number of logits per token; -1: it is not said. */
  readonly vocabulary: number;
}

export const INPUT_IDS = "input_ids";
export const ATTENTION_MASK = "attention_mask";
export const POSITION_IDS = "position_ids";
export const LOGITS = "logits";
const PAST = /^past_key_values\.(\d+\.(?:key|value))$/;

/** Whether the tensors are those of a causal language model. */
export function isGenerative(signature: Signature): boolean {
  return formProblem(signature) === null;
}

/** Throws a GenerationError that names the first tensor which is not a causal language model's. */
export function formOf(signature: Signature): Form {
  const problem = formProblem(signature);
  if (problem !== null) throw problem;
  const { inputs, outputs } = signature;
  const cached = inputs.flatMap(({ name }) => {
    const present = presentOf(name);
    return present === null ? [] : [[name, present] as const];
  });
  return {
    inputs,
    outputs: outputs.map(({ name }) => name),
    cache: new Map(cached),
    vocabulary: outputs.find(({ name }) => name === LOGITS)?.shape[2] ?? -1,
  };
}

function formProblem({ inputs, outputs }: Signature): GenerationError | null {
  const needed = [
    { name: INPUT_IDS, among: inputs, expected: "an input INT64 [rows, length]" },
    { name: LOGITS, among: outputs, expected: "an output FP32 [rows, length, vocabulary]" },
  ];
  for (const { name, among, expected } of needed) {
    const found = among.some((spec) => spec.name === name);
    if (!found) return new GenerationError(name, `missing, expected ${expected}`);
  }
  for (const input of inputs) {
    const expected = inputProblem(input, outputs);
    if (expected !== null) return new GenerationError(input.name, `${textOf(input)}, expected ${expected}`);
  }
  const logits = outputs.find(({ name }) => name === LOGITS) as TensorSpec;
  if (logits.datatype === "FP32" && logits.shape.length === 3 && takesOneRow(logits)) return null;
  return new GenerationError(
    LOGITS,
    `${textOf(logits)}, expected FP32 [rows, length, vocabulary]: cast it in the model`,
  );
}

/** What is expected instead of that input; null where it is right. */
function inputProblem(input: TensorSpec, outputs: readonly TensorSpec[]): string | null {
  const { name, datatype, shape } = input;
  if (name === INPUT_IDS || name === ATTENTION_MASK || name === POSITION_IDS) {
    const isRight = datatype === "INT64" && shape.length === 2 && takesOneRow(input) && shape[1] === -1;
    return isRight ? null : "INT64 [rows, length] with a free length";
  }
  const present = presentOf(name);
  if (present === null) {
    return `only ${INPUT_IDS}, ${ATTENTION_MASK}, ${POSITION_IDS} and past_key_values.N.key or .value`;
  }
  const isGiven = outputs.some((output) => output.name === present && output.datatype === datatype);
  if (!isGiven) return `an output ${present} of the same type beside it`;
  const free = shape.slice(1).filter((size) => size === -1).length;
  const isCache = datatype !== "BYTES" && takesOneRow(input) && free === 1;
  return isCache ? null : "numbers with rows first and one other free dimension, the tokens before";
}

function presentOf(name: string): string | null {
  const which = PAST.exec(name)?.[1];
  return which === undefined ? null : `present.${which}`;
}

const takesOneRow = ({ shape }: TensorSpec): boolean => shape[0] === -1 || shape[0] === 1;
const textOf = ({ datatype, shape }: TensorSpec): string => `${datatype} [${shape.join(", ")}]`;
