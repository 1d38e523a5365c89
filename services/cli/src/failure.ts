/** Something the user can act on: what went wrong, and what to do about it. Everything else is a defect. */
export class Failure extends Error {
  readonly what: string;
  readonly remedy: string;
  constructor(what: string, remedy: string, options?: { cause?: unknown }) {
    super(`${what}\n${remedy}`, options);
    this.name = "Failure";
    this.what = what;
    this.remedy = remedy;
  }
}

/** The text of an error for people, without the stack. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
