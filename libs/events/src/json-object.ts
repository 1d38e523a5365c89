import { describeValue, type Rejection, rejection } from "./reasons.ts";

/** A JSON object as `JSON.parse` gives it: own properties only, also for a key such as `__proto__`. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Deepest nesting of objects and lists. Undeclared fields are dropped, so that events need no depth. */
const DEPTH_MAX = 32;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Reads bytes as one JSON object. `what` names them in a refusal, for example `the value`. */
export function readJsonObject(bytes: Uint8Array, what: string): JsonObject | Rejection {
  const text = readText(bytes);
  if (text === null) return rejection("not-utf8", `${what} is not UTF-8`);
  if (isTooDeep(bytes)) return rejection("too-deep", `${what} is nested deeper than ${DEPTH_MAX}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return rejection("not-json", `${what} is not JSON`);
  }
  return isJsonObject(value) ? value : rejection("not-an-object", `${what} is ${describeValue(value)}`);
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Bytes as text; null when they are not UTF-8. A byte order mark is dropped. */
export function readText(bytes: Uint8Array): string | null {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Opening brackets are counted first, wherever they stand: hardly any event has more than the limit, and only
 * then is it worth knowing which ones stand in strings.
 */
function isTooDeep(bytes: Uint8Array): boolean {
  let opening = 0;
  for (let i = 0; i < bytes.length; i++) if (isOpening(bytes[i] as number)) opening++;
  if (opening <= DEPTH_MAX) return false;
  let depth = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    if (inString) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (isOpening(byte)) {
      if (++depth > DEPTH_MAX) return true;
    } else if (isClosing(byte)) depth--;
  }
  return false;
}

/** `{` is 0x7b and `[` is 0x5b; `}` is 0x7d and `]` is 0x5d: they differ in one bit. */
const isOpening = (byte: number): boolean => (byte | 0x20) === 0x7b;
const isClosing = (byte: number): boolean => (byte | 0x20) === 0x7d;
