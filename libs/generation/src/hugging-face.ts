import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { type Decoder, REPLACEMENT, type Tokenizer } from "./tokenizer.ts";

/** A character has up to 4 bytes: the first one of that many tokens is whole by then, or never. */
const PENDING_MAX = 4;

/** What is used of the library: its own types are for bundlers, and `any` under Node's rules. */
interface Library {
  encode(text: string): { readonly ids: readonly number[] };
  /** Throws for an empty list. */
  decode(
    tokens: readonly number[],
    options: { readonly skip_special_tokens: boolean; readonly clean_up_tokenization_spaces: boolean },
  ): string;
  get_vocab(): ReadonlyMap<string, number>;
}

/** The tokenizer of a parsed tokenizer.json. Throws what the library throws when it cannot be one. */
export function huggingFaceTokenizer(json: object, ends: ReadonlySet<number>): Tokenizer {
  const tokenizer: Library = new HuggingFaceTokenizer(json, {});
  let size = 0;
  let unitsPerToken = 1;
  for (const [text, token] of tokenizer.get_vocab()) {
    size = Math.max(size, token + 1);
    unitsPerToken = Math.max(unitsPerToken, text.length);
  }
  const decode = (tokens: readonly number[]): string =>
    tokens.length === 0
      ? ""
      : tokenizer.decode(tokens, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  return {
    size,
    unitsPerToken,
    ends,
    encode: (text) => tokenizer.encode(text).ids,
    decoder: (prompt) => createDecoder(decode, prompt),
  };
}

/**
 * What a token adds to the text depends on those before it (spaces between words), so a text is that of the tokens from
 * the last complete text on, at first the prompt's, less that text: as Hugging Face's text-generation-inference does it.
 */
function createDecoder(decode: (tokens: readonly number[]) => string, prompt: readonly number[]): Decoder {
  let complete = prompt;
  let pending: number[] = [];
  const added = (): string => decode([...complete, ...pending]).slice(decode(complete).length);
  return {
    push: (token) => {
      pending.push(token);
      const text = added();
      if (text.endsWith(REPLACEMENT) && pending.length < PENDING_MAX) return "";
      complete = text === "" ? [...complete, ...pending] : pending;
      pending = [];
      return text;
    },
    end: added,
  };
}
