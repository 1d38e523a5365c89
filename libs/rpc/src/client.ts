import {
  create,
  type DescMessage,
  type DescService,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { currentTraceparent, type RequestInit, type Response, type UnaryMethods } from "@millrace/runtime";
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
  const unary = service.methods.filter(({ methodKind }) => methodKind === "unary");
  const methods = unary.map(({ localName, name, input, output }) => [
    localName,
    (
      request: MessageInitShape<DescMessage>,
      call?: { timeoutMs?: number; traceparent?: string },
    ): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const path = `${service.typeName}/${name}`;
        const metadata = new Metadata();
        if (options.token !== null) metadata.set("authorization", `Bearer ${options.token}`);
        const traceparent = call?.traceparent ?? currentTraceparent();
        if (traceparent !== "") metadata.set("traceparent", traceparent);
        const deadline = Date.now() + (call?.timeoutMs ?? options.timeoutMs ?? 10_000);
        channel.makeUnaryRequest(
          `/${path}`,
          (value: MessageInitShape<DescMessage>) => Buffer.from(toBinary(input, create(input, value))),
          (bytes: Buffer) => fromBinary(output, bytes),
          request,
          metadata,
          { deadline },
          (error, response) => (error === null ? resolve(response) : reject(fromGrpcError(path, error))),
        );
      }),
  ]);
  return { ...Object.fromEntries(methods), close: () => channel.close() } as RpcClient<S>;
}
