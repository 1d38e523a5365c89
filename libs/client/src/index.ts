/**
 * The client of a Millrace for applications. Two ways in, with the same calls where the protocol has them on both:
 * `rest-client.ts` over REST, in browsers and Node; `grpc-client.ts` over gRPC, in Node, loaded when it is asked for
 * (`create-grpc-client.ts`) so that nothing of it reaches a browser.
 *
 * `inference.ts` tensors in and out; `predict.ts` a line's score; `line.ts` the types of a line, which
 * `types-module.ts` writes; `models.ts`, `features.ts`, `registry.ts`, `generation.ts` the other calls;
 * `check.ts` what callers give; `error.ts` the one error; `retry.ts` deadlines and retries; `rest-channel.ts` and
 * `grpc-channel.ts` one attempt of a call; `answer.ts`, `rest-tensors.ts`, `server-sent-events.ts`, `plain.ts` read
 * what came.
 *
 * Invariants
 * C1 Every call ends: by its answer, its deadline or its caller's signal.
 * C2 What the network, the server or a wrong argument does to a call, it throws as a MillraceError.
 * C3 A call is made again only where its code says that it may help and its deadline allows it; all calls only read.
 * C4 A score by feature names is of a model with those features in that order, where the server names its features.
 * C5 What a browser bundles needs no Node module, no gRPC and no protobuf.
 */

export type {
  Datatype,
  Parameter,
  Parameters,
  Tensor,
  TensorData,
  TensorSpec,
} from "@millrace/open-inference";
export { createGrpcClient } from "./create-grpc-client.ts";
export { type Code, MillraceError } from "./error.ts";
export type * from "./features.ts";
export type * from "./generation.ts";
export type { Tls } from "./grpc-channel.ts";
export type { GrpcClient, GrpcOptions } from "./grpc-client.ts";
export type { Infer, Inference, InferOptions, Receipt } from "./inference.ts";
export { type Line, line } from "./line.ts";
export type * from "./models.ts";
export type { Asked, Predict, Prediction } from "./predict.ts";
export type * from "./registry.ts";
export type { RestOptions } from "./rest-channel.ts";
export { createClient, type RestClient } from "./rest-client.ts";
export type { CallOptions, ClientOptions } from "./retry.ts";
export * from "./types-module.ts";
