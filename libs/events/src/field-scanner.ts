import { type FieldDefinition, MINOR_UNITS_MAX, type StreamDefinition } from "@millrace/lines";
import type { EventRow } from "./event-row.ts";
import { timeOfBytes, timeOfNumber } from "./event-time.ts";
import {
  CLOSE,
  COLON,
  COMMA,
  FALSE,
  isWord,
  MINUS,
  NINE,
  NULL,
  OPEN,
  POINT,
  QUOTE,
  skipBlank,
  skipValue,
  stringEnd,
  TRUE,
  textLength,
  ZERO,
} from "./json-scan.ts";
import { TextSet } from "./text-set.ts";

/** What a scanner takes for granted. */
export interface ScanOptions {
  /** Claims may stand where bytes belong: the object is an accepted event's data, not a producer's. */
  readonly claims: boolean;
}

const NUMBER = 0;
const INTEGER = 1;
const DECIMAL = 2;
const BOOLEAN = 3;
const TIME = 4;
const TEXT = 5;
const BLOB = 6;
const KINDS: Readonly<Record<FieldDefinition["type"], number>> = {
  number: NUMBER,
  integer: INTEGER,
  decimal: DECIMAL,
  boolean: BOOLEAN,
  time: TIME,
  text: TEXT,
  category: TEXT,
  blob: BLOB,
};

/** Powers of ten that a double holds exactly. */
const POWERS: Float64Array = Float64Array.from({ length: 23 }, (_, exponent) => 10 ** exponent);
const EXACT_MAX = 2 ** 53;
const NO_FIELD = -1;
const DIGEST_LENGTH = 64;

const utf8 = new TextEncoder();

/**
 * Reads JSON objects with the declared fields of a stream straight into a row, without making a text or an object.
 * It reads what is plain and gives up on everything else (S1): what it accepts, `readField` accepts with the same
 * values (S2). Fields may come in any order; the order of the object before is guessed first.
 */
export class FieldScanner {
  readonly #width: number;
  readonly #kinds: Uint8Array;
  readonly #optional: Uint8Array;
  readonly #claims: boolean;
  readonly #min: Float64Array;
  readonly #max: Float64Array;
  readonly #scales: Uint8Array;
  /** Most UTF-16 units, and most bytes, of a text. */
  readonly #lengthMax: Float64Array;
  readonly #bytesMax: Float64Array;
  readonly #values: readonly (TextSet | null)[];
  /** The field names with their closing quote, one after the other. */
  readonly #names: Uint8Array;
  readonly #nameStarts: Int32Array;
  readonly #nameLengths: Int32Array;
  /** The field that stood at each place of the object before. */
  readonly #order: Int32Array;
  /** The number of the object in which a field was read last: a field that comes twice is noticed. */
  readonly #readIn: Float64Array;
  #object = 0;

  constructor(fields: StreamDefinition["fields"], { claims }: ScanOptions) {
    const entries = Object.entries(fields);
    const width = entries.length;
    const each = <T>(of: (field: FieldDefinition) => T): T[] => entries.map(([, field]) => of(field));
    this.#width = width;
    this.#claims = claims;
    this.#kinds = Uint8Array.from(each((field) => KINDS[field.type]));
    this.#optional = Uint8Array.from(each((field) => (field.optional === true ? 1 : 0)));
    this.#min = Float64Array.from(each((field) => boundOf(field, "min") ?? Number.NEGATIVE_INFINITY));
    this.#max = Float64Array.from(each((field) => boundOf(field, "max") ?? Number.POSITIVE_INFINITY));
    this.#scales = Uint8Array.from(each((field) => (field.type === "decimal" ? field.scale : 0)));
    this.#lengthMax = Float64Array.from(
      each((field) => boundOf(field, "maxLength") ?? Number.POSITIVE_INFINITY),
    );
    this.#bytesMax = Float64Array.from(
      each((field) => boundOf(field, "claimAbove") ?? Number.POSITIVE_INFINITY),
    );
    this.#values = each((field) =>
      field.type === "category" && field.values !== undefined ? new TextSet(field.values) : null,
    );
    const names = entries.map(([name]) => utf8.encode(`${name}"`));
    this.#nameLengths = Int32Array.from(names, (name) => name.length);
    this.#nameStarts = new Int32Array(width);
    this.#names = new Uint8Array(names.reduce((sum, name) => sum + name.length, 0));
    let at = 0;
    names.forEach((name, i) => {
      this.#nameStarts[i] = at;
      this.#names.set(name, at);
      at += name.length;
    });
    this.#order = Int32Array.from({ length: 2 * width + 1 }, (_, i) => (i < width ? i : NO_FIELD));
    this.#readIn = new Float64Array(width);
  }

  /**
   * Reads the object that begins at `at` into the row's numbers and places. Answers where it ends, which may be
   * beyond `end` when the object is cut off, or -1 when it is not plain; the row is then undefined.
   */
  scan(bytes: Uint8Array, at: number, end: number, row: EventRow): number {
    if (bytes[at] !== OPEN) return -1;
    const object = ++this.#object;
    const order = this.#order;
    const { numbers } = row;
    let read = 0;
    let to = skipBlank(bytes, at + 1);
    if (bytes[to] === CLOSE) to++;
    else {
      for (let place = 0; ; place++) {
        if (bytes[to] !== QUOTE) return -1;
        const name = to + 1;
        let field = place < order.length ? (order[place] as number) : NO_FIELD;
        if (field !== NO_FIELD && this.#isName(bytes, name, field)) {
          to = name + (this.#nameLengths[field] as number);
        } else {
          const closing = stringEnd(bytes, name, end);
          if (closing === -1) return -1;
          field = this.#fieldOf(bytes, name, closing + 1);
          if (place < order.length) order[place] = field;
          to = closing + 1;
        }
        if (bytes[to] !== COLON) {
          to = skipBlank(bytes, to);
          if (bytes[to] !== COLON) return -1;
        }
        to++;
        if ((bytes[to] as number) <= 0x20) to = skipBlank(bytes, to);

        if (field === NO_FIELD) to = skipValue(bytes, to, end);
        else {
          if (this.#readIn[field] === object) return -1;
          this.#readIn[field] = object;
          read++;
          switch (this.#kinds[field]) {
            case TEXT:
              to = this.#scanText(bytes, to, end, field, row);
              break;
            case TIME:
              to = this.#scanTime(bytes, to, end, field, numbers);
              break;
            case BOOLEAN:
              to = this.#scanBoolean(bytes, to, field, numbers);
              break;
            case BLOB:
              to = this.#scanBlob(bytes, to, end, field, row);
              break;
            default:
              to = this.#scanNumber(bytes, to, field, numbers);
          }
        }
        if (to === -1) return -1;

        let next = bytes[to];
        if (next !== COMMA && next !== CLOSE) {
          to = skipBlank(bytes, to);
          next = bytes[to];
        }
        to++;
        if (next === CLOSE) break;
        if (next !== COMMA) return -1;
        if (bytes[to] !== QUOTE) to = skipBlank(bytes, to);
      }
    }
    return read === this.#width || this.#fillMissing(row, object) ? to : -1;
  }

  #isName(bytes: Uint8Array, at: number, field: number): boolean {
    const names = this.#names;
    const start = this.#nameStarts[field] as number;
    const length = this.#nameLengths[field] as number;
    for (let i = 0; i < length; i++) if (names[start + i] !== bytes[at + i]) return false;
    return true;
  }

  /** The field whose name with its closing quote is `bytes[at..until)`. */
  #fieldOf(bytes: Uint8Array, at: number, until: number): number {
    for (let field = 0; field < this.#width; field++) {
      if (this.#nameLengths[field] === until - at && this.#isName(bytes, at, field)) return field;
    }
    return NO_FIELD;
  }

  #fillMissing(row: EventRow, object: number): boolean {
    for (let field = 0; field < this.#width; field++) {
      if (this.#readIn[field] === object) continue;
      if (this.#optional[field] === 0) return false;
      row.numbers[field] = Number.NaN;
      row.starts[field] = -1;
      row.claims[field] = 0;
    }
    return true;
  }

  #scanNull(bytes: Uint8Array, at: number, field: number): number {
    return this.#optional[field] === 1 && isWord(bytes, at, NULL) ? at + NULL.length : -1;
  }

  #scanText(bytes: Uint8Array, at: number, end: number, field: number, row: EventRow): number {
    if (bytes[at] !== QUOTE) {
      row.starts[field] = -1;
      row.claims[field] = 0;
      return this.#claims && bytes[at] === OPEN
        ? this.#scanClaim(bytes, at, end, field, row)
        : this.#scanNull(bytes, at, field);
    }
    const from = at + 1;
    const until = stringEnd(bytes, from, end);
    if (until === -1) return -1;
    const length = until - from;
    // A text has as many bytes as characters, or more.
    if (length > (this.#lengthMax[field] as number)) {
      if (textLength(bytes, from, until) > (this.#lengthMax[field] as number)) return -1;
    }
    if (length > (this.#bytesMax[field] as number)) return -1;
    const values = this.#values[field] as TextSet | null;
    if (values !== null && !values.has(bytes, from, until)) return -1;
    row.starts[field] = from;
    row.ends[field] = until;
    row.claims[field] = 0;
    return until + 1;
  }

  /** A blob of a producer is decoded by the slow reader. */
  #scanBlob(bytes: Uint8Array, at: number, end: number, field: number, row: EventRow): number {
    row.starts[field] = -1;
    row.claims[field] = 0;
    return this.#claims && bytes[at] === OPEN
      ? this.#scanClaim(bytes, at, end, field, row)
      : this.#scanNull(bytes, at, field);
  }

  /** A claim as accept writes it; the digest is its text. */
  #scanClaim(bytes: Uint8Array, at: number, end: number, field: number, row: EventRow): number {
    if (!isWord(bytes, at, CLAIM_START)) return -1;
    const from = at + CLAIM_START.length;
    const until = stringEnd(bytes, from, end);
    if (until - from !== DIGEST_LENGTH || !isWord(bytes, until, CLAIM_MIDDLE)) return -1;
    row.starts[field] = from;
    row.ends[field] = until;
    row.claims[field] = 1;
    const number = skipValue(bytes, until + CLAIM_MIDDLE.length, end);
    if (number === -1 || !isWord(bytes, number, CLAIM_END)) return -1;
    const closing = stringEnd(bytes, number + CLAIM_END.length, end);
    return closing !== -1 && bytes[closing + 1] === CLOSE ? closing + 2 : -1;
  }

  #scanBoolean(bytes: Uint8Array, at: number, field: number, numbers: Float64Array): number {
    if (isWord(bytes, at, TRUE)) {
      numbers[field] = 1;
      return at + TRUE.length;
    }
    if (isWord(bytes, at, FALSE)) {
      numbers[field] = 0;
      return at + FALSE.length;
    }
    numbers[field] = Number.NaN;
    return this.#scanNull(bytes, at, field);
  }

  #scanTime(bytes: Uint8Array, at: number, end: number, field: number, numbers: Float64Array): number {
    if (bytes[at] !== QUOTE) {
      const to = this.#scanNumber(bytes, at, field, numbers);
      const value = numbers[field] as number;
      return to === -1 || Number.isNaN(value) || timeOfNumber(value) !== null ? to : -1;
    }
    const from = at + 1;
    const until = stringEnd(bytes, from, end);
    if (until === -1) return -1;
    const timeMs = timeOfBytes(bytes, from, until);
    if (Number.isNaN(timeMs)) return -1;
    numbers[field] = timeMs;
    return until + 1;
  }

  /**
   * A number whose digits form a whole number below 2^53 with at most 22 decimal places: one exact division then
   * gives the nearest double (W. D. Clinger, "How to read floating point numbers accurately", 1990).
   */
  #scanNumber(bytes: Uint8Array, at: number, field: number, numbers: Float64Array): number {
    let to = at;
    const isNegative = bytes[to] === MINUS;
    if (isNegative) to++;
    let byte = bytes[to] as number;
    let digits = 0;
    if (byte === ZERO) byte = bytes[++to] as number;
    else if (byte > ZERO && byte <= NINE) {
      do {
        digits = digits * 10 + (byte - ZERO);
        byte = bytes[++to] as number;
      } while (byte >= ZERO && byte <= NINE);
    } else {
      numbers[field] = Number.NaN;
      return isNegative ? -1 : this.#scanNull(bytes, at, field);
    }
    let places = 0;
    if (byte === POINT) {
      const first = ++to;
      byte = bytes[to] as number;
      while (byte >= ZERO && byte <= NINE) {
        digits = digits * 10 + (byte - ZERO);
        byte = bytes[++to] as number;
      }
      places = to - first;
      if (places === 0 || places >= POWERS.length) return -1;
    }
    // `e` or `E`: an exponent.
    if ((byte | 0x20) === 0x65 || digits >= EXACT_MAX) return -1;

    let value = places === 0 ? digits : digits / (POWERS[places] as number);
    // There is one zero, as in the slow reader.
    if (isNegative) value = 0 - value;
    if (value < (this.#min[field] as number) || value > (this.#max[field] as number)) return -1;
    const kind = this.#kinds[field];
    if (kind === DECIMAL) {
      const scale = this.#scales[field] as number;
      if (places > scale) return -1;
      const minor = digits * (POWERS[scale - places] as number);
      if (minor >= MINOR_UNITS_MAX) return -1;
      value = isNegative ? 0 - minor : minor;
    } else if (kind === INTEGER && places > 0 && Math.floor(value) !== value) return -1;
    numbers[field] = value;
    return to;
  }
}

const CLAIM_START: Uint8Array = utf8.encode('{"sha256":"');
const CLAIM_MIDDLE: Uint8Array = utf8.encode('","bytes":');
const CLAIM_END: Uint8Array = utf8.encode(',"mediaType":"');

function boundOf(
  field: FieldDefinition,
  name: "min" | "max" | "maxLength" | "claimAbove",
): number | undefined {
  return (field as Partial<Record<typeof name, number>>)[name];
}
