import { type CodeName, RpcError, STATUS_CODES } from "@millrace/runtime";

/** Reads the status of an error that grpc-js gave to a client. */
export function fromGrpcError(
  method: string,
  error: { readonly code?: number; readonly details?: string; readonly message: string },
): RpcError {
  const names = Object.keys(STATUS_CODES) as CodeName[];
  const name = names.find((key) => STATUS_CODES[key] === error.code) ?? "internal";
  return new RpcError(name, `${method}: ${error.details ?? error.message}`, { cause: error });
}
