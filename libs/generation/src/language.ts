import { ProtocolError, quoted } from "@millrace/open-inference";
import { type Form, formOf, type Signature } from "./form.ts";
import { GenerationError } from "./generation-error.ts";
import { huggingFaceTokenizer } from "./hugging-face.ts";
import { BYTES, type Tokenizer } from "./tokenizer.ts";

/** Keys of an ONNX model's `metadata_props` that say how its tokens are read. */
export const LANGUAGE_METADATA = {
  /** `bytes`, or the text of a tokenizer.json. */
  tokenizer: "millrace.tokenizer",
  /** JSON list of the tokens that end a text; with `bytes` [256] unless it is given. */
  endOfText: "millrace.end-of-text",
  /** Most tokens of prompt and text together; 2048 unless it is given. */
  contextLength: "millrace.context-length",
} as const;

const CONTEXT_LENGTH = 2_048;
const CONTEXT_LENGTH_MAX = 2 ** 20;

/** What is to be known of a model to generate with it; made once per model. */
export interface Language {
  readonly form: Form;
  readonly tokenizer: Tokenizer;
  readonly contextLength: number;
}

/** Reads a model's tensors and metadata. A tokenizer.json of some MB takes some 100 ms. Throws a GenerationError. */
export function languageOf(signature: Signature, metadata: ReadonlyMap<string, string>): Language {
  const form = formOf(signature);
  const tokenizer = tokenizerOf(metadata);
  const { vocabulary } = form;
  if (vocabulary !== -1 && vocabulary < tokenizer.size) {
    const what = `${tokenizer.size} tokens for a model of ${vocabulary} logits, expected no more than those`;
    throw new GenerationError(LANGUAGE_METADATA.tokenizer, what);
  }
  return { form, tokenizer, contextLength: contextLengthOf(metadata) };
}

/**
 * The tokens of a prompt, with room behind them for one more. Throws a ProtocolError, for a text that is far too long
 * before it is read.
 */
export function promptTokens({ tokenizer, contextLength }: Language, prompt: string): readonly number[] {
  const most = contextLength - 1;
  const tooLong = (came: string): ProtocolError => {
    const what = `${came}, expected at most ${most} tokens: the model's context is ${contextLength}`;
    return new ProtocolError("text_input", what);
  };
  const unitsMax = most * tokenizer.unitsPerToken;
  if (prompt.length > unitsMax) throw tooLong(`${prompt.length} characters`);
  const tokens = tokenizer.encode(prompt);
  if (tokens.length > most) throw tooLong(`${tokens.length} tokens`);
  if (tokens.length > 0) return tokens;
  throw new ProtocolError("text_input", "no tokens, expected a text to go on from");
}

function tokenizerOf(metadata: ReadonlyMap<string, string>): Tokenizer {
  const key = LANGUAGE_METADATA.tokenizer;
  const text = metadata.get(key);
  if (text === undefined) {
    throw new GenerationError(
      key,
      'missing from the metadata, expected "bytes" or the text of a tokenizer.json',
    );
  }
  const ends = endsOf(metadata);
  if (text === "bytes") return ends === null ? BYTES : { ...BYTES, ends };
  try {
    return huggingFaceTokenizer(JSON.parse(text) as object, ends ?? new Set());
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const what = `${quoted(text)}, expected "bytes" or the text of a tokenizer.json (${quoted(reason)})`;
    throw new GenerationError(key, what, { cause });
  }
}

function endsOf(metadata: ReadonlyMap<string, string>): ReadonlySet<number> | null {
  const key = LANGUAGE_METADATA.endOfText;
  const text = metadata.get(key);
  if (text === undefined) return null;
  if (/^\[\s*(?:\d{1,9}\s*(?:,\s*\d{1,9}\s*)*)?\]$/.test(text)) return new Set(JSON.parse(text) as number[]);
  throw new GenerationError(key, `${quoted(text)}, expected a JSON list of tokens, for example [50256]`);
}

function contextLengthOf(metadata: ReadonlyMap<string, string>): number {
  const key = LANGUAGE_METADATA.contextLength;
  const text = metadata.get(key);
  if (text === undefined) return CONTEXT_LENGTH;
  const length = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (length >= 2 && length <= CONTEXT_LENGTH_MAX) return length;
  throw new GenerationError(key, `${quoted(text)}, expected a whole number from 2 to ${CONTEXT_LENGTH_MAX}`);
}
