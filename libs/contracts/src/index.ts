/**
 * Contracts: everything that crosses a process border. Generated protobuf types (`proto/`), the topic
 * catalogue (`topics.ts`), the JSON messages on those topics (`messages.ts`) and the header names.
 */

export * from "./canonical-json.ts";
export * from "./gen/grpc/health/v1/health_pb.js";
export * from "./gen/inference/model_config_pb.js";
export * from "./gen/inference/model_repository_pb.js";
export * from "./gen/inference/open_inference_pb.js";
export * as featureApi from "./gen/millrace/feature/v1/feature_pb.js";
export * as registryApi from "./gen/millrace/registry/v1/registry_pb.js";
export * as onnx from "./gen/onnx/onnx_pb.js";
export * from "./messages.ts";
export * from "./number-text.ts";
export * from "./position.ts";
export * from "./topics.ts";
export * from "./vector.ts";
