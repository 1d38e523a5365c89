import { ProtocolError, type Tensor } from "@millrace/open-inference";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type GenerationOptions, generate, type Piece } from "./generate.ts";
import { GenerationError } from "./generation-error.ts";
import { languageOf } from "./language.ts";
import { bigram, chain, type FakeModel, oneHot, summing } from "./testing/models.ts";

const GREEDY: GenerationOptions = {
  repetitionPenalty: 1,
  temperature: 0,
  topK: 0,
  topP: 1,
  seed: 0,
  maxTokens: 50,
  stop: [],
};

async function piecesOf(
  model: FakeModel,
  prompt: string,
  options: Partial<GenerationOptions> = {},
  isCancelled: () => boolean = () => false,
): Promise<Piece[]> {
  const language = languageOf(model.signature, model.metadata);
  const pieces: Piece[] = [];
  for await (const piece of generate(
    { ...language, run: model.run },
    prompt,
    { ...GREEDY, ...options },
    isCancelled,
  ))
    pieces.push(piece);
  return pieces;
}
const textOf = (pieces: readonly Piece[]): string => pieces.map(({ text }) => text).join("");

describe("generate", () => {
  it("gives the most likely tokens until the model ends the text", async () => {
    expect(await piecesOf(chain("abc"), "a")).toEqual([
      { token: 98, text: "b", finishReason: null },
      { token: 99, text: "c", finishReason: null },
      { token: 256, text: "", finishReason: "stop" },
    ]);
  });

  it("ends after max_tokens, or when the context is full", async () => {
    const pieces = await piecesOf(chain("abcdef"), "a", { maxTokens: 2 });
    expect([textOf(pieces), pieces.at(-1)?.finishReason]).toEqual(["bc", "length"]);
    const small = {
      ...chain("abcdef"),
      metadata: new Map([
        ["millrace.tokenizer", "bytes"],
        ["millrace.context-length", "4"],
      ]),
    };
    const full = await piecesOf(small, "ab");
    expect([textOf(full), full.at(-1)?.finishReason]).toEqual(["cd", "length"]);
    await expect(piecesOf(small, "abcd")).rejects.toThrow(
      "text_input: 4 characters, expected at most 3 tokens",
    );
    await expect(piecesOf(small, "éé")).rejects.toThrow("text_input: 4 tokens, expected at most 3 tokens");
    await expect(piecesOf(small, "")).rejects.toThrow(ProtocolError);
  });

  it("gives characters whole, and what is left of one at the end as U+FFFD", async () => {
    const pieces = await piecesOf(chain("aé😀"), "a");
    expect(pieces.map(({ text }) => text)).toEqual(["", "é", "", "", "", "😀", ""]);
    expect(textOf(await piecesOf(chain("aé😀"), "a", { maxTokens: 4 }))).toBe("é\ufffd");
  });

  it("ends before a stop text, and gives out what only began like one", async () => {
    const pieces = await piecesOf(chain("abcdefg"), "a", { stop: ["efx", "de"] });
    expect(pieces.map(({ text }) => text)).toEqual(["b", "c", "", ""]);
    expect(pieces.at(-1)?.finishReason).toBe("stop");
    expect(textOf(await piecesOf(chain("abcd"), "a", { stop: ["de"] }))).toBe("bcd");
    expect(textOf(await piecesOf(chain("abcd"), "a", { stop: ["cde"], maxTokens: 2 }))).toBe("bc");
  });

  it("runs only new tokens where the model has a cache, else the whole context", async () => {
    const [cached, plain] = [summing({ hasCache: true }), summing({ hasCache: false })];
    await piecesOf(cached, "hello", { maxTokens: 4 });
    await piecesOf(plain, "hello", { maxTokens: 4 });
    expect(cached.runs).toEqual([5, 1, 1, 1]);
    expect(plain.runs).toEqual([5, 6, 7, 8]);
  });

  it("gives the same for the same seed, with a cache or without, and other things for others", async () => {
    const run = fc.record({
      prompt: fc.string({ minLength: 1, maxLength: 12 }),
      options: fc.record({
        seed: fc.nat(),
        maxTokens: fc.integer({ min: 1, max: 12 }),
        temperature: fc.double({ min: 0, max: 9, noNaN: true }),
        topK: fc.nat({ max: 20 }),
        topP: fc.double({ min: 0, max: 1, noNaN: true }),
        repetitionPenalty: fc.double({ min: 0.5, max: 2, noNaN: true }),
      }),
    });
    await fc.assert(
      fc.asyncProperty(run, async ({ prompt, options }) => {
        const cached = await piecesOf(summing({ hasCache: true }), prompt, options);
        expect(await piecesOf(summing({ hasCache: false }), prompt, options)).toEqual(cached);
      }),
      { numRuns: 50 },
    );
    const texts = [1, 2, 3].map((seed) =>
      piecesOf(summing({ hasCache: true }), "a", { seed, temperature: 9 }),
    );
    expect(new Set((await Promise.all(texts)).map(textOf)).size).toBe(3);
  });

  it("never chooses a token that the tokenizer does not know", async () => {
    const wide = (token: number): Float32Array => {
      const values = new Float32Array(300);
      values[token + 1] = 1;
      values[290] = 2;
      return values;
    };
    const model: FakeModel = {
      ...chain(""),
      run: ([input]) => {
        const token = Number((input as Tensor).data.at(-1));
        return [{ name: "logits", datatype: "FP32", shape: [1, 1, 300], data: wide(token) }];
      },
    };
    expect(textOf(await piecesOf(model, "a", { maxTokens: 3 }))).toBe("bcd");
  });

  it("ends without a reason once it is cancelled, and runs no more", async () => {
    const model = chain("abcdef");
    const pieces = await piecesOf(model, "a", {}, () => model.runs.length === 3);
    expect([textOf(pieces), model.runs.length]).toEqual(["bc", 3]);
    expect(pieces.at(-1)?.finishReason).toBeNull();
  });

  it("says what is wrong with a model's answers", async () => {
    const answering = (tensors: readonly Tensor[]): FakeModel => ({ ...chain("a"), run: () => tensors });
    const odd: Tensor = { name: "logits", datatype: "FP32", shape: [2, 1, 2], data: new Float32Array(4) };
    await expect(piecesOf(answering([odd]), "a")).rejects.toThrow(GenerationError);
    await expect(piecesOf(answering([odd]), "a")).rejects.toThrow("logits: FP32 [2,1,2] for one row");
    await expect(piecesOf(answering([]), "a")).rejects.toThrow("logits: missing among 0 outputs");
    const nan = bigram(() => oneHot(0).fill(Number.NaN));
    await expect(piecesOf(nan, "a")).rejects.toThrow("logits: NaN for token 0");
    const failing = bigram(() => {
      throw new Error("out of memory");
    });
    await expect(piecesOf(failing, "a")).rejects.toThrow("out of memory");
  });
});
