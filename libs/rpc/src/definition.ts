import {
  create,
  type DescMessage,
  type DescService,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { ServiceDefinition } from "@grpc/grpc-js";

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
