import { hasTypedForm, writeContents } from "./grpc-contents.ts";
import { PARAMETERS_FIELD, writeParameters } from "./grpc-parameters.ts";
import type { InferRequest, InferResponse, RequestedOutput } from "./infer.ts";
import { tensorBytes } from "./raw.ts";
import { ELEMENT_BYTES, type Tensor } from "./tensor.ts";
import { WireWriter } from "./wire-writer.ts";

/** Beside the values: names, shapes, tags and lengths of a usual message. It grows where this is not enough. */
const MESSAGE_BYTES = 128;
const TENSOR_BYTES = 64;
const PARAMETER_BYTES = 128;

/**
 * Writes a ModelInferResponse, its values as raw bytes or as typed contents. Where a tensor has no typed form (FP16,
 * BF16), all go raw.
 */
export function encodeInferResponse(response: InferResponse, form: "raw" | "typed"): Uint8Array {
  const isRaw = form === "raw" || !response.outputs.every(({ datatype }) => hasTypedForm(datatype));
  const writer = new WireWriter(capacity(response, response.outputs));
  if (isRaw) writeRaw(writer, 6, response.outputs);
  writeTensors(writer, response.outputs, isRaw);
  writeHead(writer, response);
  return writer.finish();
}

/** Writes a ModelInferRequest, its values as raw bytes where `request.raw` or a tensor has no typed form. */
export function encodeInferRequest(request: InferRequest): Uint8Array {
  const isRaw = request.raw || !request.inputs.every(({ datatype }) => hasTypedForm(datatype));
  const writer = new WireWriter(capacity(request, request.inputs));
  if (isRaw) writeRaw(writer, 7, request.inputs);
  writeRequestedOutputs(writer, request.outputs);
  writeTensors(writer, request.inputs, isRaw);
  writeHead(writer, request);
  return writer.finish();
}

function capacity({ parameters }: InferRequest | InferResponse, tensors: readonly Tensor[]): number {
  let bytes = MESSAGE_BYTES + parameters.size * PARAMETER_BYTES;
  for (const { datatype, data } of tensors) bytes += TENSOR_BYTES + data.length * ELEMENT_BYTES[datatype];
  return bytes;
}

function writeHead(writer: WireWriter, message: InferRequest | InferResponse): void {
  writeParameters(writer, PARAMETERS_FIELD, message.parameters);
  if (message.id !== "") writer.text(3, message.id);
  if (message.modelVersion !== "") writer.text(2, message.modelVersion);
  if (message.modelName !== "") writer.text(1, message.modelName);
}

function writeTensors(writer: WireWriter, tensors: readonly Tensor[], isRaw: boolean): void {
  for (let i = tensors.length - 1; i >= 0; i--) {
    const tensor = tensors[i] as Tensor;
    const start = writer.length;
    if (!isRaw) {
      writeContents(writer, tensor);
      writer.delimit(5, start);
    }
    const shapeStart = writer.length;
    for (let d = tensor.shape.length - 1; d >= 0; d--) writer.int64(tensor.shape[d] as number);
    if (tensor.shape.length > 0) writer.delimit(3, shapeStart);
    writer.text(2, tensor.datatype);
    if (tensor.name !== "") writer.text(1, tensor.name);
    writer.delimit(5, start);
  }
}

function writeRaw(writer: WireWriter, field: number, tensors: readonly Tensor[]): void {
  for (let i = tensors.length - 1; i >= 0; i--) {
    const start = writer.length;
    writer.raw(tensorBytes(tensors[i] as Tensor));
    writer.delimit(field, start);
  }
}

function writeRequestedOutputs(writer: WireWriter, outputs: readonly RequestedOutput[]): void {
  for (let i = outputs.length - 1; i >= 0; i--) {
    const { name, parameters } = outputs[i] as RequestedOutput;
    const start = writer.length;
    writeParameters(writer, 2, parameters);
    if (name !== "") writer.text(1, name);
    writer.delimit(6, start);
  }
}
