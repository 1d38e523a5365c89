import type { TensorSpec } from "@millrace/open-inference";
import { describe, expect, it } from "vitest";
import { isGenerative, type Signature } from "./form.ts";
import { GenerationError } from "./generation-error.ts";
import { languageOf } from "./language.ts";
import { ids, logits, mask, positions, summing } from "./testing/models.ts";
import { byteLevelJson } from "./testing/tokenizer-json.ts";

const plain: Signature = { inputs: [ids], outputs: [logits] };
const withInput = (...inputs: TensorSpec[]): Signature => ({ inputs: [ids, ...inputs], outputs: [logits] });
const withLogits = (change: Partial<TensorSpec>): Signature => ({
  inputs: [ids],
  outputs: [{ ...logits, ...change }],
});
const past: TensorSpec = { name: "past_key_values.3.value", datatype: "FP16", shape: [-1, 2, -1, 8] };
const present: TensorSpec = { ...past, name: "present.3.value" };

describe("a signature", () => {
  it.each<[string, Signature]>([
    ["with ids alone", plain],
    ["with a mask and positions", withInput(mask, positions)],
    ["with a cache", summing({ hasCache: true }).signature],
    ["with a cache in half precision", { inputs: [ids, past], outputs: [logits, present] }],
    [
      "of one row and an open vocabulary",
      { inputs: [{ ...ids, shape: [1, -1] }], outputs: [{ ...logits, shape: [1, -1, -1] }] },
    ],
  ])("is generative %s", (_, signature) => {
    expect(isGenerative(signature)).toBe(true);
  });

  it.each<[string, Signature]>([
    ["input_ids: missing, expected an input INT64 [rows, length]", { inputs: [mask], outputs: [logits] }],
    ["logits: missing, expected an output FP32", { inputs: [ids], outputs: [] }],
    [
      "input_ids: INT32 [-1, -1], expected INT64",
      { inputs: [{ ...ids, datatype: "INT32" }], outputs: [logits] },
    ],
    [
      "input_ids: INT64 [-1, 16], expected INT64 [rows, length] with a free",
      { inputs: [{ ...ids, shape: [-1, 16] }], outputs: [logits] },
    ],
    [
      "token_type_ids: INT64 [-1, -1], expected only input_ids,",
      withInput({ ...ids, name: "token_type_ids" }),
    ],
    ["past_key_values.3.value: FP16 [-1, 2, -1, 8], expected an output present.3.value", withInput(past)],
    [
      "past_key_values.3.value: FP16 [-1, -1, -1, 8], expected numbers with rows first and one other free",
      { inputs: [ids, { ...past, shape: [-1, -1, -1, 8] }], outputs: [logits, present] },
    ],
    ["logits: FP16 [-1, -1, 257], expected FP32", withLogits({ datatype: "FP16" })],
    ["logits: FP32 [-1, 2], expected FP32 [rows, length, vocabulary]", withLogits({ shape: [-1, 2] })],
  ])("is not: %s", (message, signature) => {
    expect(isGenerative(signature)).toBe(false);
    expect(() => languageOf(signature, new Map())).toThrow(GenerationError);
    expect(() => languageOf(signature, new Map())).toThrow(message);
  });
});

describe("metadata", () => {
  const read = (metadata: Record<string, string>, vocabulary = -1) =>
    languageOf(withLogits({ shape: [-1, -1, vocabulary] }), new Map(Object.entries(metadata)));

  it("names the tokenizer, its ends and the context", () => {
    const bytes = read({ "millrace.tokenizer": "bytes" });
    expect([bytes.contextLength, [...bytes.tokenizer.ends]]).toEqual([2048, [256]]);
    const own = read({
      "millrace.tokenizer": JSON.stringify(byteLevelJson()),
      "millrace.end-of-text": "[264, 0]",
      "millrace.context-length": "16",
    });
    expect([own.contextLength, own.tokenizer.size, [...own.tokenizer.ends]]).toEqual([16, 265, [264, 0]]);
    expect(own.tokenizer.encode("hello")).toEqual([261]);
  });

  it.each<[Record<string, string>, string]>([
    [{}, 'millrace.tokenizer: missing from the metadata, expected "bytes" or the text of a tokenizer.json'],
    [{ "millrace.tokenizer": "words" }, 'millrace.tokenizer: "words", expected "bytes"'],
    [{ "millrace.tokenizer": "{}" }, 'millrace.tokenizer: "{}", expected "bytes"'],
    [{ "millrace.tokenizer": "null" }, 'millrace.tokenizer: "null", expected "bytes"'],
    [
      { "millrace.tokenizer": "bytes", "millrace.end-of-text": "256" },
      'millrace.end-of-text: "256", expected a JSON list',
    ],
    [{ "millrace.tokenizer": "bytes", "millrace.end-of-text": "[1,]" }, "millrace.end-of-text"],
    [
      { "millrace.tokenizer": "bytes", "millrace.context-length": "1" },
      'millrace.context-length: "1", expected a whole number from 2',
    ],
    [{ "millrace.tokenizer": "bytes", "millrace.context-length": "1e9" }, "millrace.context-length"],
  ])("is refused: %j", (metadata, message) => {
    expect(() => read(metadata)).toThrow(GenerationError);
    expect(() => read(metadata)).toThrow(message);
  });

  it("is refused when the tokenizer has more tokens than the model", () => {
    expect(() => read({ "millrace.tokenizer": "bytes" }, 128)).toThrow(
      "257 tokens for a model of 128 logits",
    );
  });
});
