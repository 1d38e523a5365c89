import { ProtocolError } from "./error.ts";
import { readContents } from "./grpc-contents.ts";
import { readParameter } from "./grpc-parameters.ts";
import {
  INFER_LIMITS,
  type InferLimits,
  type InferRequest,
  type InferResponse,
  NO_PARAMETERS,
  type Parameter,
  type Parameters,
  type RequestedOutput,
  refuseSharedMemory,
} from "./infer.ts";
import { checkBytesElements, type Ownership, valuesAt } from "./raw.ts";
import { checkShape, type Datatype, parseDatatype, RANK_MAX, type Tensor } from "./tensor.ts";
import { DELIMITED, WireReader } from "./wire-reader.ts";

/**
 * Reads a ModelInferRequest. Raw values are views of `bytes` where its memory is aligned, else copies; of a message that
 * is "owned" large ones are moved within it instead, after which it cannot be read again. Throws a ProtocolError for
 * whatever the bytes are wrong about, and nothing else.
 */
export function decodeInferRequest(
  bytes: Uint8Array,
  limits: InferLimits = INFER_LIMITS,
  ownership: Ownership = "shared",
): InferRequest {
  const { head, tensors, outputs, raw } = decode(bytes, limits, REQUEST, ownership);
  return { ...head, inputs: tensors, outputs, raw };
}

/** Reads a ModelInferResponse, in the manner of `decodeInferRequest`. */
export function decodeInferResponse(bytes: Uint8Array, limits: InferLimits = INFER_LIMITS): InferResponse {
  const { head, tensors } = decode(bytes, limits, RESPONSE, "shared");
  return { ...head, outputs: tensors };
}

/** What the two messages call their tensors, and where they differ; field 6 of a request is its requested outputs. */
interface Form {
  readonly tensors: string;
  readonly raw: string;
  readonly rawField: number;
}

const REQUEST: Form = { tensors: "inputs", raw: "raw_input_contents", rawField: 7 };
const RESPONSE: Form = { tensors: "outputs", raw: "raw_output_contents", rawField: 6 };
const REQUESTED_OUTPUTS = 6;

/** A tensor before its values are read: they may stand anywhere in the message. */
interface Draft {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  /** Start and end of each InferTensorContents. */
  readonly contents: readonly number[] | null;
}

const NO_CONTENTS: readonly number[] = [];
const NO_OUTPUTS: readonly RequestedOutput[] = [];

interface Decoded {
  readonly head: {
    readonly modelName: string;
    readonly modelVersion: string;
    readonly id: string;
    readonly parameters: Parameters;
  };
  readonly tensors: readonly Tensor[];
  readonly outputs: readonly RequestedOutput[];
  readonly raw: boolean;
}

function decode(bytes: Uint8Array, limits: InferLimits, form: Form, ownership: Ownership): Decoded {
  if (bytes.length > limits.messageBytes) {
    throw new ProtocolError("message", `${bytes.length} bytes, expected at most ${limits.messageBytes}`);
  }
  const reader = new WireReader(bytes);
  let modelName = "";
  let modelVersion = "";
  let id = "";
  let parameters: Map<string, Parameter> | null = null;
  const drafts: Draft[] = [];
  let outputs: RequestedOutput[] | null = null;
  /** Start and end of each entry. */
  const raw: number[] = [];
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        modelName = reader.text("model_name", limits.textBytes);
        break;
      case 2:
        modelVersion = reader.text("model_version", limits.textBytes);
        break;
      case 3:
        id = reader.text("id", limits.textBytes);
        break;
      case 4:
        parameters ??= new Map();
        readParameter(reader, parameters, "parameters", limits);
        break;
      case 5:
        checkCount(drafts.length + 1, form.tensors, limits);
        try {
          drafts.push(readDraft(reader, limits));
        } catch (error) {
          throw ProtocolError.within(`${form.tensors}[${drafts.length}]`, error);
        }
        break;
      case form.rawField: {
        const end = reader.delimited(form.raw);
        checkCount((raw.length >> 1) + 1, form.raw, limits);
        raw.push(reader.at, end);
        reader.at = end;
        break;
      }
      case REQUESTED_OUTPUTS:
        outputs ??= [];
        checkCount(outputs.length + 1, "outputs", limits);
        try {
          outputs.push(readRequestedOutput(reader, limits));
        } catch (error) {
          throw ProtocolError.within(`outputs[${outputs.length}]`, error);
        }
        break;
      default:
        reader.skip();
    }
  }
  return {
    head: { modelName, modelVersion, id, parameters: parameters ?? NO_PARAMETERS },
    tensors: readValues(reader, drafts, raw, form, limits, ownership),
    outputs: outputs ?? NO_OUTPUTS,
    raw: raw.length > 0,
  };
}

function checkCount(count: number, field: string, limits: InferLimits): void {
  if (count <= limits.tensors) return;
  throw new ProtocolError(field, `more than ${limits.tensors} entries, expected at most so many`);
}

/** Both tensor messages have the same fields. */
function readDraft(reader: WireReader, limits: InferLimits): Draft {
  let name = "";
  let datatype = "";
  const shape: number[] = [];
  let contents: number[] | null = null;
  let parameters: Map<string, Parameter> | null = null;
  const outer = reader.enter("tensor");
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        name = reader.text("name", limits.textBytes);
        break;
      case 2:
        datatype = reader.text("datatype", limits.textBytes);
        break;
      case 3:
        readShape(reader, shape);
        break;
      case 4:
        parameters ??= new Map();
        readParameter(reader, parameters, "parameters", limits);
        break;
      case 5: {
        const end = reader.delimited("contents");
        contents ??= [];
        contents.push(reader.at, end);
        reader.at = end;
        break;
      }
      default:
        reader.skip();
    }
  }
  reader.leave(outer);
  if (parameters !== null) refuseSharedMemory(parameters);
  return { name, datatype: parseDatatype(datatype), shape, contents };
}

/** Packed or not, as readers of repeated numbers accept both. */
function readShape(reader: WireReader, shape: number[]): void {
  if (reader.wire !== DELIMITED) {
    reader.varint("shape");
    pushDimension(reader, shape);
    return;
  }
  const outer = reader.enter("shape");
  while (reader.at < reader.end) {
    reader.rawVarint("shape");
    pushDimension(reader, shape);
  }
  reader.leave(outer);
}

function pushDimension(reader: WireReader, shape: number[]): void {
  if (shape.length === RANK_MAX) throw new ProtocolError("shape", `more than ${RANK_MAX} dimensions`);
  shape.push(reader.signed());
}

function readRequestedOutput(reader: WireReader, limits: InferLimits): RequestedOutput {
  let name = "";
  let parameters: Map<string, Parameter> | null = null;
  const outer = reader.enter("output");
  while (reader.next()) {
    if (reader.field === 1) name = reader.text("name", limits.textBytes);
    else if (reader.field === 2) {
      parameters ??= new Map();
      readParameter(reader, parameters, "parameters", limits);
    } else reader.skip();
  }
  reader.leave(outer);
  if (parameters !== null) refuseSharedMemory(parameters);
  return { name, parameters: parameters ?? NO_PARAMETERS };
}

/** Pairs the drafts with their values. If raw values are used for one tensor they are used for all, in their order. */
function readValues(
  reader: WireReader,
  drafts: readonly Draft[],
  raw: readonly number[],
  form: Form,
  limits: InferLimits,
  ownership: Ownership,
): readonly Tensor[] {
  const isRaw = raw.length > 0;
  if (isRaw && raw.length !== 2 * drafts.length) {
    const what = `${raw.length >> 1} entries, expected one for each of ${drafts.length} ${form.tensors}`;
    throw new ProtocolError(form.raw, what);
  }
  const tensors: Tensor[] = [];
  let bytesElements = 0;
  for (let i = 0; i < drafts.length; i++) {
    const draft = drafts[i] as Draft;
    const { name, datatype, shape, contents } = draft;
    try {
      const count = checkShape(shape, "shape");
      if (datatype === "BYTES") {
        bytesElements += count;
        checkBytesElements(bytesElements, "shape", limits);
      }
      if (isRaw && contents !== null) {
        throw new ProtocolError("contents", `both these and ${form.raw}, expected one form for all values`);
      }
      const data = isRaw
        ? valuesAt(
            draft,
            count,
            reader.bytes,
            raw[2 * i] as number,
            raw[2 * i + 1] as number,
            form.raw,
            limits,
            ownership,
          )
        : readContents(reader, contents ?? NO_CONTENTS, draft, count, "contents", limits);
      tensors.push({ name, datatype, shape, data });
    } catch (error) {
      throw ProtocolError.within(`${form.tensors}[${i}]`, error);
    }
  }
  return tensors;
}
