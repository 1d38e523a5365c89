import type { InferTensorContents, ModelInferRequest, ModelInferResponse } from "@millrace/contracts";
import { MODEL_INPUT, MODEL_OUTPUT } from "@millrace/lines";
import { quoted, Refusal } from "./refusal.ts";

/** Most rows of one request. */
export const ROWS_MAX: number = 4_096;

/** Feature values of one request, ready for a model. */
export interface FeatureTensor {
  /** [rows x features], row-major, NaN where a value is not known. A copy: the request may go. */
  readonly matrix: Float32Array;
  readonly rows: number;
  /** Whether the request used raw contents; then the response does, too. */
  readonly raw: boolean;
}

/** How to read one datatype: its bytes in raw contents, and its list in typed contents. */
interface Datatype {
  readonly bytes: number;
  readonly list: keyof InferTensorContents & `${string}Contents`;
  readonly read: (view: DataView, at: number) => number;
}

const DATATYPES: Readonly<Record<string, Datatype>> = {
  FP32: { bytes: 4, list: "fp32Contents", read: (view, at) => view.getFloat32(at, true) },
  FP64: { bytes: 8, list: "fp64Contents", read: (view, at) => view.getFloat64(at, true) },
  INT32: { bytes: 4, list: "intContents", read: (view, at) => view.getInt32(at, true) },
  INT64: { bytes: 8, list: "int64Contents", read: (view, at) => Number(view.getBigInt64(at, true)) },
};

const LISTS = [
  "boolContents",
  "intContents",
  "int64Contents",
  "uintContents",
  "uint64Contents",
  "fp32Contents",
  "fp64Contents",
  "bytesContents",
] as const satisfies readonly (keyof InferTensorContents)[];

/**
 * Reads the one input of a request: `features` [rows, features] as FP32, or as FP64, INT32 or INT64, which become
 * FP32. NaN says that a value is not known. Everything is checked before memory is taken for it.
 * Throws a Refusal that names the field, what came and what is expected.
 */
export function decodeFeatures(request: ModelInferRequest, features: number): FeatureTensor {
  const [input, ...others] = request.inputs;
  if (input === undefined || others.length > 0) {
    refuse("inputs", `${request.inputs.length} tensors`, `one, named "${MODEL_INPUT}"`);
  }
  if (input.name !== MODEL_INPUT) refuse("inputs[0].name", quoted(input.name), `"${MODEL_INPUT}"`);
  const datatype = Object.hasOwn(DATATYPES, input.datatype) ? DATATYPES[input.datatype] : undefined;
  if (datatype === undefined) {
    refuse("inputs[0].datatype", quoted(input.datatype), "FP32 (or FP64, INT32, INT64: they are converted)");
  }
  const [rowsDimension, width] = input.shape;
  if (input.shape.length !== 2 || rowsDimension === undefined || width !== BigInt(features)) {
    refuse("inputs[0].shape", shapeText(input.shape), `[rows, ${features}]`);
  }
  if (rowsDimension < 1n || rowsDimension > BigInt(ROWS_MAX)) {
    refuse("inputs[0].shape[0]", `${rowsDimension} rows`, `1 to ${ROWS_MAX}`);
  }
  const rows = Number(rowsDimension);
  const values = rows * features;

  const raw = request.rawInputContents.length > 0;
  const filled = LISTS.filter((list) => (input.contents?.[list].length ?? 0) > 0);
  const [stray] = raw ? filled : filled.filter((list) => list !== datatype.list);
  if (stray !== undefined) {
    const expected = raw ? "nothing beside raw_input_contents" : `only ${fieldName(datatype.list)}`;
    refuse("inputs[0].contents", fieldName(stray), `${expected} for ${input.datatype}`);
  }
  const matrix = raw
    ? fromRaw(request.rawInputContents, datatype, values)
    : fromTyped(input.contents, datatype, values);
  const infinite = matrix.findIndex((value) => value === Infinity || value === -Infinity);
  if (infinite >= 0) {
    const at = `[${Math.floor(infinite / features)}, ${infinite % features}]`;
    refuse(`inputs[0] at ${at}`, "an infinite FP32 value", "a finite one, or NaN when it is not known");
  }
  return { matrix, rows, raw };
}

/** Checks the outputs that a request asks for: `score`, or none, which means the same. Throws a Refusal. */
export function checkOutputs(request: ModelInferRequest): void {
  request.outputs.forEach(({ name }, i) => {
    if (name !== MODEL_OUTPUT) refuse(`outputs[${i}].name`, quoted(name), `"${MODEL_OUTPUT}"`);
    if (i > 0) refuse(`outputs[${i}].name`, `${quoted(name)} again`, "each output once");
  });
}

/** The tensor part of a response: `score` FP32 [rows], raw or typed as the request was. */
export function encodeScores(
  scores: Float32Array,
  raw: boolean,
): Pick<ModelInferResponse, "rawOutputContents"> & {
  outputs: { name: string; datatype: string; shape: bigint[]; contents?: { fp32Contents: number[] } }[];
} {
  const output = { name: MODEL_OUTPUT, datatype: "FP32", shape: [BigInt(scores.length)] };
  if (!raw)
    return { outputs: [{ ...output, contents: { fp32Contents: [...scores] } }], rawOutputContents: [] };
  const bytes = new Uint8Array(scores.length * 4);
  const view = new DataView(bytes.buffer);
  scores.forEach((score, i) => view.setFloat32(i * 4, score, true));
  return { outputs: [output], rawOutputContents: [bytes] };
}

function fromRaw(contents: readonly Uint8Array[], datatype: Datatype, values: number): Float32Array {
  const [bytes, ...others] = contents;
  if (bytes === undefined || others.length > 0) {
    refuse("raw_input_contents", `${contents.length} buffers`, "one per input, so one");
  }
  if (bytes.length !== values * datatype.bytes) {
    refuse(
      "raw_input_contents[0]",
      `${bytes.length} bytes`,
      `${values} x ${datatype.bytes} bytes by its shape`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const matrix = new Float32Array(values);
  for (let i = 0; i < values; i++) matrix[i] = datatype.read(view, i * datatype.bytes);
  return matrix;
}

function fromTyped(
  contents: InferTensorContents | undefined,
  datatype: Datatype,
  values: number,
): Float32Array {
  const list = contents?.[datatype.list] ?? [];
  if (list.length !== values) {
    refuse(
      `inputs[0].contents.${fieldName(datatype.list)}`,
      `${list.length} values`,
      `${values} by its shape`,
    );
  }
  const matrix = new Float32Array(values);
  for (let i = 0; i < values; i++) matrix[i] = Number(list[i]);
  return matrix;
}

function refuse(field: string, came: string, expected: string): never {
  throw new Refusal("invalidArgument", `${field}: ${came}, expected ${expected}`);
}

function shapeText(shape: readonly bigint[]): string {
  return shape.length > 8 ? `${shape.length} dimensions` : `[${shape.join(", ")}]`;
}

/** `fp32Contents` as the protocol spells it: `fp32_contents`. */
function fieldName(list: string): string {
  return list.replace("Contents", "_contents");
}
