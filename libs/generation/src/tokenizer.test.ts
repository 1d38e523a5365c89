import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { huggingFaceTokenizer } from "./hugging-face.ts";
import { byteFallbackJson, byteLevelJson } from "./testing/tokenizer-json.ts";
import { BYTES, REPLACEMENT, type Tokenizer } from "./tokenizer.ts";

const byteLevel = huggingFaceTokenizer(byteLevelJson(), new Set([264]));
const byteFallback = huggingFaceTokenizer(byteFallbackJson(), new Set([2]));

/** The pieces of a text behind a prompt. */
function pieces(tokenizer: Tokenizer, tokens: readonly number[], prompt: readonly number[] = []): string[] {
  const decoder = tokenizer.decoder(prompt);
  return [...tokens.map((token) => decoder.push(token)), decoder.end()];
}

describe("bytes", () => {
  it("are the tokens of UTF-8", () => {
    expect(BYTES.encode("aé")).toEqual([0x61, 0xc3, 0xa9]);
    expect(pieces(BYTES, [0x61, 0xc3, 0xa9])).toEqual(["a", "", "é", ""]);
  });

  it("that are no character become U+FFFD", () => {
    expect(pieces(BYTES, [0xff, 0x61, 0xe2, 0x82])).toEqual([REPLACEMENT, "a", "", "", REPLACEMENT]);
  });
});

describe("a tokenizer.json", () => {
  // The tokens that Hugging Face's tokenizers 0.23.3 (Rust) gives for the same JSON.
  it.each<[string, number[]]>([
    ["hello the  world", [261, 258, 32, 32, 119, 111, 114, 108, 100]],
    ["the café 😀", [257, 32, 99, 97, 102, 263, 32, 240, 159, 152, 128]],
    ["<|endoftext|>hello", [264, 261]],
    ["日本", [230, 151, 165, 230, 156, 172]],
  ])("of bytes encodes %j", (text, tokens) => {
    expect(byteLevel.encode(text)).toEqual(tokens);
  });

  it.each<[string, number[]]>([
    ["aba abc ab", [1, 264, 260, 264, 262, 264]],
    ["  a\n", [1, 259, 259, 263, 13]],
    ["日本", [1, 259, 233, 154, 168, 233, 159, 175]],
    ["ab</s>c", [1, 264, 2, 259, 262]],
  ])("of words with bytes beside them encodes %j", (text, tokens) => {
    expect(byteFallback.encode(text)).toEqual(tokens);
  });

  it("knows how many tokens there are, and the longest of them", () => {
    expect([byteLevel.size, byteLevel.unitsPerToken]).toEqual([265, "<|endoftext|>".length]);
  });

  it("keeps the space between the prompt and what follows", () => {
    const [ab, c] = [264, 262];
    expect(pieces(byteFallback, [ab, c], byteFallback.encode("c"))).toEqual([" ab", "c", ""]);
  });

  it("gives special tokens no text", () => {
    expect(pieces(byteFallback, [264, 2, 259, 262])).toEqual(["ab", "", " ", "c", ""]);
  });

  it("does not wait for ever for bytes that are no character", () => {
    const lead = 0xe2;
    const [first, second, third, fourth] = pieces(byteLevel, [lead, lead, lead, lead]);
    expect([first, second, third, fourth]).toEqual(["", "", "", REPLACEMENT.repeat(4)]);
  });
});

it.each([
  ["bytes", BYTES],
  ["of bytes", byteLevel],
  ["of words", byteFallback],
])("gives a text back in whole characters: %s", (_, tokenizer) => {
  const character = fc
    .integer({ min: 0, max: 0x10ffff })
    .map((codePoint) => String.fromCodePoint(codePoint))
    .filter((one) => one.isWellFormed() && one !== REPLACEMENT);
  const any = fc.string({ unit: character, maxLength: 30 });
  fc.assert(
    fc.property(any, (text) => {
      const parts = pieces(tokenizer, tokenizer.encode(text));
      expect(parts.join("")).toBe(text);
      expect(parts.filter((part) => part.includes(REPLACEMENT))).toEqual([]);
      expect(parts.every((part) => part.isWellFormed())).toBe(true);
    }),
    { numRuns: 100 },
  );
});
