import { ARRAYS, type NumericDatatype, type Tensor, type TensorSpec } from "@millrace/open-inference";
import { ATTENTION_MASK, type Form, INPUT_IDS, LOGITS, POSITION_IDS } from "./form.ts";
import { GenerationError } from "./generation-error.ts";

/** One run: inputs in the signature's order, outputs likewise. */
export type Run = (inputs: readonly Tensor[]) => Promise<readonly Tensor[]> | readonly Tensor[];

/**
 * Takes the tokens that are new and answers the logits [vocabulary] of the token after them. Rejects with a
 * GenerationError when the model answers with something else, or with the run's error.
 */
export type Steps = (tokens: readonly number[]) => Promise<Float32Array>;

/** Runs a text through a model, one row: only what is new where the model has a cache, else all of it each time. */
export function createSteps(form: Form, run: Run): Steps {
  return form.cache.size === 0 ? withoutCache(form, run) : withCache(form, run);
}

function withoutCache(form: Form, run: Run): Steps {
  const context: number[] = [];
  return async (tokens) => {
    context.push(...tokens);
    return lastLogits(form, await run(form.inputs.map((spec) => tokenInput(spec, context, 0))));
  };
}

function withCache(form: Form, run: Run): Steps {
  let cache = new Map<string, Tensor>();
  for (const spec of form.inputs) if (form.cache.has(spec.name)) cache.set(spec.name, emptyCache(spec));
  let past = 0;
  return async (tokens) => {
    const answer = await run(
      form.inputs.map((spec) => cache.get(spec.name) ?? tokenInput(spec, tokens, past)),
    );
    past += tokens.length;
    cache = new Map(
      [...form.cache].map(([name, present]) => [name, { ...outputOf(form, answer, present), name }]),
    );
    return lastLogits(form, answer);
  };
}

/** An INT64 input for `tokens` behind `past` others. */
function tokenInput({ name }: TensorSpec, tokens: readonly number[], past: number): Tensor {
  switch (name) {
    case INPUT_IDS:
      return int64Row(name, tokens.length, (i) => tokens[i] as number);
    case POSITION_IDS:
      return int64Row(name, tokens.length, (i) => past + i);
    default:
      return int64Row(ATTENTION_MASK, past + tokens.length, () => 1);
  }
}

function int64Row(name: string, length: number, valueAt: (i: number) => number): Tensor {
  const data = BigInt64Array.from({ length }, (_, i) => BigInt(valueAt(i)));
  return { name, datatype: "INT64", shape: [1, length], data };
}

/** Keys or values of no tokens: [1, ...] with 0 where the tokens before would be. */
function emptyCache({ name, datatype, shape }: TensorSpec): Tensor {
  const sizes = shape.map((size, i) => (i === 0 ? 1 : Math.max(0, size)));
  return { name, datatype, shape: sizes, data: new ARRAYS[datatype as NumericDatatype](0) };
}

function outputOf({ outputs }: Form, answer: readonly Tensor[], name: string): Tensor {
  const output = answer[outputs.indexOf(name)];
  if (output !== undefined) return output;
  throw new GenerationError(name, `missing among ${answer.length} outputs`);
}

/** Of the last token that was run. */
function lastLogits(form: Form, answer: readonly Tensor[]): Float32Array {
  const { data, datatype, shape } = outputOf(form, answer, LOGITS);
  const [rows, length = 0, vocabulary = 0] = shape;
  if (data instanceof Float32Array && rows === 1 && length * vocabulary > 0) {
    return data.subarray((length - 1) * vocabulary, length * vocabulary);
  }
  throw new GenerationError(
    LOGITS,
    `${datatype} [${shape}] for one row, expected FP32 [1, length, vocabulary]`,
  );
}
