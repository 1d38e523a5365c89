import { onnx } from "@millrace/contracts";
import { type GraphOutline, type NodeOutline, type TensorOutline, VALUES_KEPT } from "./outline.ts";

/**
 * A bound from below on the number of values that operators make from constants alone: what a few bytes of model can
 * ask for before the first request (microsoft/onnxruntime#28730, #28055). Sizes that depend on a request, or that the
 * model computes first, are not seen here: they need a limit of the process.
 */
export function valuesFromConstants(graph: GraphOutline): number {
  const constants = constantsOf(graph);
  return graph.nodes.reduce((sum, node) => sum + (OUTPUT_VALUES[node.opType]?.(node, constants) ?? 0), 0);
}

/**
 * Why the data of a tensor does not fill its shape exactly; null when it does. A shape without data is how a model of
 * a few bytes asks for any amount of memory (microsoft/onnxruntime#27547).
 */
export function sizeMismatch({ dims, dataType, raw, typedValues }: TensorOutline): string | null {
  if (dims.some((dim) => dim < 0n)) return `has the shape [${dims.join(", ")}]`;
  const values = dims.reduce((product, dim) => product * dim, 1n);
  const bits = BITS[dataType];
  if (raw !== null) {
    if (bits === undefined) return `has raw data of the unknown type ${dataType}`;
    if (typedValues > 0) return "has raw and typed data";
    const expected = (values * BigInt(bits) + 7n) / 8n;
    return BigInt(raw.length) === expected ? null : `has ${raw.length} bytes of data, its shape ${expected}`;
  }
  const perValue = dataType === T.COMPLEX64 || dataType === T.COMPLEX128 ? 2n : 1n;
  // Types of less than 8 bits share one int32: two or four values each.
  const shared = bits !== undefined && bits < 8 ? BigInt(Math.floor(8 / bits)) : 1n;
  const expected = (values * perValue + shared - 1n) / shared;
  return Number(expected) === typedValues ? null : `has ${typedValues} values, its shape ${expected}`;
}

const T = onnx.TensorProto_DataType;

/** Bits of one value in raw data. */
const BITS: Readonly<Record<number, number>> = {
  [T.FLOAT]: 32,
  [T.UINT8]: 8,
  [T.INT8]: 8,
  [T.UINT16]: 16,
  [T.INT16]: 16,
  [T.INT32]: 32,
  [T.INT64]: 64,
  [T.BOOL]: 8,
  [T.FLOAT16]: 16,
  [T.DOUBLE]: 64,
  [T.UINT32]: 32,
  [T.UINT64]: 64,
  [T.COMPLEX64]: 64,
  [T.COMPLEX128]: 128,
  [T.BFLOAT16]: 16,
  [T.FLOAT8E4M3FN]: 8,
  [T.FLOAT8E4M3FNUZ]: 8,
  [T.FLOAT8E5M2]: 8,
  [T.FLOAT8E5M2FNUZ]: 8,
  [T.UINT4]: 4,
  [T.INT4]: 4,
  [T.FLOAT4E2M1]: 4,
};

interface Constant {
  readonly dims: readonly number[];
  readonly values: number;
  /** The first of them. */
  readonly numbers: readonly number[];
}
type Constants = ReadonlyMap<string, Constant>;

function constantsOf(graph: GraphOutline): Constants {
  const constants = new Map<string, Constant>();
  for (const tensor of graph.initializers) constants.set(tensor.name, constantOf(tensor));
  for (const { opType, outputs, attributes } of graph.nodes) {
    const [output] = outputs;
    const [attribute] = attributes;
    if (opType !== "Constant" || output === undefined || attribute === undefined) continue;
    const [tensor] = attribute.tensors;
    const { numbers } = attribute;
    constants.set(
      output,
      tensor === undefined ? { dims: [numbers.length], values: numbers.length, numbers } : constantOf(tensor),
    );
  }
  return constants;
}

function constantOf({ dims, dataType, raw, numbers }: TensorOutline): Constant {
  const sizes = dims.map(Number);
  return {
    dims: sizes,
    values: product(sizes),
    numbers: raw === null ? numbers : rawNumbers(dataType, raw),
  };
}

const READ: Readonly<Record<number, { bytes: number; read: (view: DataView, at: number) => number }>> = {
  [T.INT64]: { bytes: 8, read: (view, at) => Number(view.getBigInt64(at, true)) },
  [T.INT32]: { bytes: 4, read: (view, at) => view.getInt32(at, true) },
  [T.INT16]: { bytes: 2, read: (view, at) => view.getInt16(at, true) },
  [T.FLOAT]: { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
  [T.DOUBLE]: { bytes: 8, read: (view, at) => view.getFloat64(at, true) },
};

function rawNumbers(dataType: number, raw: Uint8Array): number[] {
  const reader = READ[dataType];
  if (reader === undefined) return [];
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const length = Math.min(VALUES_KEPT, Math.floor(raw.length / reader.bytes));
  return Array.from({ length }, (_, i) => reader.read(view, i * reader.bytes));
}

const product = (sizes: readonly number[]): number =>
  sizes.reduce((values, size) => values * Math.max(0, size), 1);

const input = (node: NodeOutline, at: number, constants: Constants): Constant | undefined =>
  constants.get(node.inputs[at] ?? "");

/** Numbers of an input, or in older operator sets of an attribute. */
const numbersOf = (
  node: NodeOutline,
  at: number,
  name: string,
  constants: Constants,
): readonly number[] | undefined =>
  input(node, at, constants)?.numbers ??
  node.attributes.find((attribute) => attribute.name === name)?.numbers;

type OutputValues = (node: NodeOutline, constants: Constants) => number;

/** A shape that is given as input number `at`. */
const shapeAt =
  (at: number): OutputValues =>
  (node, constants) =>
    product(input(node, at, constants)?.numbers ?? [0]);

/** Factors per dimension, times the values of the first input where they are known. */
const scaled =
  (at: number, name: string): OutputValues =>
  (node, constants) => {
    const factors = numbersOf(node, at, name, constants);
    return factors === undefined ? 0 : product(factors) * (input(node, 0, constants)?.values ?? 1);
  };

/** Values in the output as the operators' definitions give them (onnx/docs/Operators.md). */
const OUTPUT_VALUES: Readonly<Record<string, OutputValues>> = {
  ConstantOfShape: shapeAt(0),
  Expand: shapeAt(1),
  CenterCropPad: shapeAt(1),
  AffineGrid: shapeAt(1),
  MaxUnpool: shapeAt(2),
  OneHot: shapeAt(1),
  BlackmanWindow: shapeAt(0),
  HammingWindow: shapeAt(0),
  HannWindow: shapeAt(0),
  Tile: scaled(1, "repeats"),
  Upsample: scaled(1, "scales"),
  Resize: (node, constants) => {
    const sizes = input(node, 3, constants)?.numbers;
    return sizes === undefined
      ? scaled(node.inputs.length === 2 ? 1 : 2, "scales")(node, constants)
      : product(sizes);
  },
  Range: (node, constants) => {
    const [start, limit, delta] = [0, 1, 2].map((at) => input(node, at, constants)?.numbers[0]);
    if (start === undefined || limit === undefined || delta === undefined) return 0;
    return Math.max(0, Math.ceil((limit - start) / delta));
  },
  Pad: (node, constants) => {
    const pads = numbersOf(node, 1, "pads", constants) ?? [];
    const rank = pads.length / 2;
    const dims = input(node, 0, constants)?.dims;
    return pads.length === 0
      ? 0
      : product(pads.slice(0, rank).map((begin, i) => begin + (pads[rank + i] ?? 0) + (dims?.[i] ?? 1)));
  },
};
