/** Text to tokens and back. */
export interface Tokenizer {
  /** Tokens from 0 up to here have a text, or end it; others are never chosen. */
  readonly size: number;
  /** No token stands for more UTF-16 units than this. */
  readonly unitsPerToken: number;
  /** Tokens after which there is no more text. */
  readonly ends: ReadonlySet<number>;
  encode(text: string): readonly number[];
  /** The text of tokens that come one after another behind a prompt's. */
  decoder(prompt: readonly number[]): Decoder;
}

export interface Decoder {
  /** The text that is complete with this token; "" while it ends in a part of a character. */
  push(token: number): string;
  /** What was held back. No more tokens come. */
  end(): string;
}

/** U+FFFD stands for bytes that are no character, or not yet. */
export const REPLACEMENT = "\ufffd";
const END_OF_TEXT = 256;

/** Tokens 0 to 255 are the bytes of UTF-8, 256 is the end of the text. */
export const BYTES: Tokenizer = {
  size: END_OF_TEXT + 1,
  unitsPerToken: 1,
  ends: new Set([END_OF_TEXT]),
  encode: (text) => [...new TextEncoder().encode(text)],
  decoder: () => {
    const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
    return {
      push: (token) => utf8.decode(Uint8Array.of(token), { stream: true }),
      end: () => utf8.decode(),
    };
  },
};
