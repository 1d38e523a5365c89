/** A call of a gRPC method, as its handler sees it, whichever transport carries it. */
export interface GrpcCall {
  /** First value of a metadata entry; names in lower case. */
  metadata(name: string): string | undefined;
  /** Monotonic ms (`performance.now()`) at which the caller gives up; null when it set no deadline. */
  readonly deadlineAt: number | null;
  /** Address of the caller, for example `127.0.0.1:51234`. */
  readonly peer: string;
  /** Whether the caller has gone, has cancelled the call or has given up: its answer goes nowhere. */
  isCancelled(): boolean;
}

/** Ends a unary call, once: with the response, or with the error. One that is no RpcError is a defect. */
export type GrpcReply = (error: Error | null, response?: Uint8Array) => void;

/**
 * A gRPC method on message bytes. A request is a view that is valid while the handler runs and until it replies (for a
 * stream: until the next one is asked for). What a handler throws that is no RpcError is a defect: INTERNAL to the caller.
 */
export type GrpcMethod = GrpcUnaryMethod | GrpcStreamMethod;

export interface GrpcUnaryMethod {
  readonly kind: "unary";
  /** `/package.Service/Method` */
  readonly path: string;
  readonly handle: (request: Uint8Array, call: GrpcCall, reply: GrpcReply) => void;
}

export interface GrpcStreamMethod {
  readonly kind: "stream";
  readonly path: string;
  readonly handle: (requests: AsyncIterable<Uint8Array>, call: GrpcCall) => AsyncIterable<Uint8Array>;
}
