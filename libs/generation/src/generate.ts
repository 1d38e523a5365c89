import { type Language, promptTokens } from "./language.ts";
import { createSampler, type SamplingOptions } from "./sampling.ts";
import { createSteps, type Run } from "./steps.ts";
import { StopTexts } from "./stop-texts.ts";

/** A model that can run, and how its tokens are read. */
export interface LanguageModel extends Language {
  readonly run: Run;
}

export interface GenerationOptions extends SamplingOptions {
  /** Most tokens to generate, from 1; a full context ends the text before. */
  readonly maxTokens: number;
  /** Texts before which to stop; they are not given out. */
  readonly stop: readonly string[];
}

/** stop: the model ended the text, or a stop text came. length: max_tokens came, or the context is full. */
export type FinishReason = "stop" | "length";

/** What one token gave. */
export interface Piece {
  readonly token: number;
  /** Whole characters; "" while a character or a stop text may be in the making. */
  readonly text: string;
  /** null: more comes. */
  readonly finishReason: FinishReason | null;
}

/**
 * Continues the prompt, a piece per token. Ends with a piece that has a reason, or without one once `isCancelled`
 * answers true, which is asked before and after each run. Throws a ProtocolError when the prompt does not fit, a
 * GenerationError when the model does not answer as a language model does, or the run's error.
 */
export async function* generate(
  model: LanguageModel,
  prompt: string,
  options: GenerationOptions,
  isCancelled: () => boolean,
): AsyncGenerator<Piece, void, undefined> {
  const { tokenizer, contextLength } = model;
  let fresh = promptTokens(model, prompt);
  const most = Math.min(options.maxTokens, contextLength - fresh.length);
  const seen = new Set(fresh);
  const step = createSteps(model.form, model.run);
  const choose = createSampler(options);
  const decoder = tokenizer.decoder(fresh);
  const stops = new StopTexts(options.stop);
  for (let count = 1; !isCancelled(); count++) {
    const logits = await step(fresh);
    if (isCancelled()) return;
    const token = choose(logits.subarray(0, tokenizer.size), seen);
    const isEnd = tokenizer.ends.has(token);
    const isLast = isEnd || count === most;
    const { text, stopped } = stops.push((isEnd ? "" : decoder.push(token)) + (isLast ? decoder.end() : ""));
    const finishReason = isEnd || stopped ? "stop" : isLast ? "length" : null;
    yield { token, text: isLast ? text + stops.end() : text, finishReason };
    if (finishReason !== null) return;
    seen.add(token);
    fresh = [token];
  }
}
