/**
 * Steps over JSON (RFC 8259) in UTF-8 without making anything of it. Each function takes where a token begins and
 * answers where it ends, or -1 when what stands there is not plain: broken, escaped, nested too deeply, not UTF-8.
 * What they step over, `JSON.parse` accepts. They read `bytes` up to, not including, `end`, and a byte or two beyond:
 * whoever calls them checks that the last token ended within.
 */

export const QUOTE = 0x22;
export const COMMA = 0x2c;
export const MINUS = 0x2d;
export const POINT = 0x2e;
export const ZERO = 0x30;
export const NINE = 0x39;
export const COLON = 0x3a;
export const OPEN = 0x7b;
export const CLOSE = 0x7d;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const PLUS = 0x2b;
const SPACE = 0x20;
const LOWER_E = 0x65;
/** The bit that makes an ASCII letter a small one. */
const LOWER = 0x20;

/** Lists and objects within each other that are stepped over; the slow reader allows more. */
const DEPTH_MAX = 8;

export function skipBlank(bytes: Uint8Array, at: number): number {
  let to = at;
  for (
    let byte = bytes[to];
    byte === SPACE || byte === 0x0a || byte === 0x0d || byte === 0x09;
    byte = bytes[to]
  )
    to++;
  return to;
}

/** By byte: 1 where it stands for itself in a text and is ASCII. */
const PLAIN: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= SPACE && byte < 0x80 && byte !== QUOTE && byte !== BACKSLASH ? 1 : 0,
);

/** `at` is behind the opening quote; answers where the closing one is. */
export function stringEnd(bytes: Uint8Array, at: number, end: number): number {
  let to = at;
  for (;;) {
    while (PLAIN[bytes[to] as number] === 1) to++;
    if (to >= end) return -1;
    const byte = bytes[to] as number;
    if (byte === QUOTE) return to;
    const length = byte < 0x80 ? 0 : sequenceLength(bytes, to);
    if (length === 0) return -1;
    to += length;
  }
}

/** Bytes of the character beyond ASCII that begins at `at`; 0 when it is not UTF-8 (Unicode 16, table 3-7). */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] as number;
  const second = bytes[at + 1] as number;
  if (first < 0xc2 || first > 0xf4 || !isContinuation(second)) return 0;
  if (first < 0xe0) return 2;
  if (!isContinuation(bytes[at + 2] as number)) return 0;
  if (first < 0xf0) {
    const isOverlong = first === 0xe0 && second < 0xa0;
    const isSurrogate = first === 0xed && second > 0x9f;
    return isOverlong || isSurrogate ? 0 : 3;
  }
  if (!isContinuation(bytes[at + 3] as number)) return 0;
  const isOverlong = first === 0xf0 && second < 0x90;
  const isBeyond = first === 0xf4 && second > 0x8f;
  return isOverlong || isBeyond ? 0 : 4;
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

/** UTF-16 code units of UTF-8 text: what JavaScript calls its length. */
export function textLength(bytes: Uint8Array, from: number, until: number): number {
  let units = 0;
  for (let i = from; i < until; i++) {
    const byte = bytes[i] as number;
    if (!isContinuation(byte)) units += byte >= 0xf0 ? 2 : 1;
  }
  return units;
}

/** Any value. */
export function skipValue(bytes: Uint8Array, at: number, end: number, depth: number = 0): number {
  switch (bytes[at]) {
    case QUOTE: {
      const closing = stringEnd(bytes, at + 1, end);
      return closing === -1 ? -1 : closing + 1;
    }
    case OPEN:
      return depth === DEPTH_MAX ? -1 : skipObject(bytes, at, end, depth + 1);
    case OPEN_LIST:
      return depth === DEPTH_MAX ? -1 : skipList(bytes, at, end, depth + 1);
    case 0x74:
      return isWord(bytes, at, TRUE) ? at + 4 : -1;
    case 0x66:
      return isWord(bytes, at, FALSE) ? at + 5 : -1;
    case 0x6e:
      return isWord(bytes, at, NULL) ? at + 4 : -1;
    default:
      return skipNumber(bytes, at);
  }
}

function skipObject(bytes: Uint8Array, at: number, end: number, depth: number): number {
  let to = skipBlank(bytes, at + 1);
  if (bytes[to] === CLOSE) return to + 1;
  for (;;) {
    if (bytes[to] !== QUOTE) return -1;
    to = stringEnd(bytes, to + 1, end);
    if (to === -1) return -1;
    to = skipBlank(bytes, to + 1);
    if (bytes[to] !== COLON) return -1;
    to = skipValue(bytes, skipBlank(bytes, to + 1), end, depth);
    if (to === -1) return -1;
    to = skipBlank(bytes, to);
    if (bytes[to] === CLOSE) return to + 1;
    if (bytes[to] !== COMMA) return -1;
    to = skipBlank(bytes, to + 1);
  }
}

function skipList(bytes: Uint8Array, at: number, end: number, depth: number): number {
  let to = skipBlank(bytes, at + 1);
  if (bytes[to] === CLOSE_LIST) return to + 1;
  for (;;) {
    to = skipValue(bytes, to, end, depth);
    if (to === -1) return -1;
    to = skipBlank(bytes, to);
    if (bytes[to] === CLOSE_LIST) return to + 1;
    if (bytes[to] !== COMMA) return -1;
    to = skipBlank(bytes, to + 1);
  }
}

function skipNumber(bytes: Uint8Array, at: number): number {
  let to = bytes[at] === MINUS ? at + 1 : at;
  if (bytes[to] === ZERO) to++;
  else if ((to = skipDigits(bytes, to)) === -1) return -1;
  if (bytes[to] === POINT && (to = skipDigits(bytes, to + 1)) === -1) return -1;
  if (((bytes[to] as number) | LOWER) !== LOWER_E) return to;
  const sign = bytes[to + 1];
  return skipDigits(bytes, sign === PLUS || sign === MINUS ? to + 2 : to + 1);
}

/** At least one. */
function skipDigits(bytes: Uint8Array, at: number): number {
  let to = at;
  while ((bytes[to] as number) >= ZERO && (bytes[to] as number) <= NINE) to++;
  return to === at ? -1 : to;
}

const word = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));
export const TRUE: Uint8Array = word("true");
export const FALSE: Uint8Array = word("false");
export const NULL: Uint8Array = word("null");

export function isWord(bytes: Uint8Array, at: number, expected: Uint8Array): boolean {
  for (let i = 0; i < expected.length; i++) if (bytes[at + i] !== expected[i]) return false;
  return true;
}
