/**
 * gRPC for the control plane: `definition.ts` turns generated service descriptors into grpc-js definitions,
 * `server.ts` serves typed handlers, `client.ts` makes typed clients, `error.ts` maps errors to status codes.
 * Tokens are checked before a handler runs (default-deny); the trace context travels in metadata.
 */

export { type Call, type Handlers, type ServedService, serve } from "@millrace/runtime";
export * from "./client.ts";
export * from "./error.ts";
export * from "./server.ts";
