import { status } from "@grpc/grpc-js";
import { type CodeName, RpcError } from "@millrace/runtime";

/** The status codes that this mesh uses, by name. */
export const CODES: Readonly<Record<CodeName, status>> = {
  cancelled: status.CANCELLED,
  invalidArgument: status.INVALID_ARGUMENT,
  deadlineExceeded: status.DEADLINE_EXCEEDED,
  notFound: status.NOT_FOUND,
  permissionDenied: status.PERMISSION_DENIED,
  resourceExhausted: status.RESOURCE_EXHAUSTED,
  failedPrecondition: status.FAILED_PRECONDITION,
  aborted: status.ABORTED,
  outOfRange: status.OUT_OF_RANGE,
  unimplemented: status.UNIMPLEMENTED,
  internal: status.INTERNAL,
  unavailable: status.UNAVAILABLE,
  unauthenticated: status.UNAUTHENTICATED,
};

/** Reads the status of an error that grpc-js gave to a client. */
export function fromGrpcError(
  method: string,
  error: { readonly code?: number; readonly details?: string; readonly message: string },
): RpcError {
  const name = (Object.keys(CODES) as CodeName[]).find((key) => CODES[key] === error.code) ?? "internal";
  return new RpcError(name, `${method}: ${error.details ?? error.message}`, { cause: error });
}

export { type CodeName, RpcError };
