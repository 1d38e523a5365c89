import {
  ARRAYS,
  type Datatype,
  elements,
  type NumericData,
  type Tensor,
  type TensorSpec,
} from "@millrace/open-inference";

/** A tensor as onnxruntime takes and gives it; float16 as its bits. Survives a structured clone. */
export interface Value {
  readonly type: ValueType;
  readonly dims: readonly number[];
  readonly data: NumericData | readonly string[];
}

export type ValueType =
  | "bool"
  | "uint8"
  | "uint16"
  | "uint32"
  | "uint64"
  | "int8"
  | "int16"
  | "int32"
  | "int64"
  | "float16"
  | "float32"
  | "float64"
  | "string";

/** An input cannot be given to the model. The message says which, what came and what the model takes. */
export class InputRefused extends Error {
  readonly input: string;

  constructor(input: string, reason: string, options?: ErrorOptions) {
    super(`input "${input}" ${reason}`, options);
    this.name = "InputRefused";
    this.input = input;
  }
}

const TYPE: Readonly<Record<Exclude<Datatype, "BF16">, ValueType>> = {
  BOOL: "bool",
  UINT8: "uint8",
  UINT16: "uint16",
  UINT32: "uint32",
  UINT64: "uint64",
  INT8: "int8",
  INT16: "int16",
  INT32: "int32",
  INT64: "int64",
  FP16: "float16",
  FP32: "float32",
  FP64: "float64",
  BYTES: "string",
};

const DATATYPE = new Map<string, Datatype>(
  Object.entries(TYPE).map(([datatype, type]) => [type, datatype as Datatype]),
);

/** Whether onnxruntime-node can pass values of that type; it cannot pass BF16. */
export function isPassable(datatype: Datatype): datatype is Exclude<Datatype, "BF16"> {
  return datatype in TYPE;
}

/** The values for a run, by name. Throws an InputRefused when they are not what the model takes. */
export function valuesOf(specs: readonly TensorSpec[], inputs: readonly Tensor[]): Record<string, Value> {
  const byName = new Map(inputs.map((tensor) => [tensor.name, tensor]));
  if (byName.size !== inputs.length) {
    const twice = inputs.find((tensor) => byName.get(tensor.name) !== tensor);
    throw new InputRefused(twice?.name ?? "", "came twice");
  }
  for (const name of byName.keys()) {
    if (!specs.some((spec) => spec.name === name)) {
      throw new InputRefused(name, `is not one of the model's: ${specs.map((spec) => spec.name).join(", ")}`);
    }
  }
  return Object.fromEntries(
    specs.map((spec) => {
      const tensor = byName.get(spec.name);
      if (tensor === undefined) throw new InputRefused(spec.name, `is missing: ${formOf(spec)}`);
      return [spec.name, valueOf(spec, tensor)];
    }),
  );
}

/** A result as a tensor. Throws an Error when onnxruntime answers with something that no response can carry. */
export function tensorOf(name: string, { type, dims, data }: Value): Tensor {
  const datatype = DATATYPE.get(type);
  if (datatype === undefined) throw new Error(`output "${name}" has the type ${type}`);
  if (!isTexts(data)) return { name, datatype, shape: dims, data };
  const encoder = new TextEncoder();
  return { name, datatype, shape: dims, data: data.map((text) => encoder.encode(text)) };
}

/** What to transfer with values: each buffer once, as an output that is an input may share it. */
export function buffersOf(values: readonly Value[]): ArrayBuffer[] {
  const buffers = values.flatMap(({ data }) =>
    ArrayBuffer.isView(data) ? [data.buffer as ArrayBuffer] : [],
  );
  return [...new Set(buffers)];
}

const isTexts = (data: Value["data"]): data is readonly string[] => Array.isArray(data);
const formOf = ({ datatype, shape }: TensorSpec): string => `${datatype} [${shape.join(", ")}]`;

function valueOf(spec: TensorSpec, { name, datatype, shape, data }: Tensor): Value {
  const refuse = (reason: string): InputRefused => new InputRefused(name, reason);
  if (datatype !== spec.datatype) throw refuse(`is ${datatype}, the model takes ${formOf(spec)}`);
  if (
    shape.length !== spec.shape.length ||
    !shape.every(
      (size, i) => Number.isSafeInteger(size) && size >= 0 && [-1, size].includes(spec.shape[i] ?? NaN),
    )
  ) {
    throw refuse(`has the shape [${shape.join(", ")}], the model takes ${formOf(spec)}`);
  }
  const values = elements(shape);
  if (data.length !== values)
    throw refuse(`has ${data.length} values, its shape [${shape.join(", ")}] ${values}`);
  if (!isPassable(datatype)) throw refuse(`is ${datatype}, which onnxruntime-node cannot pass`);
  const type = TYPE[datatype];
  if (datatype === "BYTES") {
    if (!Array.isArray(data))
      throw refuse(`has ${data.constructor.name} for its values, not a list of Uint8Array`);
    return { type, dims: shape, data: textsOf(name, data as readonly Uint8Array[]) };
  }
  if (!(data instanceof ARRAYS[datatype])) {
    throw refuse(`has ${data.constructor.name} for its values, not ${ARRAYS[datatype].name}`);
  }
  return { type, dims: shape, data };
}

function textsOf(name: string, data: readonly Uint8Array[]): string[] {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  return data.map((bytes, i) => {
    // onnxruntime-node passes text up to its first NUL.
    if (bytes.includes(0))
      throw new InputRefused(name, `has a NUL in element ${i}, which would cut it short`);
    try {
      return decoder.decode(bytes);
    } catch (cause) {
      throw new InputRefused(name, `is not UTF-8 in element ${i}`, { cause });
    }
  });
}
