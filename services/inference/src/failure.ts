import { ProtocolError } from "@millrace/open-inference";
import { RpcError, TimeoutError } from "@millrace/runtime";
import type { Outcome } from "./statistics.ts";

/** What the caller is told: a broken protocol is its fault, all else is as it is. */
export function asRpcError(error: unknown): RpcError {
  if (error instanceof RpcError) return error;
  if (error instanceof TimeoutError) return new RpcError("deadlineExceeded", error.message);
  if (error instanceof ProtocolError) return new RpcError("invalidArgument", error.message);
  return new RpcError("internal", "the model failed on this request", { cause: error });
}

/** Whose fault it is. */
export function outcomeOf({ code }: RpcError): Outcome {
  switch (code) {
    case "deadlineExceeded":
    case "cancelled":
      return "cancelled";
    case "internal":
    case "unavailable":
      return "failed";
    default:
      return "refused";
  }
}
