import type { DescService } from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { currentTraceparent, type RequestInit, type Response, type UnaryMethods } from "@millrace/runtime";
import { grpcDefinition } from "./definition.ts";
import { fromGrpcError } from "./error.ts";

/**
 * Bytes that a server may send on a connection before it hears from the client. HTTP/2 begins with 64 KiB: a few dozen
 * answers under way, then each waits for a round trip, which is long where many do.
 */
const FLOW_CONTROL_WINDOW = 4 * 1024 * 1024;

/** A typed client: one promise-returning method per unary method. Errors are `RpcError`s. */
export type RpcClient<S extends DescService> = {
  readonly [K in keyof UnaryMethods<S>]: (
    request: RequestInit<UnaryMethods<S>[K]>,
    options?: { readonly timeoutMs?: number; readonly traceparent?: string },
  ) => Promise<Response<UnaryMethods<S>[K]>>;
} & { close(): void };

/**
 * Connects lazily to `url` (`host:port`). Each call has a deadline (default 10 s) and carries the token and the
 * active trace. A server that is away gives `unavailable`; the channel reconnects by itself.
 */
export function createRpcClient<S extends DescService>(
  service: S,
  url: string,
  options: { readonly token: string | null; readonly timeoutMs?: number },
): RpcClient<S> {
  const channel = new Client(url, credentials.createInsecure(), {
    "grpc.max_receive_message_length": 64 * 1024 * 1024,
    "grpc-node.flow_control_window": FLOW_CONTROL_WINDOW,
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2_000,
  });
  const methods = Object.entries(grpcDefinition(service)).map(([name, method]) => [
    name,
    (request: unknown, call?: { timeoutMs?: number; traceparent?: string }): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const metadata = new Metadata();
        if (options.token !== null) metadata.set("authorization", `Bearer ${options.token}`);
        const traceparent = call?.traceparent ?? currentTraceparent();
        if (traceparent !== "") metadata.set("traceparent", traceparent);
        const deadline = Date.now() + (call?.timeoutMs ?? options.timeoutMs ?? 10_000);
        channel.makeUnaryRequest(
          method.path,
          method.requestSerialize,
          method.responseDeserialize,
          request,
          metadata,
          { deadline },
          (error, response) =>
            error === null ? resolve(response) : reject(fromGrpcError(method.path.slice(1), error)),
        );
      }),
  ]);
  return { ...Object.fromEntries(methods), close: () => channel.close() } as RpcClient<S>;
}
