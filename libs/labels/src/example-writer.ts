import { NUMBER_BYTES_MAX, writeDecimal, writeInteger, writeNumber, writeText } from "@millrace/contracts";
import type { ExampleRow } from "./example-row.ts";

const utf8 = new TextEncoder();
const ID = utf8.encode('{"id":');
const TIME = utf8.encode(',"time":');
const KNOWN_AT = utf8.encode(',"knownAt":');
const LABEL = utf8.encode(',"label":');
const VALUES = utf8.encode(',"values":[');
const NULL = utf8.encode("null");
const FEATURES = utf8.encode('],"features":');
const REVISION = utf8.encode(',"revision":');
const LABELLED = {
  event: utf8.encode(',"labelled":"event","vectorAcceptedAtMs":'),
  silence: utf8.encode(',"labelled":"silence","vectorAcceptedAtMs":'),
};
const LABEL_ACCEPTED = utf8.encode(',"labelAcceptedAtMs":');
const COMMA = 0x2c;
const CLOSING_BRACE = 0x7d;

/** Names and punctuation, and room for the numbers that are no values. */
const FIXED_BYTES = 512;
/** Each byte of an id becomes at most six characters in JSON (`\u0000`). */
const ESCAPED = 6;
/** `writeDecimal` knows so many places; what is rounded to more is written like "full", which is the same text. */
const PLACES_MAX = 9;

/**
 * Writes examples as records of `LINE.examples`, the JSON of `toExample`, into one buffer that is used again: the bytes
 * that `write` answers are valid until its next call. -0 is written as 0.
 */
export class ExampleWriter {
  readonly #features: Uint8Array;
  readonly #places: Int32Array;
  #bytes = new Uint8Array(0);

  /** `decimals` [width]: the places that each value is kept to, or "full". */
  constructor(features: string, decimals: readonly (number | "full")[]) {
    this.#features = utf8.encode(JSON.stringify(features));
    this.#places = Int32Array.from(decimals, (places) =>
      places === "full" || places > PLACES_MAX ? -1 : places,
    );
  }

  write(example: ExampleRow): Uint8Array {
    const { id, values } = example;
    const needed =
      FIXED_BYTES +
      ESCAPED * (id.end - id.start) +
      this.#features.length +
      values.length * (NUMBER_BYTES_MAX + 1);
    if (needed > this.#bytes.length) this.#bytes = new Uint8Array(needed);
    const bytes = this.#bytes;
    let at = copy(ID, bytes, 0);
    at = writeText(bytes, at, id);
    at = writeInteger(bytes, copy(TIME, bytes, at), example.time);
    at = writeInteger(bytes, copy(KNOWN_AT, bytes, at), example.knownAt);
    at = writeInteger(bytes, copy(LABEL, bytes, at), example.label);
    at = this.#writeValues(bytes, copy(VALUES, bytes, at), values);
    at = copy(this.#features, bytes, copy(FEATURES, bytes, at));
    at = writeInteger(bytes, copy(REVISION, bytes, at), example.revision);
    at = writeInteger(bytes, copy(LABELLED[example.labelled], bytes, at), example.vectorAcceptedAtMs);
    at = writeInteger(bytes, copy(LABEL_ACCEPTED, bytes, at), example.labelAcceptedAtMs);
    bytes[at++] = CLOSING_BRACE;
    return bytes.subarray(0, at);
  }

  #writeValues(bytes: Uint8Array, from: number, values: Float64Array): number {
    let at = from;
    for (let i = 0; i < values.length; i++) {
      if (i > 0) bytes[at++] = COMMA;
      const value = values[i] as number;
      const places = this.#places[i] as number;
      if (Number.isNaN(value)) at = copy(NULL, bytes, at);
      else at = places < 0 ? writeNumber(bytes, at, value) : writeDecimal(bytes, at, value, places);
    }
    return at;
  }
}

/** Short texts: a loop is faster than `set`, which makes a view. */
function copy(from: Uint8Array, into: Uint8Array, at: number): number {
  for (let i = 0; i < from.length; i++) into[at + i] = from[i] as number;
  return at + from.length;
}
