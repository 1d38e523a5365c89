/** What a stranger sent breaks the protocol or the model's signature: to the caller, INVALID_ARGUMENT or 400. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  /** Path of what is wrong, for example `inputs[0].shape`. */
  readonly field: string;
  /** What came, what is expected, and the remedy where it is not plain. */
  readonly what: string;

  constructor(field: string, what: string) {
    super(`${field}: ${what}`);
    this.field = field;
    this.what = what;
  }

  /** The error with its field as a part of `outer`. Paths are so built only when they are needed. */
  static within(outer: string, error: unknown): unknown {
    return error instanceof ProtocolError ? new ProtocolError(`${outer}.${error.field}`, error.what) : error;
  }
}

const QUOTED_CHARACTERS_MAX = 80;

/** Text of a stranger as it may stand in a message: quoted, without control characters, cut at 80 characters. */
export function quoted(text: string): string {
  const short = text.length <= QUOTED_CHARACTERS_MAX ? text : `${text.slice(0, QUOTED_CHARACTERS_MAX)}…`;
  // JSON leaves DEL, the C1 controls and the marks of direction as they are; a terminal obeys them.
  return JSON.stringify(short).replace(
    /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
