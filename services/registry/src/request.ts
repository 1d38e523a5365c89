import type { LineRow, Tables } from "./store.ts";

/** gRPC status names of the answers other than success. */
export type RefusalCode =
  | "invalidArgument"
  | "notFound"
  | "failedPrecondition"
  | "aborted"
  | "outOfRange"
  | "unavailable";

/** A request that is not carried out; nothing was changed. The caller gets the code and the message as they are. */
export class Refusal extends Error {
  readonly code: RefusalCode;
  constructor(code: RefusalCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "Refusal";
    this.code = code;
  }
}

const NAME = /^[a-z0-9][a-z0-9_.-]{0,62}$/;
const DIGEST = /^[0-9a-f]{64}$/;
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
const CONTROL = /\p{Cc}/u;

const invalid = (field: string, problem: string, remedy: string): Refusal =>
  new Refusal("invalidArgument", `${field} ${problem}. ${remedy}`);

/** A line's name. */
export function nameOf(field: string, value: string): string {
  if (NAME.test(value)) return value;
  throw invalid(
    field,
    `${JSON.stringify(value.slice(0, 80))} is not a name`,
    "Use lower case letters, digits, _, . and -, starting with a letter or digit, at most 63",
  );
}

/** An identifier that somebody else made up, such as a holder, a cause or a recipe. */
export function identifierOf(field: string, value: string): string {
  if (value.length >= 1 && value.length <= 200 && !CONTROL.test(value)) return value;
  throw invalid(field, "is not an identifier", "Send 1 to 200 characters on one line");
}

/** Text for people; may be empty. */
export function textOf(field: string, value: string): string {
  if (value.length <= 4_000) return value;
  throw invalid(field, `has ${value.length} characters`, "Send at most 4000");
}

export function digestOf(field: string, value: string): string {
  if (DIGEST.test(value)) return value;
  throw invalid(field, "is not a digest", "Send the SHA-256 as 64 lower-case hex digits");
}

/** A whole number that JavaScript holds exactly. */
export function integerOf(field: string, value: bigint | number, least: number): number {
  const number = Number(value);
  if (Number.isSafeInteger(number) && number >= least) return number;
  throw invalid(field, `is ${value}`, `Send a whole number from ${least} to ${Number.MAX_SAFE_INTEGER}`);
}

/** A share of a whole, above 0 and below 1. */
export function shareOf(field: string, value: number): number {
  if (value > 0 && value < 1) return value;
  throw invalid(field, `is ${value}`, "Send a number above 0 and below 1");
}

export function oneOf<const T extends string>(field: string, value: string, allowed: readonly T[]): T {
  if ((allowed as readonly string[]).includes(value)) return value as T;
  throw invalid(field, `is ${JSON.stringify(value.slice(0, 80))}`, `Use one of: ${allowed.join(", ")}`);
}

/** JSON text; empty where the caller has nothing to say. */
export function jsonOf(field: string, value: string): string {
  if (value === "") return value;
  try {
    JSON.parse(value);
    return value;
  } catch (error) {
    throw invalid(field, `is not JSON (${(error as Error).message})`, "Send JSON text, or leave it empty");
  }
}

/** A W3C traceparent; empty when there is none or it is malformed, because a trace must not stop a change. */
export function traceparentOf(value: string): string {
  return TRACEPARENT.test(value) ? value : "";
}

/** The part of a request that must be there. */
export function present<T>(field: string, value: T | undefined): T {
  if (value !== undefined) return value;
  throw invalid(field, "is missing", "Send it");
}

/** The applied line of that name. */
export async function lineOf(tables: Tables, name: string): Promise<LineRow> {
  const line = await tables.line(nameOf("line", name));
  if (line !== null) return line;
  const known = (await tables.lines()).map((row) => row.name);
  throw new Refusal(
    "notFound",
    `there is no line "${name}". ${known.length === 0 ? "Apply it first" : `Apply it, or use one of: ${known.join(", ")}`}`,
  );
}
