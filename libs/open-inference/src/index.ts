/**
 * The Open Inference Protocol v2, pure: its tensors, its two hot messages over gRPC and its REST body.
 *
 * - `tensor.ts` datatypes, values, shapes; `raw.ts` their raw bytes; `half.ts` 16-bit floats; `rows.ts` batches
 * - `infer.ts` a request and its answer, whichever form they have, and the limits on what strangers send
 * - `signature.ts` whether inputs are those that a model takes
 * - `grpc-decode.ts`, `grpc-encode.ts` ModelInferRequest and ModelInferResponse, over `wire-reader.ts` and
 *   `wire-writer.ts`; `grpc-contents.ts` typed values; `grpc-parameters.ts` parameters
 * - `rest-request.ts`, `rest-response.ts` the body of infer, JSON with binary tensors behind it, over `json-reader.ts`
 *   and `json-data.ts`
 * - `memory.ts` memory for small arrays; `error.ts` what is wrong with what came
 *
 * Invariants
 * O1 Whatever bytes come, reading them ends with a value or a ProtocolError.
 * O2 Memory is taken only for values that are there: counts and lengths are checked against the bytes and the limits.
 * O3 What is written is what any protobuf or JSON library reads, and the other way round.
 * O4 Values are in the machine's byte order, which on every machine that Node runs Millrace on is the wire's
 *    (little-endian).
 */
export * from "./error.ts";
export * from "./grpc-decode.ts";
export * from "./grpc-encode.ts";
export { constantParameters } from "./grpc-parameters.ts";
export * from "./half.ts";
export {
  INFER_LIMITS,
  type InferLimits,
  type InferRequest,
  type InferResponse,
  NO_PARAMETERS,
  type Parameter,
  type Parameters,
  type RequestedOutput,
} from "./infer.ts";
export { tensorBytes, tensorFrom } from "./raw.ts";
export {
  type BinaryOutputs,
  type InferBodyOptions,
  type ParsedInferBody,
  parseInferBody,
} from "./rest-request.ts";
export { formatInferBody, type InferBody } from "./rest-response.ts";
export * from "./rows.ts";
export * from "./signature.ts";
export {
  ARRAYS,
  checkShape,
  DATATYPES,
  type Datatype,
  ELEMENT_BYTES,
  elements,
  type NumericData,
  type NumericDatatype,
  type Tensor,
  type TensorData,
  type TensorSpec,
} from "./tensor.ts";
