import { inspectModel, type ModelSignature } from "@millrace/onnx-graph";
import { isPassable } from "./value.ts";

/** The bytes are not a model that may run here, or onnxruntime cannot load them. The message says why. */
export class ModelRefused extends Error {
  readonly reason: string;

  constructor(reason: string, options?: ErrorOptions) {
    super(`model refused: ${reason}`, options);
    this.name = "ModelRefused";
    this.reason = reason;
  }
}

/** The signature of a model that may run here. Throws a ModelRefused. */
export function checkModel(bytes: Uint8Array): ModelSignature {
  const inspection = inspectModel(bytes);
  if (!inspection.ok) throw new ModelRefused(inspection.reason);
  const { signature } = inspection;
  const unpassable = [...signature.inputs, ...signature.outputs].find((spec) => !isPassable(spec.datatype));
  if (unpassable !== undefined) {
    throw new ModelRefused(
      `"${unpassable.name}" is ${unpassable.datatype}, which onnxruntime-node cannot pass: cast to FP32 in the model`,
    );
  }
  return signature;
}
