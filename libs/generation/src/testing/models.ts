import type { Tensor, TensorSpec } from "@millrace/open-inference";
import type { Signature } from "../form.ts";

/** A language model in plain code, with what it was run on. */
export interface FakeModel {
  readonly signature: Signature;
  readonly metadata: ReadonlyMap<string, string>;
  run(inputs: readonly Tensor[]): readonly Tensor[];
  /** Number of new tokens of each run. */
  readonly runs: number[];
}

const VOCABULARY = 257;
const METADATA: ReadonlyMap<string, string> = new Map([["millrace.tokenizer", "bytes"]]);

export const ids: TensorSpec = { name: "input_ids", datatype: "INT64", shape: [-1, -1] };
export const mask: TensorSpec = { ...ids, name: "attention_mask" };
export const positions: TensorSpec = { ...ids, name: "position_ids" };
export const logits: TensorSpec = { name: "logits", datatype: "FP32", shape: [-1, -1, VOCABULARY] };

/** Answers with the logits of `next` for each token alone. */
export function bigram(next: (token: number) => ArrayLike<number>): FakeModel {
  const runs: number[] = [];
  return {
    signature: { inputs: [ids], outputs: [logits] },
    metadata: METADATA,
    runs,
    run: ([input]) => {
      const tokens = numbers(input as Tensor);
      runs.push(tokens.length);
      return [logitsOf(tokens.map(next))];
    },
  };
}

/** After each character of the text comes the next one; after the last the end of the text. */
export function chain(text: string): FakeModel {
  const bytes = [...new TextEncoder().encode(text)];
  return bigram((token) => oneHot(bytes[bytes.indexOf(token) + 1] ?? 256));
}

export function oneHot(token: number): Float32Array {
  const values = new Float32Array(VOCABULARY);
  values[token] = 1;
  return values;
}

const WIDTH = 4;
const PAST: TensorSpec = { name: "past_key_values.0.key", datatype: "FP32", shape: [-1, 1, -1, WIDTH] };
const PRESENT: TensorSpec = { ...PAST, name: "present.0.key" };

/**
 * The logits after a token rest on the sum of the embeddings of all tokens up to it and on its position: what was
 * before counts. All numbers are small and whole, so that sums have no rounding.
 */
export function summing(options: { readonly hasCache: boolean }): FakeModel {
  const embedding = (token: number): number[] => [token % 7, token % 5, token % 3, 1];
  const weight = (axis: number, token: number): number => ((token * (axis + 3)) % 11) - 5;
  const inputs = options.hasCache ? [mask, ids, PAST, positions] : [mask, ids, positions];
  const runs: number[] = [];
  return {
    signature: { inputs, outputs: options.hasCache ? [PRESENT, logits] : [logits] },
    metadata: METADATA,
    runs,
    run: (given) => {
      const byName = new Map(given.map((tensor, i) => [inputs[i]?.name, tensor]));
      const tokens = numbers(byName.get("input_ids") as Tensor);
      const past = [...((byName.get(PAST.name)?.data as Float32Array | undefined) ?? [])];
      const before = past.length / WIDTH;
      expectRow(byName.get("attention_mask"), new Array<number>(before + tokens.length).fill(1));
      const places = tokens.map((_, i) => before + i);
      expectRow(byName.get("position_ids"), places);
      runs.push(tokens.length);
      const sum = [0, 1, 2, 3].map((axis) =>
        past.reduce((to, value, i) => to + (i % WIDTH === axis ? value : 0), 0),
      );
      const rows = tokens.map((token, i) => {
        for (const [axis, value] of embedding(token).entries()) sum[axis] = (sum[axis] as number) + value;
        const hidden = sum.map((value) => value % 6);
        return Float32Array.from({ length: VOCABULARY }, (_, to) =>
          hidden.reduce((score, value, axis) => score + value * weight(axis, to), (places[i] as number) % 2),
        );
      });
      const all = Float32Array.from([...past, ...tokens.flatMap(embedding)]);
      const present: Tensor = { ...PRESENT, shape: [1, 1, all.length / WIDTH, WIDTH], data: all };
      return options.hasCache ? [present, logitsOf(rows)] : [logitsOf(rows)];
    },
  };
}

function logitsOf(rows: readonly ArrayLike<number>[]): Tensor {
  const data = Float32Array.from(rows.flatMap((row) => Array.from(row)));
  return { ...logits, shape: [1, rows.length, VOCABULARY], data };
}

const numbers = ({ data }: Tensor): number[] => Array.from(data as BigInt64Array, Number);

function expectRow(tensor: Tensor | undefined, values: readonly number[]): void {
  const came = tensor === undefined ? [] : numbers(tensor);
  if (`${tensor?.shape}` === `1,${values.length}` && `${came}` === `${values}`) return;
  throw new Error(`${tensor?.name} is ${came}, expected ${values}`);
}
