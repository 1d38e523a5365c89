import {
  type InferRequest,
  type InferResponse,
  NO_PARAMETERS,
  type Parameter,
  type Parameters,
  ProtocolError,
  type Tensor,
} from "@millrace/open-inference";
import { checkTensor, wholeNumber } from "./check.ts";
import { MillraceError } from "./error.ts";
import type { CallOptions } from "./retry.ts";

export interface InferOptions extends CallOptions {
  /** Default: the version that the rollout gives the unit; without a rollout the champion. */
  readonly version?: number | string;
  /** The key by which a rollout chooses the arm: equal keys get the same arm. */
  readonly unit?: string;
  /** Whose turn it is when requests wait, as Triton has it: 1 comes first, 0 is the model's default. */
  readonly priority?: number;
  /** Names of the outputs; default: all. */
  readonly outputs?: readonly string[];
  /** The answer carries it too. */
  readonly id?: string;
  /** Further parameters of the request. Whole numbers are bigints. */
  readonly parameters?: Readonly<Record<string, Parameter>>;
}

/** What an answer was computed from, by SHA-256 digests; null: the server did not say. */
export interface Receipt {
  readonly model: string | null;
  readonly features: string | null;
  readonly dataset: string | null;
  /** Role of the version in its rollout, for example `champion` or `challenger`. */
  readonly arm: string | null;
  /** Trace id of the server's part of the call. */
  readonly trace: string | null;
}

export interface Inference {
  readonly model: string;
  readonly version: string;
  readonly id: string;
  /** By name, in the model's order. They may share memory with each other. */
  readonly outputs: ReadonlyMap<string, Tensor>;
  readonly parameters: Parameters;
  readonly receipt: Receipt;
}

/** Runs a model on tensors. */
export type Infer = (model: string, inputs: readonly Tensor[], options?: InferOptions) => Promise<Inference>;

/** How one request is carried out, retries included. */
export type Send = (request: InferRequest, options: CallOptions) => Promise<InferResponse>;

/** `infer` over whichever protocol `send` speaks. */
export function inferVia(send: Send): Infer {
  return async (model, inputs, options = {}) => {
    inputs.forEach(checkTensor);
    const { modelName, modelVersion, id, outputs, parameters } = await send(
      inferRequest(model, inputs, options),
      options,
    ).catch((error: unknown) => {
      throw error instanceof ProtocolError
        ? new MillraceError("INTERNAL", `the server's answer: ${error.message}`, { cause: error })
        : error;
    });
    return {
      model: modelName,
      version: modelVersion,
      id,
      outputs: new Map(outputs.map((output) => [output.name, output])),
      parameters,
      receipt: receiptOf(parameters),
    };
  };
}

function inferRequest(model: string, inputs: readonly Tensor[], options: InferOptions): InferRequest {
  const { version = "", id = "", outputs = [], unit, priority } = options;
  const parameters = new Map(Object.entries(options.parameters ?? {}));
  if (unit !== undefined) parameters.set("unit", unit);
  if (priority !== undefined) parameters.set("priority", wholeNumber("priority", priority));
  return {
    modelName: model,
    modelVersion: String(version),
    id,
    parameters,
    inputs,
    outputs: outputs.map((name) => ({ name, parameters: NO_PARAMETERS })),
    raw: true,
  };
}

function receiptOf(parameters: Parameters): Receipt {
  const text = (name: string): string | null => {
    const value = parameters.get(name);
    return typeof value === "string" ? value : null;
  };
  return {
    model: text("model_digest"),
    features: text("feature_digest"),
    dataset: text("dataset_digest"),
    arm: text("arm"),
    trace: text("trace_id"),
  };
}
