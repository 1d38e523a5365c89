import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  InferParameter,
  InferParameterSchema,
  ModelInferRequestSchema,
  ModelInferResponseSchema,
} from "@millrace/contracts";
import fc from "fast-check";
import { hasTypedForm } from "../grpc-contents.ts";
import {
  DATATYPES,
  type Datatype,
  ELEMENT_BYTES,
  elements,
  type InferRequest,
  type InferResponse,
  type Parameter,
  type Parameters,
  type Tensor,
  tensorBytes,
  tensorFrom,
} from "../index.ts";

const text = fc.string({ unit: "grapheme", maxLength: 12 });

const parameter: fc.Arbitrary<Parameter> = fc.oneof(
  fc.boolean(),
  text,
  fc.double({ noNaN: true }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
);
const parameters: fc.Arbitrary<Parameters> = fc
  .array(fc.tuple(text, parameter), { maxLength: 3 })
  .map((entries) => new Map(entries));

/** A tensor of random bits, which are all values that there are. */
export function anyTensor(datatypes: readonly Datatype[] = DATATYPES): fc.Arbitrary<Tensor> {
  const kind = fc.record({
    name: text,
    datatype: fc.constantFrom(...datatypes),
    shape: fc.array(fc.nat(3), { maxLength: 3 }),
  });
  return kind.chain((of) => {
    const count = elements(of.shape);
    if (of.datatype === "BYTES") {
      const element = fc.uint8Array({ maxLength: 5 });
      return fc
        .array(element, { minLength: count, maxLength: count })
        .map((data): Tensor => ({ ...of, data }));
    }
    const length = count * ELEMENT_BYTES[of.datatype];
    const max = of.datatype === "BOOL" ? 1 : 255;
    return fc.uint8Array({ minLength: length, maxLength: length, max }).map((bytes) => tensorFrom(of, bytes));
  });
}

const head = { modelName: text, modelVersion: text, id: text, parameters };

function anyTensors(raw: boolean): fc.Arbitrary<Tensor[]> {
  const datatypes = raw ? DATATYPES : DATATYPES.filter(hasTypedForm);
  return fc.array(anyTensor(datatypes), { minLength: raw ? 1 : 0, maxLength: 3 });
}

export const anyRequest: fc.Arbitrary<InferRequest> = fc.boolean().chain((raw) =>
  fc.record({
    ...head,
    inputs: anyTensors(raw),
    outputs: fc.array(fc.record({ name: text, parameters }), { maxLength: 3 }),
    raw: fc.constant(raw),
  }),
);

export const anyResponse: fc.Arbitrary<{ response: InferResponse; form: "raw" | "typed" }> = fc
  .constantFrom<"raw" | "typed">("raw", "typed")
  .chain((form) =>
    fc.record({
      response: fc.record({ ...head, outputs: anyTensors(form === "raw") }),
      form: fc.constant(form),
    }),
  );

/** The request for protobuf-es. */
export function requestMessage(of: InferRequest): MessageInitShape<typeof ModelInferRequestSchema> {
  return {
    modelName: of.modelName,
    modelVersion: of.modelVersion,
    id: of.id,
    parameters: parametersMessage(of.parameters),
    inputs: of.inputs.map((tensor) => tensorMessage(tensor, of.raw)),
    outputs: of.outputs.map(({ name, parameters: own }) => ({ name, parameters: parametersMessage(own) })),
    rawInputContents: of.raw ? of.inputs.map(plainBytes) : [],
  };
}

/** The response for protobuf-es. */
export function responseMessage(
  of: InferResponse,
  form: "raw" | "typed",
): MessageInitShape<typeof ModelInferResponseSchema> {
  return {
    modelName: of.modelName,
    modelVersion: of.modelVersion,
    id: of.id,
    parameters: parametersMessage(of.parameters),
    outputs: of.outputs.map((tensor) => tensorMessage(tensor, form === "raw")),
    rawOutputContents: form === "raw" ? of.outputs.map(plainBytes) : [],
  };
}

const plainBytes = (tensor: Tensor): Uint8Array<ArrayBuffer> => tensorBytes(tensor).slice();

type ParametersMessage = Record<string, MessageInitShape<typeof InferParameterSchema>>;

function parametersMessage(of: Parameters): ParametersMessage {
  const message: ParametersMessage = Object.create(null) as ParametersMessage;
  for (const [key, value] of of) message[key] = { parameterChoice: choiceOf(value) };
  return message;
}

function choiceOf(value: Parameter): InferParameter["parameterChoice"] {
  switch (typeof value) {
    case "boolean":
      return { case: "boolParam", value };
    case "number":
      return { case: "doubleParam", value };
    case "bigint":
      return { case: value < 2n ** 63n ? "int64Param" : "uint64Param", value };
    default:
      return { case: "stringParam", value: value as string };
  }
}

function tensorMessage(of: Tensor, raw: boolean): object {
  const { name, datatype, shape } = of;
  const head = { name, datatype, shape: shape.map(BigInt) };
  if (raw) return head;
  return { ...head, contents: { [CONTENTS[datatype] as string]: plainValues(of) } };
}

const CONTENTS: Partial<Record<Datatype, string>> = {
  BOOL: "boolContents",
  INT8: "intContents",
  INT16: "intContents",
  INT32: "intContents",
  INT64: "int64Contents",
  UINT8: "uintContents",
  UINT16: "uintContents",
  UINT32: "uintContents",
  UINT64: "uint64Contents",
  FP32: "fp32Contents",
  FP64: "fp64Contents",
  BYTES: "bytesContents",
};

function plainValues({ datatype, data }: Tensor): unknown[] {
  const values = Array.from(data as readonly unknown[]);
  return datatype === "BOOL" ? values.map(Boolean) : values;
}
