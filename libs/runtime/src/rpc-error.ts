/** The gRPC status codes that this mesh uses, by name: https://grpc.io/docs/guides/status-codes/ */
export const STATUS_CODES = {
  cancelled: 1,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;
export type CodeName = keyof typeof STATUS_CODES;

/** An error with a gRPC status. Thrown by handlers, it reaches the caller as it is; thrown by clients, it came from there. */
export class RpcError extends Error {
  readonly code: CodeName;
  /** When it makes sense to try again, in ms from now: sent as `grpc-retry-pushback-ms`. */
  readonly retryAfterMs: number | undefined;
  constructor(
    code: CodeName,
    message: string,
    options?: { readonly cause?: unknown; readonly retryAfterMs?: number },
  ) {
    super(message, options);
    this.name = "RpcError";
    this.code = code;
    this.retryAfterMs = options?.retryAfterMs;
  }

  /** One without a stack, which takes longer than all the rest of refusing a request: for what is refused under load. */
  static refusal(code: CodeName, message: string, retryAfterMs: number): RpcError {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    const error = new RpcError(code, message, { retryAfterMs });
    Error.stackTraceLimit = stackTraceLimit;
    return error;
  }
}
