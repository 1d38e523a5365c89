import type { FieldDefinition } from "@millrace/lines";
import { hashBytes } from "./memory/hash-bytes.ts";

/** Codes of undeclared values are below this, so that a model's FP32 inputs hold them exactly. */
const CODES = 2 ** 24;

/**
 * Makes the function that gives the number of a text or category, `bytes[start..end)`: its place (from 0) in the
 * `values` that the field declares, else 24 bits of its hash. The same text has the same code in every partition and
 * for ever; of 1,000 undeclared categories two have one code in common with a probability of 3 %.
 */
export function categoryCoder(
  field: FieldDefinition,
): (bytes: Uint8Array, start: number, end: number) => number {
  const values = field.type === "category" ? field.values : undefined;
  if (values === undefined) return (bytes, start, end) => hashBytes(bytes, start, end) & (CODES - 1);
  const texts = values.map((value) => new TextEncoder().encode(value));
  const byHash = Map.groupBy(texts.keys(), (i) => hash(texts[i] as Uint8Array));
  return (bytes, start, end) => {
    const candidates = byHash.get(hashBytes(bytes, start, end));
    return candidates?.find((i) => isText(texts[i] as Uint8Array, bytes, start, end)) ?? Number.NaN;
  };
}

function hash(text: Uint8Array): number {
  return hashBytes(text, 0, text.length);
}

function isText(text: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (text.length !== end - start) return false;
  return text.every((byte, i) => byte === bytes[start + i]);
}
