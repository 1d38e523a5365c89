import { ProtocolError, quoted } from "./error.ts";

/** Datatypes of the Open Inference Protocol, with BF16 as Triton adds it. */
export const DATATYPES = [
  "BOOL",
  "UINT8",
  "UINT16",
  "UINT32",
  "UINT64",
  "INT8",
  "INT16",
  "INT32",
  "INT64",
  "FP16",
  "BF16",
  "FP32",
  "FP64",
  "BYTES",
] as const;
export type Datatype = (typeof DATATYPES)[number];

/**
 * The values of a tensor, row-major. BOOL: Uint8Array of 0 and 1. FP16 and BF16: Uint16Array of their bits. BYTES: one
 * Uint8Array per element. Every other datatype: the typed array of its name (INT64: BigInt64Array, ...).
 */
export type TensorData =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Float32Array
  | Float64Array
  | readonly Uint8Array[];

/** Datatypes whose values stand in a typed array: all but BYTES. */
export type NumericDatatype = Exclude<Datatype, "BYTES">;
export type NumericData = Exclude<TensorData, readonly Uint8Array[]>;

interface NumericArray {
  new (length: number): NumericData;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): NumericData;
}

/** The array that holds the values of a datatype. */
export const ARRAYS: Readonly<Record<NumericDatatype, NumericArray>> = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP16: Uint16Array,
  BF16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
};

/** A tensor with its values. The product of the shape is the number of values. */
export interface Tensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** What a model takes or gives under a name. -1 in the shape: a dimension that the request chooses. */
export interface TensorSpec {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
}

/** Bytes of an element; 0 for BYTES, whose elements have their own lengths. */
export const ELEMENT_BYTES: Readonly<Record<Datatype, number>> = {
  BOOL: 1,
  UINT8: 1,
  UINT16: 2,
  UINT32: 4,
  UINT64: 8,
  INT8: 1,
  INT16: 2,
  INT32: 4,
  INT64: 8,
  FP16: 2,
  BF16: 2,
  FP32: 4,
  FP64: 8,
  BYTES: 0,
};

export const RANK_MAX = 8;

/** Number of elements of a shape without -1; 1 for a scalar, whose shape is []. */
export function elements(shape: readonly number[]): number {
  let product = 1;
  for (const dimension of shape) product *= dimension;
  return product;
}

/**
 * Elements of a stranger's shape. Throws a ProtocolError unless it has at most 8 dimensions, whole numbers from 0, whose
 * product is exact.
 */
export function checkShape(shape: readonly number[], field: string): number {
  if (shape.length > RANK_MAX) {
    throw new ProtocolError(field, `${shape.length} dimensions, expected at most ${RANK_MAX}`);
  }
  let product = 1;
  for (const dimension of shape) {
    if (!Number.isSafeInteger(dimension) || dimension < 0) {
      throw new ProtocolError(field, `${shapeText(shape)}, expected whole numbers from 0`);
    }
    product *= dimension;
  }
  if (Number.isSafeInteger(product)) return product;
  throw new ProtocolError(field, `${shapeText(shape)} has more elements than fit in any memory`);
}

export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

const BY_NAME: ReadonlyMap<string, Datatype> = new Map(DATATYPES.map((datatype) => [datatype, datatype]));

/** The datatype that a stranger names; a ProtocolError when there is none. */
export function parseDatatype(name: string): Datatype {
  const datatype = BY_NAME.get(name);
  if (datatype !== undefined) return datatype;
  throw new ProtocolError("datatype", `${quoted(name)}, expected one of ${DATATYPES.join(", ")}`);
}
