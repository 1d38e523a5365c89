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
import type { ServiceDefinition } from "@grpc/grpc-js";

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

/** A grpc-js definition of the service's unary methods. Responses may be given as plain init objects. */
export function grpcDefinition(service: DescService): ServiceDefinition {
  return Object.fromEntries(
    service.methods
      .filter((method) => method.methodKind === "unary")
      .map((method) => [
        method.localName,
        {
          path: `/${service.typeName}/${method.name}`,
          requestStream: false,
          responseStream: false,
          requestSerialize: (value: MessageInitShape<DescMessage>) =>
            Buffer.from(toBinary(method.input, create(method.input, value))),
          requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
          responseSerialize: (value: MessageInitShape<DescMessage>) =>
            Buffer.from(toBinary(method.output, create(method.output, value))),
          responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
        },
      ]),
  );
}
