/** The gRPC status codes by their names, in the order of their numbers (google/rpc/code.proto). */
const CODES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;
export type Code = Exclude<(typeof CODES)[number], "OK">;

/** The only error of this package's calls. What it means is in `code`, whichever way the call went. */
export class MillraceError extends Error {
  override readonly name = "MillraceError";
  readonly code: Code;
  /** When the server says it makes sense to try again, in ms from now; null: it said nothing. Negative: do not. */
  readonly retryAfterMs: number | null;

  constructor(
    code: Code,
    message: string,
    options: { readonly cause?: unknown; readonly retryAfterMs?: number | null } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}

/** The name of a gRPC status number. */
export function codeOfNumber(status: number): Code {
  const code = CODES[status];
  return code === undefined || code === "OK" ? "UNKNOWN" : code;
}

/** HTTP statuses as google/rpc/code.proto pairs them with codes; 408 is what servers and proxies send for a time-out. */
const CODE_OF_HTTP_STATUS: Readonly<Record<number, Code>> = {
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  408: "DEADLINE_EXCEEDED",
  409: "ABORTED",
  412: "FAILED_PRECONDITION",
  413: "RESOURCE_EXHAUSTED",
  416: "OUT_OF_RANGE",
  429: "RESOURCE_EXHAUSTED",
  499: "CANCELLED",
  500: "INTERNAL",
  501: "UNIMPLEMENTED",
  502: "UNAVAILABLE",
  503: "UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

/** The code of an HTTP status that is no success. */
export function codeOfHttpStatus(status: number): Code {
  return CODE_OF_HTTP_STATUS[status] ?? (status < 500 ? "INVALID_ARGUMENT" : "UNKNOWN");
}
