/**
 * Text from causal language models, token by token, pure: whoever runs the model passes a function that does.
 *
 * - `request.ts` the body of Triton's generate extension
 * - `language.ts` what a model's tensors (`form.ts`) and metadata say: its tokenizer and its context
 * - `tokenizer.ts` bytes as tokens; `hugging-face.ts` a tokenizer.json
 * - `generate.ts` the loop: `steps.ts` runs the model, with its cache where it has one, `sampling.ts` chooses a token
 *   (`random.ts`), a decoder makes it text, `stop-texts.ts` ends it
 * - `generation-error.ts` what is wrong with a model
 *
 * Invariants
 * L1 The pieces' texts, put together, are the text of the tokens up to the end or the first stop text; no piece holds
 *    a part of a character or of a stop text.
 * L2 The same model, prompt and options, the seed among them, give the same pieces, with a cache or without.
 * L3 Prompt and text never have more tokens than the context.
 */
export { isGenerative, type Signature } from "./form.ts";
export * from "./generate.ts";
export * from "./generation-error.ts";
export { LANGUAGE_METADATA, type Language, languageOf } from "./language.ts";
export * from "./request.ts";
export type { SamplingOptions } from "./sampling.ts";
export type { Run } from "./steps.ts";
