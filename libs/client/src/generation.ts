import type { CallOptions } from "./retry.ts";

/** What text to generate, and how. What is left out is the server's choice. */
export interface GenerateOptions extends CallOptions {
  /** Default: the champion. */
  readonly version?: number | string;
  readonly maxTokens?: number;
  /** 0: always the likeliest token. */
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly repetitionPenalty?: number;
  /** Equal seeds give equal texts. */
  readonly seed?: number;
  /** Texts that end the answer. */
  readonly stop?: readonly string[];
  /** Further parameters by their names in the protocol. */
  readonly parameters?: Readonly<Record<string, string | number | boolean>>;
}

/** Text that a model generated: the whole answer, or the next piece of it. */
export interface Generated {
  readonly text: string;
  readonly model: string;
  readonly version: string;
  /** Everything else that the server said, by its names there. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** Triton's generate extension: text in, text out. */
export interface Generation {
  generate(model: string, prompt: string, options?: GenerateOptions): Promise<Generated>;
  /** The same piece by piece, as it is generated. Leaving the loop ends the generation. */
  generateStream(
    model: string,
    prompt: string,
    options?: GenerateOptions,
  ): AsyncGenerator<Generated, void, void>;
}

/** The body of a generate request. */
export function generateBody(prompt: string, options: GenerateOptions): string {
  const { maxTokens, temperature, topK, topP, repetitionPenalty, seed, stop, parameters } = options;
  return JSON.stringify({
    text_input: prompt,
    parameters: {
      max_tokens: maxTokens,
      temperature,
      top_k: topK,
      top_p: topP,
      repetition_penalty: repetitionPenalty,
      seed,
      stop,
      ...parameters,
    },
  });
}

/** Reads one answer. */
export function generated(answer: Readonly<Record<string, unknown>>): Generated {
  const { text_output, model_name, model_version, ...details } = answer;
  return { text: text(text_output), model: text(model_name), version: text(model_version), details };
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");
