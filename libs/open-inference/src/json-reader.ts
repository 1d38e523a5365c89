import { ProtocolError, quoted } from "./error.ts";
import { textAt } from "./wire-reader.ts";

const QUOTE = 0x22;
const COMMA = 0x2c;
const PLUS = 0x2b;
const MINUS = 0x2d;
const DOT = 0x2e;
const LOWER_E = 0x65;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const BRACKET = 0x5b;
const BRACKET_CLOSES = 0x5d;
const BACKSLASH = 0x5c;
const BRACE = 0x7b;
const BRACE_CLOSES = 0x7d;

/** Of values that are skipped. Those that are read are as deep as the reader's caller goes. */
const DEPTH_MAX = 32;
/** So many digits are exact in a double. */
const EXACT_DIGITS = 15;
/** The powers of ten that are exact in a double. */
const POWERS = Array.from({ length: 23 }, (_, i) => 10 ** i);
/** More than the relative error of up to 22 digits read into a double, 2^-53 for each beyond the 15th and its place. */
const NEAR = 2 ** -48;
const INTEGER_CHARACTERS_MAX = 24;

const LITERALS = {
  true: [0x74, 0x72, 0x75, 0x65],
  false: [0x66, 0x61, 0x6c, 0x73, 0x65],
  null: [0x6e, 0x75, 0x6c, 0x6c],
  NaN: [0x4e, 0x61, 0x4e],
  Infinity: [0x49, 0x6e, 0x66, 0x69, 0x6e, 0x69, 0x74, 0x79],
} as const;

/**
 * Reads JSON (RFC 8259) in place, one value after the other as the caller asks for them: nothing is built that nobody
 * wants, a number goes from its digits to its array, and no key becomes a property. Throws a ProtocolError with the
 * position of what is no JSON.
 */
export class JsonReader {
  readonly #bytes: Uint8Array;
  /** Where the JSON ends. */
  readonly end: number;
  /** Where the next byte is read. */
  at = 0;
  /** Where the string or number that was read last starts. */
  #start = 0;
  /** Of that number: its digits as one integer, exact up to 15 of them, how many they are, and how many are decimals. */
  #mantissa = 0;
  #digits = 0;
  #places = 0;
  #isNegative = false;

  /** The JSON is bytes [0, end). */
  constructor(bytes: Uint8Array, end: number) {
    this.#bytes = bytes;
    this.end = end;
  }

  /** First byte of the next token; -1 at the end. */
  peek(): number {
    const bytes = this.#bytes;
    while (this.at < this.end) {
      const byte = bytes[this.at] as number;
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
      this.at++;
    }
    return -1;
  }

  /** Throws when something follows. */
  close(): void {
    if (this.peek() !== -1) throw this.#wrong("the end");
  }

  /** Reads an object; `read` reads the value of each key. A key whose value is null is left out, as if it were not there. */
  object(keyBytesMax: number, read: (key: string) => void): void {
    this.#take(BRACE, "an object");
    if (this.#isTaken(BRACE_CLOSES)) return;
    do {
      const key = this.text("key", keyBytesMax);
      this.#take(COLON, "a colon");
      if (!this.isLiteral("null")) read(key);
    } while (this.#isTaken(COMMA));
    this.#take(BRACE_CLOSES, "a comma or a closing brace");
  }

  /** Reads an array; `read` reads each element. Answers how many there are. */
  array(read: (index: number) => void): number {
    this.#take(BRACKET, "an array");
    if (this.#isTaken(BRACKET_CLOSES)) return 0;
    let length = 0;
    do read(length++);
    while (this.#isTaken(COMMA));
    this.#take(BRACKET_CLOSES, "a comma or a closing bracket");
    return length;
  }

  /** Goes over an array without looking at what is in it, for it to be read later. */
  pass(): void {
    if (this.peek() !== BRACKET) throw this.#wrong("an array");
    const bytes = this.#bytes;
    let depth = 0;
    while (this.at < this.end) {
      const byte = bytes[this.at] as number;
      if (byte === QUOTE) {
        this.#string();
        continue;
      }
      this.at++;
      if (byte === BRACKET) depth++;
      else if (byte === BRACKET_CLOSES && --depth === 0) return;
    }
    throw this.#wrong("a closing bracket");
  }

  /** Whether an array of arrays comes next. */
  isNested(): boolean {
    if (this.peek() !== BRACKET) return false;
    const start = this.at++;
    const isNested = this.peek() === BRACKET;
    this.at = start;
    return isNested;
  }

  /** A string. `field` names it when it is too long. */
  text(field: string, bytesMax: number): string {
    const isEscaped = this.#string();
    const start = this.#start + 1;
    const end = this.at - 1;
    if (end - start > bytesMax) {
      throw new ProtocolError(field, `${end - start} bytes, expected at most ${bytesMax}`);
    }
    const text = textAt(this.#bytes, start, end, field);
    return isEscaped ? this.#unescape(text) : text;
  }

  /** The bytes of a string, as they came where it has no escapes. */
  textBytes(): Uint8Array {
    const isEscaped = this.#string();
    const bytes = this.#bytes.subarray(this.#start + 1, this.at - 1);
    if (!isEscaped) return bytes;
    return new TextEncoder().encode(this.#unescape(textAt(bytes, 0, bytes.length, "JSON")));
  }

  isLiteral(literal: keyof typeof LITERALS): boolean {
    this.peek();
    const codes = LITERALS[literal];
    if (this.at + codes.length > this.end) return false;
    for (let i = 0; i < codes.length; i++) if (this.#bytes[this.at + i] !== codes[i]) return false;
    this.at += codes.length;
    return true;
  }

  boolean(): boolean {
    if (this.isLiteral("true")) return true;
    if (this.isLiteral("false")) return false;
    throw this.#wrong("true or false");
  }

  /** A number, as `JSON.parse` reads it. */
  number(): number {
    this.#number();
    if (this.#digits > EXACT_DIGITS) return Number(this.#token());
    // Both are exact, so their quotient is rounded once (Clinger, PLDI 1990).
    const value = this.#mantissa / (POWERS[this.#places] as number);
    return this.#isNegative ? -value : value;
  }

  /**
   * A number, null for NaN, or what is no JSON but what Triton and its clients write: NaN, Infinity, -Infinity. With
   * `isSingle` any number that rounds to the same binary32.
   */
  float(isSingle: boolean): number {
    const first = this.peek();
    const next = this.at + 1 < this.end ? (this.#bytes[this.at + 1] as number) : -1;
    if (isDigit(first) || (first === MINUS && isDigit(next))) {
      return isSingle ? this.#single() : this.number();
    }
    if (this.isLiteral("null") || this.isLiteral("NaN")) return Number.NaN;
    if (this.isLiteral("Infinity")) return Number.POSITIVE_INFINITY;
    if (first === MINUS && next === LITERALS.Infinity[0]) this.at++;
    if (first === MINUS && this.isLiteral("Infinity")) return Number.NEGATIVE_INFINITY;
    throw this.#wrong("a number or null");
  }

  /**
   * Floats are often written with 17 digits, more than a double holds exactly. Their quotient is then near the number,
   * and where all numbers so near round to one binary32, it is that one.
   */
  #single(): number {
    this.#number();
    const { length } = POWERS;
    const value = this.#digits < length ? this.#mantissa / (POWERS[this.#places] as number) : Number.NaN;
    const isClear = Math.fround(value * (1 - NEAR)) === Math.fround(value * (1 + NEAR));
    if (this.#digits > EXACT_DIGITS && !isClear) return Number(this.#token());
    return this.#isNegative ? -value : value;
  }

  /** A whole number of any size, in quotes or not. With a fraction or an exponent where a double has it exactly. */
  integer(field: string): bigint {
    if (this.peek() === QUOTE) {
      const text = this.text(field, INTEGER_CHARACTERS_MAX);
      if (/^-?\d+$/.test(text)) return BigInt(text);
      throw new ProtocolError(field, `${quoted(text)}, expected a whole number`);
    }
    return this.#whole(field, this.number());
  }

  /** The number that was just read, as `value`. */
  #whole(field: string, value: number): bigint {
    if (Number.isSafeInteger(value)) return BigInt(value);
    const token = this.#token();
    if (token.length <= INTEGER_CHARACTERS_MAX && /^-?\d+$/.test(token)) return BigInt(token);
    throw new ProtocolError(field, `${quoted(token)}, expected a whole number`);
  }

  /** Text, a boolean or a number, which is a bigint where it is whole. */
  scalar(field: string, bytesMax: number): string | boolean | bigint | number {
    const first = this.peek();
    if (first === QUOTE) return this.text(field, bytesMax);
    if (this.isLiteral("true")) return true;
    if (this.isLiteral("false")) return false;
    if (first !== MINUS && !isDigit(first))
      throw new ProtocolError(field, "expected text, a number or a boolean");
    const value = this.number();
    return Number.isSafeInteger(value) || /^-?\d+$/.test(this.#token()) ? this.#whole(field, value) : value;
  }

  /** Reads a value and forgets it. */
  skip(): void {
    this.#skip(0);
  }

  #skip(depth: number): void {
    if (depth > DEPTH_MAX) throw new ProtocolError("JSON", `nested more than ${DEPTH_MAX} deep`);
    switch (this.peek()) {
      case BRACE:
        this.object(Number.POSITIVE_INFINITY, () => this.#skip(depth + 1));
        return;
      case BRACKET:
        this.array(() => this.#skip(depth + 1));
        return;
      case QUOTE:
        this.#string();
        return;
      default:
        if (!this.isLiteral("true") && !this.isLiteral("false")) this.float(false);
    }
  }

  /** Reads over a number. */
  #number(): void {
    const bytes = this.#bytes;
    const first = this.peek();
    let at = this.at;
    this.#start = at;
    this.#isNegative = first === MINUS;
    if (this.#isNegative) at++;
    const digitsAt = at;
    let pointAt = -1;
    let mantissa = 0;
    for (; at < this.end; at++) {
      const byte = bytes[at] as number;
      if (isDigit(byte)) mantissa = mantissa * 10 + (byte - ZERO);
      else if (byte === DOT && pointAt < 0 && at > digitsAt) pointAt = at;
      else break;
    }
    this.at = at;
    if (at === digitsAt || at - 1 === pointAt) throw this.#wrong("a digit");
    const wholeDigits = (pointAt < 0 ? at : pointAt) - digitsAt;
    if (wholeDigits > 1 && bytes[digitsAt] === ZERO) throw this.#wrong("no zero before other digits");
    this.#mantissa = mantissa;
    this.#places = pointAt < 0 ? 0 : at - 1 - pointAt;
    this.#digits = wholeDigits + this.#places;
    if (at < this.end && ((bytes[at] as number) | 0x20) === LOWER_E) this.#exponent();
  }

  /** Reads over an exponent; `number` then leaves the digits to the engine. */
  #exponent(): void {
    this.#digits = Number.POSITIVE_INFINITY;
    this.at++;
    const sign = this.at < this.end ? this.#bytes[this.at] : -1;
    if (sign === MINUS || sign === PLUS) this.at++;
    const start = this.at;
    while (this.at < this.end && isDigit(this.#bytes[this.at] as number)) this.at++;
    if (this.at === start) throw this.#wrong("a digit");
  }

  /** The text of the token that was read last. */
  #token(): string {
    return textAt(this.#bytes, this.#start, this.at, "JSON");
  }

  /** Reads over a string; whether it has escapes. */
  #string(): boolean {
    const bytes = this.#bytes;
    if (this.peek() !== QUOTE) throw this.#wrong("text in quotes");
    this.#start = this.at++;
    let isEscaped = false;
    for (; this.at < this.end; this.at++) {
      const byte = bytes[this.at] as number;
      if (byte === QUOTE) {
        this.at++;
        return isEscaped;
      }
      if (byte < 0x20) throw this.#wrong("no control character in text");
      if (byte === BACKSLASH) {
        isEscaped = true;
        this.at++;
      }
    }
    throw this.#wrong("a closing quote");
  }

  #unescape(text: string): string {
    try {
      const plain = JSON.parse(`"${text}"`) as string;
      if (plain.isWellFormed()) return plain;
    } catch {
      // An escape that is none.
    }
    throw new ProtocolError("JSON", `text before byte ${this.at} has an escape that is no character`);
  }

  #take(byte: number, expected: string): void {
    if (!this.#isTaken(byte)) throw this.#wrong(expected);
  }

  #isTaken(byte: number): boolean {
    if (this.peek() !== byte) return false;
    this.at++;
    return true;
  }

  #wrong(expected: string): ProtocolError {
    return new ProtocolError("JSON", `wrong at byte ${this.at} of ${this.end}, expected ${expected}`);
  }
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}
