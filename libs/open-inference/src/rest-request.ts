import { ProtocolError, quoted } from "./error.ts";
import {
  INFER_LIMITS,
  type InferLimits,
  type InferRequest,
  NO_PARAMETERS,
  type Parameter,
  type Parameters,
  type RequestedOutput,
  refuseSharedMemory,
} from "./infer.ts";
import { readJsonData } from "./json-data.ts";
import { JsonReader } from "./json-reader.ts";
import { checkBytesElements, checkElementBytes, tensorFrom, valuesAt } from "./raw.ts";
import {
  checkShape,
  type Datatype,
  ELEMENT_BYTES,
  elements,
  parseDatatype,
  RANK_MAX,
  shapeText,
  type Tensor,
  type TensorSpec,
} from "./tensor.ts";

/** What the request's line and headers say, and what the model takes. */
export interface InferBodyOptions {
  readonly modelName: string;
  readonly modelVersion: string;
  /** The header Inference-Header-Content-Length; null where it is missing. */
  readonly headerLength: number | null;
  /** Needed where the header is 0: the body then is the model's only input, and does not say so. */
  readonly inputs: readonly TensorSpec[];
  readonly limits?: InferLimits;
}

/** Which outputs the caller wants as binary data behind the JSON. */
export interface BinaryOutputs {
  readonly byDefault: boolean;
  readonly byName: ReadonlyMap<string, boolean>;
}

export interface ParsedInferBody {
  readonly request: InferRequest;
  readonly binary: BinaryOutputs;
}

/**
 * Reads the body of POST v2/models/{name}/infer: JSON, and behind it the tensors that are `binary_data_size` long (binary
 * tensor data extension, triton-inference-server/server docs/protocol/extension_binary_data.md). Binary values are views
 * of `body` where its memory is aligned. Throws a ProtocolError for whatever the body is wrong about, and nothing else.
 */
export function parseInferBody(body: Uint8Array, options: InferBodyOptions): ParsedInferBody {
  const { headerLength, limits = INFER_LIMITS } = options;
  if (body.length > limits.messageBytes) {
    throw new ProtocolError("body", `${body.length} bytes, expected at most ${limits.messageBytes}`);
  }
  if (headerLength === 0) return rawBody(body, options, limits);
  const jsonLength = headerLength ?? body.length;
  if (!Number.isSafeInteger(jsonLength) || jsonLength < 0 || jsonLength > body.length) {
    const what = `${jsonLength}, expected the length of the JSON within a body of ${body.length} bytes`;
    throw new ProtocolError("Inference-Header-Content-Length", what);
  }
  const reader = new JsonReader(body, jsonLength);
  let id = "";
  let parameters = NO_PARAMETERS;
  let drafts: readonly Draft[] = [];
  let outputs: readonly RequestedOutput[] = [];
  reader.object(limits.textBytes, (key) => {
    switch (key) {
      case "id":
        id = reader.text("id", limits.textBytes);
        break;
      case "parameters":
        parameters = readParameters(reader, limits);
        break;
      case "inputs":
        drafts = readList(reader, "inputs", limits, () => readDraft(reader, limits));
        break;
      case "outputs":
        outputs = readList(reader, "outputs", limits, () => readRequestedOutput(reader, limits));
        break;
      default:
        reader.skip();
    }
  });
  reader.close();
  const { modelName, modelVersion } = options;
  return {
    request: {
      modelName,
      modelVersion,
      id,
      parameters: without(parameters, "binary_data_output"),
      inputs: readValues(reader, body, drafts, limits),
      outputs: outputs.map(({ name, parameters: own }) => ({
        name,
        parameters: without(own, "binary_data"),
      })),
      raw: drafts.some(({ binaryBytes }) => binaryBytes !== null),
    },
    binary: {
      byDefault: binaryFlag(parameters, "binary_data_output") ?? false,
      byName: binaryByName(outputs),
    },
  };
}

/** An input before its values are read: they may stand before their datatype and shape, or behind the JSON. */
interface Draft {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  /** Where its `data` starts; null where there is none. */
  readonly dataAt: number | null;
  readonly binaryBytes: number | null;
}

function readList<T>(reader: JsonReader, field: string, limits: InferLimits, read: () => T): readonly T[] {
  const list: T[] = [];
  reader.array((index) => {
    if (index === limits.tensors) {
      throw new ProtocolError(field, `more than ${limits.tensors} entries, expected at most so many`);
    }
    try {
      list.push(read());
    } catch (error) {
      throw ProtocolError.within(`${field}[${index}]`, error);
    }
  });
  return list;
}

function readDraft(reader: JsonReader, limits: InferLimits): Draft {
  let name = "";
  let datatype = "";
  let shape: readonly number[] = [];
  let dataAt: number | null = null;
  let parameters = NO_PARAMETERS;
  reader.object(limits.textBytes, (key) => {
    switch (key) {
      case "name":
        name = reader.text("name", limits.textBytes);
        break;
      case "datatype":
        datatype = reader.text("datatype", limits.textBytes);
        break;
      case "shape":
        shape = readShape(reader);
        break;
      case "parameters":
        parameters = readParameters(reader, limits);
        break;
      case "data":
        reader.peek();
        dataAt = reader.at;
        reader.pass();
        break;
      default:
        reader.skip();
    }
  });
  const binaryBytes = parameters.get("binary_data_size");
  if (binaryBytes === undefined) {
    return { name, datatype: parseDatatype(datatype), shape, dataAt, binaryBytes: null };
  }
  if (typeof binaryBytes === "bigint" && binaryBytes >= 0n && binaryBytes <= limits.messageBytes) {
    return { name, datatype: parseDatatype(datatype), shape, dataAt, binaryBytes: Number(binaryBytes) };
  }
  throw new ProtocolError("parameters.binary_data_size", `${binaryBytes}, expected a number of bytes`);
}

function readShape(reader: JsonReader): readonly number[] {
  const shape: number[] = [];
  reader.array((index) => {
    if (index === RANK_MAX) throw new ProtocolError("shape", `more than ${RANK_MAX} dimensions`);
    shape.push(reader.number());
  });
  return shape;
}

function readRequestedOutput(reader: JsonReader, limits: InferLimits): RequestedOutput {
  let name = "";
  let parameters = NO_PARAMETERS;
  reader.object(limits.textBytes, (key) => {
    if (key === "name") name = reader.text("name", limits.textBytes);
    else if (key === "parameters") parameters = readParameters(reader, limits);
    else reader.skip();
  });
  return { name, parameters };
}

/** Whole numbers become bigint, as int64 parameters do over gRPC. */
function readParameters(reader: JsonReader, limits: InferLimits): Parameters {
  const parameters = new Map<string, Parameter>();
  reader.object(limits.textBytes, (key) => {
    if (parameters.size === limits.parameters) {
      const what = `more than ${limits.parameters} entries, expected at most so many`;
      throw new ProtocolError("parameters", what);
    }
    parameters.set(key, reader.scalar(`parameters[${quoted(key)}]`, limits.textBytes));
  });
  refuseSharedMemory(parameters);
  return parameters;
}

function without(parameters: Parameters, key: string): Parameters {
  if (!parameters.has(key)) return parameters;
  return new Map([...parameters].filter(([name]) => name !== key));
}

function binaryFlag(parameters: Parameters, key: string): boolean | undefined {
  const value = parameters.get(key);
  if (value === undefined || typeof value === "boolean") return value;
  throw new ProtocolError(`parameters.${key}`, `a ${typeof value}, expected true or false`);
}

function binaryByName(outputs: readonly RequestedOutput[]): ReadonlyMap<string, boolean> {
  const byName = new Map<string, boolean>();
  for (const { name, parameters } of outputs) {
    const isBinary = binaryFlag(parameters, "binary_data");
    if (isBinary !== undefined) byName.set(name, isBinary);
  }
  return byName;
}

/** The values of JSON inputs from their `data`, those of binary inputs from behind the JSON, in their order. */
function readValues(
  reader: JsonReader,
  body: Uint8Array,
  drafts: readonly Draft[],
  limits: InferLimits,
): readonly Tensor[] {
  let binaryAt = reader.end;
  let bytesElements = 0;
  const tensors = drafts.map((draft, i): Tensor => {
    const { name, datatype, shape, dataAt, binaryBytes } = draft;
    try {
      const count = checkShape(shape, "shape");
      if (datatype === "BYTES") {
        bytesElements += count;
        checkBytesElements(bytesElements, "shape", limits);
      }
      if ((dataAt === null) === (binaryBytes === null)) {
        const what = dataAt === null ? "missing" : "both this and binary_data_size";
        throw new ProtocolError("data", `${what}, expected one of data and parameters.binary_data_size`);
      }
      if (dataAt !== null) {
        return { name, datatype, shape, data: readJsonData(reader, dataAt, draft, count, limits) };
      }
      const start = binaryAt;
      binaryAt += binaryBytes as number;
      if (binaryAt > body.length) {
        const what = `${binaryBytes}, expected at most the ${body.length - start} bytes that are left`;
        throw new ProtocolError("parameters.binary_data_size", `${what} behind the JSON`);
      }
      const data = valuesAt(draft, count, body, start, binaryAt, "parameters.binary_data_size", limits);
      return { name, datatype, shape, data };
    } catch (error) {
      throw ProtocolError.within(`inputs[${i}]`, error);
    }
  });
  if (binaryAt === body.length) return tensors;
  throw new ProtocolError("body", `${body.length - binaryAt} bytes behind the last tensor, expected none`);
}

/** A body that is the bytes of the only input: its one dimension -1 follows from their number. Answered in binary. */
function rawBody(body: Uint8Array, options: InferBodyOptions, limits: InferLimits): ParsedInferBody {
  const [spec, ...others] = options.inputs;
  if (spec === undefined || others.length > 0) {
    const what = `a body without JSON, expected only for models with one input; this one has ${options.inputs.length}`;
    throw new ProtocolError("Inference-Header-Content-Length", what);
  }
  return {
    request: {
      modelName: options.modelName,
      modelVersion: options.modelVersion,
      id: "",
      parameters: NO_PARAMETERS,
      inputs: [rawTensor(body, spec, limits)],
      outputs: [],
      raw: true,
    },
    binary: { byDefault: true, byName: new Map() },
  };
}

function rawTensor(body: Uint8Array, spec: TensorSpec, limits: InferLimits): Tensor {
  const { name, datatype } = spec;
  const kind = `${datatype} ${shapeText(spec.shape)}`;
  const free = spec.shape.filter((dimension) => dimension === -1).length;
  const fixed = elements(spec.shape.map((dimension) => (dimension === -1 ? 1 : dimension)));
  if (datatype === "BYTES") {
    if (fixed !== 1 || free > 1) {
      throw new ProtocolError("body", `without JSON for ${kind}, expected only for BYTES of one element`);
    }
    checkElementBytes(body.length, 0, "body", limits);
    return { name, datatype, shape: spec.shape.map(() => 1), data: [body] };
  }
  if (free > 1) {
    throw new ProtocolError("body", `without JSON for ${kind}, expected at most one dimension -1`);
  }
  const bytes = fixed * ELEMENT_BYTES[datatype];
  const size = body.length / bytes;
  if (!Number.isInteger(size) || size < 1 || (free === 0 && size !== 1)) {
    const expected = `${free === 0 ? "" : "a multiple of "}${bytes}`;
    throw new ProtocolError("body", `${body.length} bytes for ${kind}, expected ${expected}`);
  }
  return tensorFrom({ name, datatype, shape: spec.shape.map((d) => (d === -1 ? size : d)) }, body, limits);
}
