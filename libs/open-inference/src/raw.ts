import { ProtocolError, quoted } from "./error.ts";
import { INFER_LIMITS, type InferLimits } from "./infer.ts";
import { allocate, SMALL_BYTES_MAX } from "./memory.ts";
import {
  ARRAYS,
  checkShape,
  type Datatype,
  ELEMENT_BYTES,
  type NumericData,
  type NumericDatatype,
  shapeText,
  type Tensor,
  type TensorData,
} from "./tensor.ts";

/** Bytes before each element of a BYTES tensor: its length, little-endian. */
const LENGTH_BYTES = 4;

/**
 * The raw form of a tensor's values: little-endian, row-major, no padding; a BYTES element is a 4-byte length and its
 * bytes. It is the values' own memory except for BYTES, so it changes with them.
 */
export function tensorBytes({ datatype, data }: Pick<Tensor, "datatype" | "data">): Uint8Array {
  if (datatype !== "BYTES") {
    const { buffer, byteOffset, byteLength } = data as NumericData;
    return new Uint8Array(buffer, byteOffset, byteLength);
  }
  const values = data as readonly Uint8Array[];
  let total = 0;
  for (const element of values) total += LENGTH_BYTES + element.length;
  const bytes = allocate(total);
  let at = 0;
  for (const element of values) {
    writeUint32(bytes, at, element.length);
    bytes.set(element, at + LENGTH_BYTES);
    at += LENGTH_BYTES + element.length;
  }
  return bytes;
}

/**
 * The tensor whose raw form is `bytes`; `of` has a shape without -1. The values are a view of `bytes` where its memory
 * is aligned, else a copy. Throws a ProtocolError when shape and bytes do not agree.
 */
export function tensorFrom(
  of: Pick<Tensor, "name" | "datatype" | "shape">,
  bytes: Uint8Array,
  limits: InferLimits = INFER_LIMITS,
): Tensor {
  const field = `tensor ${quoted(of.name)}`;
  const count = checkShape(of.shape, field);
  checkBytesElements(of.datatype === "BYTES" ? count : 0, field, limits);
  const { name, datatype, shape } = of;
  return { name, datatype, shape, data: valuesAt(of, count, bytes, 0, bytes.length, field, limits) };
}

/** `count`: elements of all BYTES tensors of a message. */
export function checkBytesElements(count: number, field: string, limits: InferLimits): void {
  if (count <= limits.bytesElements) return;
  throw new ProtocolError(
    field,
    `${count} BYTES elements, expected at most ${limits.bytesElements} in a message`,
  );
}

/** What a reader may do with the memory of a message: look at it, or move values in it to where they can be viewed. */
export type Ownership = "shared" | "owned";

/** A raw field of more than 4 KB begins with a tag of one byte and a length of at least two. */
const FIELD_HEAD_BYTES = 3;

/** The `count` values whose raw form is bytes [start, end). */
export function valuesAt(
  of: { readonly datatype: Datatype; readonly shape: readonly number[] },
  count: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  field: string,
  limits: InferLimits,
  ownership: Ownership = "shared",
): TensorData {
  const { datatype } = of;
  if (datatype === "BYTES") return elementsAt(count, bytes, start, end, field, limits);
  const size = ELEMENT_BYTES[datatype];
  if (end - start !== count * size) {
    const expected = `${count * size} (${datatype} ${shapeText(of.shape)})`;
    throw new ProtocolError(field, `${end - start} bytes, expected ${expected}`);
  }
  if (datatype === "BOOL") checkBools(bytes, start, end, field);
  const offset = bytes.byteOffset + start;
  const shift = offset % size;
  if (shift === 0) return new ARRAYS[datatype](bytes.buffer, offset, count);
  if (ownership === "owned" && end - start > SMALL_BYTES_MAX && shift <= FIELD_HEAD_BYTES) {
    // Over the head of their own field, which has been read.
    bytes.copyWithin(start - shift, start, end);
    return new ARRAYS[datatype](bytes.buffer, offset - shift, count);
  }
  const copy = allocate(end - start);
  copyBytes(bytes, start, end, copy, 0);
  return new ARRAYS[datatype](copy.buffer, copy.byteOffset, count);
}

export function zeros(datatype: NumericDatatype, count: number): NumericData {
  const { buffer, byteOffset } = allocate(count * ELEMENT_BYTES[datatype]);
  return new ARRAYS[datatype](buffer, byteOffset, count);
}

/** A call of `set` and its `subarray` cost as much as about 48 bytes one by one. */
export function copyBytes(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): void {
  if (end - start > 48) to.set(from.subarray(start, end), at);
  else for (let i = start; i < end; i++) to[at + i - start] = from[i] as number;
}

function elementsAt(
  count: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  field: string,
  limits: InferLimits,
): readonly Uint8Array[] {
  const values: Uint8Array[] = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    const length = end - at < LENGTH_BYTES ? -1 : readUint32(bytes, at);
    at += LENGTH_BYTES;
    if (length < 0 || length > end - at) {
      throw new ProtocolError(
        field,
        `the bytes end within element ${i} of ${count}; each is a 4-byte length and its bytes`,
      );
    }
    checkElementBytes(length, i, field, limits);
    values.push(bytes.subarray(at, at + length));
    at += length;
  }
  if (at === end) return values;
  throw new ProtocolError(field, `${end - at} bytes after the last of ${count} elements`);
}

export function checkElementBytes(length: number, index: number, field: string, limits: InferLimits): void {
  if (length <= limits.elementBytes) return;
  throw new ProtocolError(
    field,
    `element ${index} of ${length} bytes, expected at most ${limits.elementBytes}`,
  );
}

function checkBools(bytes: Uint8Array, start: number, end: number, field: string): void {
  for (let i = start; i < end; i++) {
    if ((bytes[i] as number) <= 1) continue;
    throw new ProtocolError(field, `BOOL ${bytes[i]} at element ${i - start}, expected 0 or 1`);
  }
}

function readUint32(bytes: Uint8Array, at: number): number {
  const low = (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
  return low + (bytes[at + 3] as number) * 2 ** 24;
}

function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < LENGTH_BYTES; i++) bytes[at + i] = value >>> (8 * i);
}
