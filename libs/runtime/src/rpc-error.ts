/** The gRPC status codes that this mesh uses, by name. */
export type CodeName =
  | "invalidArgument"
  | "notFound"
  | "failedPrecondition"
  | "aborted"
  | "outOfRange"
  | "unavailable"
  | "unauthenticated"
  | "resourceExhausted"
  | "deadlineExceeded"
  | "unimplemented"
  | "internal";
/** An error with a gRPC status. Thrown by handlers, it reaches the caller as it is; thrown by clients, it came from there. */
export class RpcError extends Error {
  readonly code: CodeName;
  constructor(code: CodeName, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "RpcError";
    this.code = code;
  }
}
