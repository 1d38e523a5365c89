/**
 * gRPC over grpc-js. `server.ts` serves the methods that `@millrace/runtime` describes, unary and streaming, on plaintext
 * or TLS; callers are asked who they are before a handler runs. `client.ts` makes typed clients of generated services,
 * which carry token and trace context in metadata; `error.ts` reads the errors that they get.
 */

export { type CodeName, type Handlers, RpcError, serve } from "@millrace/runtime";
export { createRpcClient, type RpcClient } from "./client.ts";
export { type RpcServer, type RpcServerOptions, startRpcServer } from "./server.ts";
