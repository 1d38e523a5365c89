import type { InferResponse, Parameters } from "./infer.ts";
import { jsonData } from "./json-data.ts";
import { tensorBytes } from "./raw.ts";
import type { BinaryOutputs } from "./rest-request.ts";

/** A body in pieces, to be sent one after the other. */
export interface InferBody {
  readonly body: readonly Uint8Array[];
  /** For the header Inference-Header-Content-Length; null: the body is JSON alone, and the header is left out. */
  readonly headerLength: number | null;
}

/**
 * Writes the answer to POST v2/models/{name}/infer: JSON, and behind it the outputs that the caller wants in binary.
 * Throws a ProtocolError for an output that JSON cannot carry.
 */
export function formatInferBody(response: InferResponse, binary: BinaryOutputs): InferBody {
  const buffers: Uint8Array[] = [];
  const outputs = response.outputs.map((output) => {
    const { name, datatype, shape } = output;
    const head = `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${shape.join(",")}]`;
    if (!(binary.byName.get(name) ?? binary.byDefault)) return `${head},"data":${jsonData(output)}}`;
    const bytes = tensorBytes(output);
    buffers.push(bytes);
    return `${head},"parameters":{"binary_data_size":${bytes.length}}}`;
  });
  const { modelName, modelVersion, id, parameters } = response;
  const members = [
    `"model_name":${JSON.stringify(modelName)}`,
    `"model_version":${JSON.stringify(modelVersion)}`,
    ...(id === "" ? [] : [`"id":${JSON.stringify(id)}`]),
    ...(parameters.size === 0 ? [] : [`"parameters":${parametersText(parameters)}`]),
    `"outputs":[${outputs.join(",")}]`,
  ];
  const json = new TextEncoder().encode(`{${members.join(",")}}`);
  return { body: [json, ...buffers], headerLength: buffers.length === 0 ? null : json.length };
}

/** A bigint as the number that it is, whatever its size. */
function parametersText(parameters: Parameters): string {
  const members = Array.from(parameters, ([key, value]) => {
    const text = typeof value === "bigint" ? String(value) : JSON.stringify(value);
    return `${JSON.stringify(key)}:${text}`;
  });
  return `{${members.join(",")}}`;
}
