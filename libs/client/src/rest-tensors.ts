/**
 * Requests and answers of `infer` over REST, tensors in binary: exact for every datatype, NaN among them, and several
 * times smaller than JSON (Triton's binary tensor data extension). The body is JSON, then the tensors' raw bytes in order.
 */
import {
  type InferRequest,
  type InferResponse,
  type Parameter,
  quoted,
  type Tensor,
  tensorBytes,
  tensorFrom,
} from "@millrace/open-inference";
import { listOf, numberOf, objectOf, parseJson, specOf, textOf } from "./answer.ts";
import { MillraceError } from "./error.ts";

/** A body whose first `headerLength` bytes are JSON. */
export interface BinaryBody {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly headerLength: number;
}

/** The body that asks for all outputs, or those of the request, in binary. */
export function inferBody({ id, parameters, inputs, outputs }: InferRequest): BinaryBody {
  const buffers = inputs.map(tensorBytes);
  const header = new TextEncoder().encode(
    JSON.stringify({
      ...(id !== "" && { id }),
      parameters: {
        ...Object.fromEntries([...parameters].map(([name, value]) => [name, jsonValue(name, value)])),
        binary_data_output: true,
      },
      inputs: inputs.map(({ name, datatype, shape }, i) => ({
        name,
        datatype,
        shape,
        parameters: { binary_data_size: buffers[i]?.length },
      })),
      ...(outputs.length > 0 && { outputs: outputs.map(({ name }) => ({ name })) }),
    }),
  );
  const bytes = new Uint8Array(buffers.reduce((sum, { length }) => sum + length, header.length));
  bytes.set(header);
  let at = header.length;
  for (const buffer of buffers) {
    bytes.set(buffer, at);
    at += buffer.length;
  }
  return { bytes, headerLength: header.length };
}

/** Reads an answer. `headerLength`: the header of that name; null: the body is JSON alone. */
export function inferResponse(body: Uint8Array, headerLength: string | null): InferResponse {
  const jsonLength = headerLength === null ? body.length : Number(headerLength);
  const answer = objectOf(parseJson(new TextDecoder().decode(body.subarray(0, jsonLength))));
  let at = jsonLength;
  const outputs = listOf(answer["outputs"]).map((output): Tensor => {
    const spec = specOf(output);
    const size = objectOf(objectOf(output)["parameters"] ?? {})["binary_data_size"];
    if (size === undefined) {
      throw new MillraceError(
        "INTERNAL",
        `output ${quoted(spec.name)} came as JSON: the server does not speak binary tensor data`,
      );
    }
    at += numberOf(size);
    return tensorFrom(spec, body.subarray(at - numberOf(size), at));
  });
  return {
    modelName: textOf(answer["model_name"]),
    modelVersion: textOf(answer["model_version"]),
    id: textOf(answer["id"]),
    parameters: new Map(Object.entries(objectOf(answer["parameters"] ?? {})).flatMap(parameterOf)),
    outputs,
  };
}

function jsonValue(name: string, value: Parameter): boolean | number | string {
  if (typeof value !== "bigint") return value;
  if (Number.isSafeInteger(Number(value))) return Number(value);
  throw new MillraceError("INVALID_ARGUMENT", `parameters.${name}: ${value} is not exact in JSON`);
}

function parameterOf([name, value]: readonly [string, unknown]): [string, Parameter][] {
  switch (typeof value) {
    case "boolean":
    case "number":
    case "string":
      return [[name, value]];
    default:
      return [];
  }
}
