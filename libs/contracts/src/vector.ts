import { fromBinary } from "@bufbuild/protobuf";
import { VectorSchema } from "./gen/millrace/feature/v1/vector_pb.js";
import type { FeatureVector } from "./messages.ts";
import { NUMBER_BYTES_MAX, writeDecimal, writeDouble, writeInteger } from "./number-text.ts";

/** How the vectors of a line are written. One entry of `names` and `decimals` per value, in model order. */
export interface VectorShape {
  readonly names: readonly string[];
  /** Places that each value is kept to (0..15) or "full". */
  readonly decimals: readonly (number | "full")[];
  /** Digest of the feature definition, 64 hex digits. */
  readonly digest: string;
  readonly format: "json" | "binary";
}

/** Bytes of an event's id, in place. */
export interface IdBytes {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

const utf8 = new TextEncoder();
/** An id may begin with what looks like a byte order mark. */
const text = new TextDecoder("utf-8", { ignoreBOM: true });
/** An id that is longer grows the buffer. */
const ID_BYTES = 256;
/** Each byte of an id becomes at most six characters in JSON (`\u0000`). */
const ESCAPED = 6;
/** writeDecimal knows so many places; more are written like "full", which for a rounded value is the same text. */
const PLACES_MAX = 9;

/**
 * Writes feature vectors as records of `LINE.features`, into one buffer that is used again: the bytes that `write`
 * answers are valid until its next call. NaN is written as null.
 */
export class VectorWriter {
  readonly #shape: VectorShape;
  readonly #names: readonly Words[];
  readonly #places: Int32Array;
  /** What follows the values. */
  readonly #digest: Words;
  readonly #fixedBytes: number;
  #bytes: Uint8Array;
  #view: DataView;

  constructor(shape: VectorShape) {
    this.#shape = shape;
    this.#names = shape.names.map((name, i) =>
      wordsOf(utf8.encode(`${i === 0 ? "" : ","}${JSON.stringify(name)}:`)),
    );
    this.#places = Int32Array.from(shape.decimals, (places) =>
      places === "full" || places > PLACES_MAX ? -1 : places,
    );
    this.#digest = wordsOf(
      shape.format === "json"
        ? utf8.encode(`},"features":${JSON.stringify(shape.digest)}}`)
        : Uint8Array.from(shape.digest.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)),
    );
    const names = this.#names.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#fixedBytes = names + shape.names.length * NUMBER_BYTES_MAX + this.#digest.bytes + 128;
    this.#bytes = new Uint8Array(this.#fixedBytes + ESCAPED * ID_BYTES);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** `values` [names], NaN where unknown; -0 is written as 0. */
  write(id: IdBytes, timeMs: number, values: Float64Array): Uint8Array {
    const needed = this.#fixedBytes + ESCAPED * (id.end - id.start);
    if (needed > this.#bytes.length) {
      this.#bytes = new Uint8Array(needed);
      this.#view = new DataView(this.#bytes.buffer);
    }
    const end =
      this.#shape.format === "json" ? this.#json(id, timeMs, values) : this.#binary(id, timeMs, values);
    return this.#bytes.subarray(0, end);
  }

  #json(id: IdBytes, timeMs: number, values: Float64Array): number {
    const bytes = this.#bytes;
    const view = this.#view;
    let at = writeWords(ID_OPENS, view, 0);
    at = writeText(bytes, at, id);
    at = writeWords(TIME_OPENS, view, at);
    at = writeInteger(bytes, at, timeMs);
    at = writeWords(VALUES_OPEN, view, at);
    for (let i = 0; i < values.length; i++) {
      at = writeWords(this.#names[i] as Words, view, at);
      const value = values[i] as number;
      const places = this.#places[i] as number;
      if (value !== value) at = writeWords(NULL, view, at);
      else at = places < 0 ? writeDouble(bytes, at, value) : writeDecimal(bytes, at, value, places);
    }
    return writeWords(this.#digest, view, at);
  }

  /** `millrace.feature.v1.Vector`: fields 1 to 4 in order (https://protobuf.dev/programming-guides/encoding/). */
  #binary({ bytes: idBytes, start, end }: IdBytes, timeMs: number, values: Float64Array): number {
    const bytes = this.#bytes;
    bytes[0] = 0x0a;
    let at = writeVarint(bytes, 1, end - start);
    bytes.set(idBytes.subarray(start, end), at);
    at += end - start;
    bytes[at++] = 0x10;
    at = writeVarint(bytes, at, timeMs);
    bytes[at++] = 0x1a;
    at = writeVarint(bytes, at, this.#digest.bytes);
    at = writeWords(this.#digest, this.#view, at);
    bytes[at++] = 0x22;
    at = writeVarint(bytes, at, values.length * 8);
    for (let i = 0; i < values.length; i++, at += 8)
      this.#view.setFloat64(at, (values[i] as number) + 0, true);
    return at;
  }
}

/** Reads a record of `LINE.features` in either form; null when it is no feature vector. */
export function readVector(bytes: Uint8Array | null): FeatureVector | null {
  if (bytes === null || bytes.length === 0) return null;
  try {
    return bytes[0] === OPENING_BRACE ? readJson(bytes) : readBinary(bytes);
  } catch {
    return null;
  }
}

function readJson(bytes: Uint8Array): FeatureVector | null {
  const vector = JSON.parse(text.decode(bytes)) as {
    id?: unknown;
    time?: unknown;
    values?: Record<string, unknown>;
    features?: unknown;
  };
  const values = Object.values(vector.values ?? {});
  const isVector =
    typeof vector.id === "string" &&
    Number.isSafeInteger(vector.time) &&
    typeof vector.features === "string" &&
    values.length > 0 &&
    values.every((value) => value === null || typeof value === "number");
  if (!isVector) return null;
  return {
    id: vector.id as string,
    time: vector.time as number,
    values: values as (number | null)[],
    features: vector.features as string,
  };
}

function readBinary(bytes: Uint8Array): FeatureVector | null {
  const { id, timeMs, featureDigest, values } = fromBinary(VectorSchema, bytes);
  if (id === "" || values.length === 0 || featureDigest.length !== 32) return null;
  return {
    id,
    time: Number(timeMs),
    values: values.map((value) => (Number.isNaN(value) ? null : value)),
    features: Array.from(featureDigest, (byte) => byte.toString(16).padStart(2, "0")).join(""),
  };
}

const OPENING_BRACE = 0x7b;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ID_OPENS = wordsOf(utf8.encode('{"id":'));
const TIME_OPENS = wordsOf(utf8.encode(',"time":'));
const VALUES_OPEN = wordsOf(utf8.encode(',"values":{'));
const NULL = wordsOf(utf8.encode("null"));

/** Bytes that are written often, four at a time: little-endian words, the last one filled up with zeros. */
interface Words {
  readonly words: Int32Array;
  readonly bytes: number;
}

function wordsOf(bytes: Uint8Array): Words {
  const words = new Int32Array(Math.ceil(bytes.length / 4));
  bytes.forEach((byte, i) => {
    words[i >> 2] = (words[i >> 2] as number) | (byte << (8 * (i & 3)));
  });
  return { words, bytes: bytes.length };
}

/** Writes up to three bytes more than the text has; answers where the text ends. */
function writeWords({ words, bytes }: Words, into: DataView, at: number): number {
  for (let i = 0; i < words.length; i++) into.setInt32(at + 4 * i, words[i] as number, true);
  return at + bytes;
}

/** Short texts: a loop is faster than `set`, which makes a view. */
function copy(from: Uint8Array, into: Uint8Array, at: number): number {
  for (let i = 0; i < from.length; i++) into[at + i] = from[i] as number;
  return at + from.length;
}

/** Writes text as a JSON string, quotes included. */
export function writeText(into: Uint8Array, at: number, { bytes, start, end }: IdBytes): number {
  let to = at;
  into[to++] = QUOTE;
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number;
    if (byte < 0x20 || byte === QUOTE || byte === BACKSLASH) {
      return copy(utf8.encode(JSON.stringify(text.decode(bytes.subarray(start, end)))), into, at);
    }
    into[to++] = byte;
  }
  into[to++] = QUOTE;
  return to;
}

/** A whole number of 0..2^53 as a base 128 varint. */
function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let to = at;
  let rest = value;
  while (rest >= 0x80) {
    bytes[to++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  bytes[to++] = rest;
  return to;
}
