import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { GrpcMethod } from "./grpc-method.ts";
import { RpcError } from "./rpc-error.ts";
import { SpanKind, withSpan } from "./telemetry.ts";
import { TimeoutError } from "./time.ts";

/** The names of a service's unary methods, with the request and response types of each. */
export type UnaryMethods<S extends DescService> = {
  [K in keyof S["method"] as S["method"][K] extends DescMethodUnary
    ? K
    : never]: S["method"][K] extends DescMethodUnary<infer I, infer O>
    ? { readonly input: I; readonly output: O }
    : never;
};

export type Request<T> = T extends { readonly input: infer I extends DescMessage } ? MessageShape<I> : never;
export type RequestInit<T> = T extends { readonly input: infer I extends DescMessage }
  ? MessageInitShape<I>
  : never;
export type Response<T> = T extends { readonly output: infer O extends DescMessage }
  ? MessageShape<O>
  : never;
export type ResponseInit<T> = T extends { readonly output: infer O extends DescMessage }
  ? MessageInitShape<O>
  : never;

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

/**
 * A service's unary methods on message bytes, for whichever transport. `spans`: whether each call that carries a trace
 * gets a span. A request that is no message of its type is INVALID_ARGUMENT.
 */
export function methodsOf(
  { service, handlers }: ServedService,
  options: { readonly spans?: boolean } = {},
): readonly GrpcMethod[] {
  return service.methods
    .filter(({ methodKind, localName }) => methodKind === "unary" && localName in handlers)
    .map((method): GrpcMethod => {
      const name = `${service.typeName}/${method.name}`;
      const handler = handlers[method.localName] as (request: unknown, call: Call) => unknown;
      const answer = async (request: unknown, traceparent: string): Promise<unknown> => {
        if (options.spans === false || traceparent === "") return handler(request, { traceparent });
        const attributes = { "rpc.system.name": "grpc", "rpc.method": name };
        return withSpan(name, { traceparent, kind: SpanKind.SERVER, attributes }, async () =>
          handler(request, { traceparent }),
        );
      };
      return {
        kind: "unary",
        path: `/${name}`,
        handle: (bytes, call, reply) => {
          let request: unknown;
          try {
            request = fromBinary(method.input, bytes);
          } catch (error) {
            return reply(new RpcError("invalidArgument", `not a ${method.input.typeName}: ${String(error)}`));
          }
          answer(request, call.metadata("traceparent") ?? "")
            .then((response) =>
              toBinary(method.output, create(method.output, response as Record<string, unknown>)),
            )
            .then(
              (message) => reply(null, message),
              (error: unknown) => reply(asReply(error)),
            );
        },
      };
    });
}

function asReply(error: unknown): Error {
  return error instanceof TimeoutError ? new RpcError("deadlineExceeded", error.message) : (error as Error);
}
