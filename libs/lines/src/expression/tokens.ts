import { ExpressionError } from "./expression-error.ts";

/** The smallest parts of an expression; `at` is the place of the first character, from 0. */
export type Token =
  | { readonly kind: "number"; readonly at: number; readonly value: number }
  | { readonly kind: "text"; readonly at: number; readonly value: string }
  | { readonly kind: "name"; readonly at: number; readonly value: string }
  | { readonly kind: "sign"; readonly at: number; readonly value: Sign }
  | { readonly kind: "end"; readonly at: number };

/** Longer signs first: `<=` is not `<` and `=`. */
const SIGNS = [
  "<=",
  ">=",
  "==",
  "!=",
  "&&",
  "||",
  "<",
  ">",
  "+",
  "-",
  "*",
  "/",
  "%",
  "!",
  "?",
  ":",
  "(",
  ")",
  ",",
] as const;
export type Sign = (typeof SIGNS)[number];

const SPACE = /\s+/y;
const NUMBER = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
/** Texts have no escapes: one that holds a quote is written in the other kind of quotes. */
const TEXT = /"([^"]*)"|'([^']*)'/y;

/** What people write who know other languages. */
const HINTS: Readonly<Record<string, string>> = {
  "=": "Write == to compare.",
  "&": "Write && for and.",
  "|": "Write || for or.",
  "^": "Write pow(a, b) for a power.",
  '"': "End the text with a quote of the same kind.",
  "'": "End the text with a quote of the same kind.",
};

/** The tokens of an expression, `end` last. Throws an ExpressionError at the first character that starts none. */
export function tokenise(text: string): readonly Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    return pattern.exec(text);
  };
  while (at < text.length) {
    const start = at;
    const take = (token: Token, length: number): void => {
      tokens.push(token);
      at += length;
    };
    const space = match(SPACE);
    if (space !== null) {
      at += space[0].length;
      continue;
    }
    const number = match(NUMBER);
    if (number !== null) {
      const value = Number(number[0]);
      if (!Number.isFinite(value)) {
        throw new ExpressionError(start, `${number[0]} is too large`, "Write a number below 1.8e308.");
      }
      take({ kind: "number", at: start, value }, number[0].length);
      continue;
    }
    const name = match(NAME);
    if (name !== null) {
      take({ kind: "name", at: start, value: name[0] }, name[0].length);
      continue;
    }
    const quoted = match(TEXT);
    if (quoted !== null) {
      take({ kind: "text", at: start, value: quoted[1] ?? quoted[2] ?? "" }, quoted[0].length);
      continue;
    }
    const sign = SIGNS.find((one) => text.startsWith(one, start));
    if (sign === undefined) {
      const found = String.fromCodePoint(text.codePointAt(start) as number);
      throw new ExpressionError(
        start,
        `${JSON.stringify(found)} starts nothing that an expression can hold`,
        HINTS[found] ?? "Remove it.",
      );
    }
    take({ kind: "sign", at: start, value: sign }, sign.length);
  }
  tokens.push({ kind: "end", at: text.length });
  return tokens;
}

/** A token as messages name it. */
export function describeToken(token: Token): string {
  return token.kind === "end" ? "the end" : JSON.stringify(String(token.value));
}
