/** How a rejected record is corrected before it is sent again. Pure: bytes in, bytes or a reason out. */

export interface Correction {
  /** Path (dots between names) to the new JSON value. */
  readonly set: ReadonlyMap<string, unknown>;
  /** Paths to remove. */
  readonly drop: readonly string[];
  /** Takes the place of the whole value; null: the rejected value is corrected. */
  readonly value: Uint8Array | null;
}

export type Corrected =
  | { readonly ok: true; readonly value: Uint8Array }
  | { readonly ok: false; readonly why: string };

/**
 * Reads `field=value` as JSON where the value is JSON (`3`, `true`, `"3"`, `null`, `{}`), else as text. Throws a
 * RangeError when there is no `=` or no field.
 */
export function parseAssignment(text: string): readonly [path: string, value: unknown] {
  const at = text.indexOf("=");
  if (at < 1) throw new RangeError("write field=value, for example delay=12");
  const value = text.slice(at + 1);
  try {
    return [text.slice(0, at), JSON.parse(value)];
  } catch {
    return [text.slice(0, at), value];
  }
}

/**
 * Applies a correction to the value of a rejected record. Without `set` and `drop` the bytes stay as they are. A
 * value that is no JSON object can only be replaced as a whole.
 */
export function correct(original: Uint8Array | null, correction: Correction): Corrected {
  const bytes = correction.value ?? original;
  if (bytes === null) return { ok: false, why: "the record has no value: give one with --value FILE" };
  if (correction.set.size === 0 && correction.drop.length === 0) return { ok: true, value: bytes };
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return { ok: false, why: "the value is not JSON: replace it with --value FILE" };
  }
  if (!isObject(document)) {
    return { ok: false, why: "the value is not a JSON object: replace it with --value FILE" };
  }
  for (const [path, value] of correction.set) {
    const wrong = setPath(document, path.split("."), value);
    if (wrong !== null) return { ok: false, why: `${path}: ${wrong} is not an object` };
  }
  for (const path of correction.drop) dropPath(document, path.split("."));
  return { ok: true, value: new TextEncoder().encode(JSON.stringify(document)) };
}

type Json = Record<string, unknown>;

function isObject(value: unknown): value is Json {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** Sets an own property, whatever its name. Answers the name of a part of the path that is no object. */
function setPath(document: Json, [name, ...rest]: readonly string[], value: unknown): string | null {
  if (name === undefined) return null;
  const own = (to: unknown): void => {
    Object.defineProperty(document, name, {
      value: to,
      writable: true,
      enumerable: true,
      configurable: true,
    });
  };
  if (rest.length === 0) {
    own(value);
    return null;
  }
  const inner = Object.hasOwn(document, name) ? document[name] : {};
  if (!isObject(inner)) return name;
  own(inner);
  return setPath(inner, rest, value);
}

function dropPath(document: Json, [name, ...rest]: readonly string[]): void {
  if (name === undefined || !Object.hasOwn(document, name)) return;
  const inner = document[name];
  if (rest.length === 0) delete document[name];
  else if (isObject(inner)) dropPath(inner, rest);
}
