import { timingSafeEqual } from "node:crypto";
import type { DescService } from "@bufbuild/protobuf";
import {
  type handleUnaryCall,
  type Metadata,
  Server,
  ServerCredentials,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { SpanKind, TimeoutError, withSpan } from "@millrace/runtime";
import { grpcDefinition, type Request, type ResponseInit, type UnaryMethods } from "./definition.ts";
import { CODES, RpcError } from "./error.ts";

/** What a handler may know about its call besides the request. */
export interface Call {
  /** W3C traceparent of the caller; empty when it sent none. */
  readonly traceparent: string;
}

export type Handlers<S extends DescService> = {
  readonly [K in keyof UnaryMethods<S>]: (
    request: Request<UnaryMethods<S>[K]>,
    call: Call,
  ) => Promise<ResponseInit<UnaryMethods<S>[K]>> | ResponseInit<UnaryMethods<S>[K]>;
};

export interface ServedService {
  readonly service: DescService;
  readonly handlers: Readonly<Record<string, (request: never, call: Call) => unknown>>;
}

/** Pairs a service with handlers for all its unary methods; the compiler checks that none is missing. */
export function serve<S extends DescService>(service: S, handlers: Handlers<S>): ServedService {
  return { service, handlers: handlers as unknown as ServedService["handlers"] };
}

export interface RpcServer {
  readonly port: number;
  /** Lets calls in flight finish, up to the deadline. */
  stop(deadlineMs: number): Promise<void>;
}

export interface RpcServerOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly services: readonly ServedService[];
  /** Callers must send `authorization: Bearer TOKEN`. null: the port is open, which only loopback may be. */
  readonly token: string | null;
  /** Largest request in bytes. */
  readonly requestBytesMax: number;
  /** Called with errors that are no RpcError: defects, which callers see as INTERNAL without details. */
  readonly onDefect: (method: string, error: unknown) => void;
  /** Whether each call gets a span; off where calls are too many. */
  readonly spans?: boolean;
}

/** Starts a gRPC server. Throws when the port is taken, or when an open port would not be on loopback. */
export async function startRpcServer(options: RpcServerOptions): Promise<RpcServer> {
  if (options.token === null && !["127.0.0.1", "::1", "localhost"].includes(options.host)) {
    throw new Error(
      `refusing to serve without a token on ${options.host}: listen on 127.0.0.1, or set a token`,
    );
  }
  const server = new Server({
    "grpc.max_receive_message_length": options.requestBytesMax,
    "grpc.max_concurrent_streams": 1_000,
    // Bookkeeping for each call that nobody reads.
    "grpc.enable_channelz": 0,
  });
  for (const { service, handlers } of options.services) {
    const implementation: UntypedServiceImplementation = Object.fromEntries(
      Object.entries(handlers).map(([name, handler]) => [name, unary(service, name, handler, options)]),
    );
    server.addService(grpcDefinition(service), implementation);
  }
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${options.host}:${options.port}`, ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    port,
    stop: (deadlineMs) =>
      new Promise((resolve) => {
        const force = setTimeout(() => server.forceShutdown(), deadlineMs);
        server.tryShutdown(() => {
          clearTimeout(force);
          resolve();
        });
      }),
  };
}

function unary(
  service: DescService,
  name: string,
  handler: (request: never, call: Call) => unknown,
  options: RpcServerOptions,
): handleUnaryCall<unknown, unknown> {
  const method = `${service.typeName}/${name[0]?.toUpperCase()}${name.slice(1)}`;
  const authorised = tokenCheck(options.token);
  const answer = async (request: unknown, traceparent: string): Promise<unknown> => {
    const run = async (): Promise<unknown> => await handler(request as never, { traceparent });
    if (options.spans === false || traceparent === "") return run();
    return withSpan(
      method,
      { traceparent, kind: SpanKind.SERVER, attributes: { "rpc.system.name": "grpc", "rpc.method": method } },
      run,
    );
  };
  return (call, callback) => {
    if (!authorised(call.metadata)) {
      callback({ code: CODES.unauthenticated, details: "send the metadata authorization: Bearer TOKEN" });
      return;
    }
    const traceparent = String(call.metadata.get("traceparent")[0] ?? "");
    answer(call.request, traceparent).then(
      (response) => callback(null, response),
      (error: unknown) => {
        if (error instanceof RpcError) return callback({ code: CODES[error.code], details: error.message });
        if (error instanceof TimeoutError)
          return callback({ code: CODES.deadlineExceeded, details: error.message });
        options.onDefect(method, error);
        callback({ code: CODES.internal, details: "internal error; the service's log has the cause" });
      },
    );
  };
}

function tokenCheck(token: string | null): (metadata: Metadata) => boolean {
  if (token === null) return () => true;
  const expected = Buffer.from(`Bearer ${token}`);
  return (metadata) => {
    const given = Buffer.from(String(metadata.get("authorization")[0] ?? ""));
    return given.length === expected.length && timingSafeEqual(given, expected);
  };
}
