import { ProtocolError } from "./error.ts";
import type { Tensor } from "./tensor.ts";

/** int64 and uint64 are bigint, double is number. */
export type Parameter = boolean | bigint | number | string;
export type Parameters = ReadonlyMap<string, Parameter>;

export const NO_PARAMETERS: Parameters = new Map();

/** An output that the caller asks for. */
export interface RequestedOutput {
  readonly name: string;
  readonly parameters: Parameters;
}

/** One inference as it was asked for, whichever form it came in. */
export interface InferRequest {
  readonly modelName: string;
  /** "" means the version that answers by default. */
  readonly modelVersion: string;
  /** The answer carries it too. */
  readonly id: string;
  readonly parameters: Parameters;
  readonly inputs: readonly Tensor[];
  /** None means all. */
  readonly outputs: readonly RequestedOutput[];
  /** Whether the inputs came as raw bytes: the answer then does too. */
  readonly raw: boolean;
}

/** The answer to an InferRequest. */
export interface InferResponse {
  readonly modelName: string;
  readonly modelVersion: string;
  readonly id: string;
  readonly parameters: Parameters;
  readonly outputs: readonly Tensor[];
}

/** What a message may hold, so that a stranger's bytes cannot take memory or time that their number does not explain. */
export interface InferLimits {
  /** Bytes of a message, or of a REST body. */
  readonly messageBytes: number;
  /** Inputs of a request, and outputs of a request or a response. */
  readonly tensors: number;
  /** Entries of each parameter map. */
  readonly parameters: number;
  /** UTF-8 bytes of each name, version, id and parameter. */
  readonly textBytes: number;
  /** BYTES elements of a whole message: each is an object, however short. */
  readonly bytesElements: number;
  /** Bytes of one BYTES element. */
  readonly elementBytes: number;
}

export const INFER_LIMITS: InferLimits = {
  messageBytes: 64 << 20,
  tensors: 256,
  parameters: 64,
  textBytes: 4_096,
  bytesElements: 1 << 20,
  elementBytes: 16 << 20,
};

/** A client that puts its values into shared memory, or waits for them there, would wait for ever. */
export function refuseSharedMemory(parameters: Parameters): void {
  if (!parameters.has("shared_memory_region")) return;
  throw new ProtocolError("parameters", "shared_memory_region is not served, expected values in the message");
}
