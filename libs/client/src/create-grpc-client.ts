import type { GrpcClient, GrpcOptions } from "./grpc-client.ts";

/**
 * A client over gRPC, in Node: inference, online features and the registry. Connections open with the first call, and
 * `close` ends them. Throws a MillraceError when an option is wrong.
 */
export async function createGrpcClient(options: GrpcOptions): Promise<GrpcClient> {
  const { connectGrpc } = await import("./grpc-client.ts");
  return connectGrpc(options);
}
