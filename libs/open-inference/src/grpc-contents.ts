import { ProtocolError } from "./error.ts";
import type { InferLimits } from "./infer.ts";
import { checkElementBytes, copyBytes, tensorBytes, zeros } from "./raw.ts";
import {
  type Datatype,
  ELEMENT_BYTES,
  type NumericData,
  shapeText,
  type Tensor,
  type TensorData,
} from "./tensor.ts";
import { DELIMITED, FIXED32, FIXED64, VARINT, type WireReader } from "./wire-reader.ts";
import type { WireWriter } from "./wire-writer.ts";

/** Names of the fields of InferTensorContents by number. */
const FIELDS = [
  "",
  "bool_contents",
  "int_contents",
  "int64_contents",
  "uint_contents",
  "uint64_contents",
  "fp32_contents",
  "fp64_contents",
  "bytes_contents",
] as const;

/** By number, how one value is written. */
const WIRES = [0, VARINT, VARINT, VARINT, VARINT, VARINT, FIXED32, FIXED64, DELIMITED] as const;

/** The field that carries the values of a datatype; 0: it has no typed form. */
const FIELD_OF: Readonly<Record<Datatype, number>> = {
  BOOL: 1,
  INT8: 2,
  INT16: 2,
  INT32: 2,
  INT64: 3,
  UINT8: 4,
  UINT16: 4,
  UINT32: 4,
  UINT64: 5,
  FP16: 0,
  BF16: 0,
  FP32: 6,
  FP64: 7,
  BYTES: 8,
};

const FP32_FIELD = 6;
const BYTES_FIELD = 8;

/** Whether InferTensorContents can carry the datatype. */
export function hasTypedForm(datatype: Datatype): boolean {
  return FIELD_OF[datatype] !== 0;
}

/**
 * The `count` values of a tensor from its InferTensorContents messages at `ranges` (start and end of each; several are
 * merged, as protobuf wants it). They are counted before memory is taken.
 */
export function readContents(
  reader: WireReader,
  ranges: readonly number[],
  of: { readonly datatype: Datatype; readonly shape: readonly number[] },
  count: number,
  field: string,
  limits: InferLimits,
): TensorData {
  const { datatype } = of;
  const found = countValues(reader, ranges, datatype, field);
  if (found !== count) {
    const expected = `${count} (${datatype} ${shapeText(of.shape)})`;
    const remedy = hasTypedForm(datatype) ? "" : `: ${datatype} has no typed form, send raw_input_contents`;
    throw new ProtocolError(field, `${found} values, expected ${expected}${remedy}`);
  }
  if (datatype === "BYTES") return readElements(reader, ranges, field, limits);
  const values = zeros(datatype, count);
  if (ELEMENT_BYTES[datatype] === 8 || datatype === "FP32") readWide(reader, ranges, datatype, values, field);
  else readNarrow(reader, ranges, datatype, values as Int32Array, field);
  return values;
}

function countValues(
  reader: WireReader,
  ranges: readonly number[],
  datatype: Datatype,
  field: string,
): number {
  const wanted = FIELD_OF[datatype];
  let count = 0;
  forEachRun(reader, ranges, (number, end) => {
    const bytes = end - reader.at;
    if (number !== wanted) {
      if (bytes === 0) return;
      const expected = hasTypedForm(datatype) ? FIELDS[wanted] : "raw_input_contents";
      throw new ProtocolError(field, `${FIELDS[number]} for datatype ${datatype}, expected ${expected}`);
    }
    if (number === BYTES_FIELD) count++;
    else if (number < FP32_FIELD) {
      // The last byte of a varint, and no other, is below 0x80.
      for (let at = reader.at; at < end; at++) if ((reader.bytes[at] as number) < 0x80) count++;
    } else {
      const size = number === FP32_FIELD ? 4 : 8;
      if (bytes % size !== 0) throw new ProtocolError(field, `${bytes} bytes of ${datatype}, ${size} each`);
      count += bytes / size;
    }
  });
  return count;
}

function readElements(
  reader: WireReader,
  ranges: readonly number[],
  field: string,
  limits: InferLimits,
): readonly Uint8Array[] {
  const values: Uint8Array[] = [];
  forEachRun(reader, ranges, (_, end) => {
    checkElementBytes(end - reader.at, values.length, field, limits);
    values.push(reader.bytes.subarray(reader.at, end));
  });
  return values;
}

/** FP32 and FP64 as they are; INT64 and UINT64 by halves, so that none becomes a bigint on its way. */
function readWide(
  reader: WireReader,
  ranges: readonly number[],
  datatype: Datatype,
  values: NumericData,
  field: string,
): void {
  const bytes = tensorBytes({ datatype, data: values });
  const halves = new Int32Array(values.buffer, values.byteOffset, bytes.length >> 2);
  let at = 0;
  forEachRun(reader, ranges, (number, end) => {
    if (number >= FP32_FIELD) {
      copyBytes(reader.bytes, reader.at, end, bytes, at);
      at += end - reader.at;
      return;
    }
    while (reader.at < end) {
      reader.rawVarint(field);
      halves[at++] = reader.low;
      halves[at++] = reader.high;
    }
  });
}

function readNarrow(
  reader: WireReader,
  ranges: readonly number[],
  datatype: Datatype,
  values: Int32Array,
  field: string,
): void {
  const isUnsigned = FIELD_OF[datatype] === 4;
  let at = 0;
  forEachRun(reader, ranges, (_, end) => {
    while (reader.at < end) {
      reader.rawVarint(field);
      let value = isUnsigned ? reader.low >>> 0 : reader.low;
      if (datatype === "BOOL") value = (reader.low | reader.high) === 0 ? 0 : 1;
      values[at] = value;
      if (values[at] !== value) {
        throw new ProtocolError(field, `${value} at element ${at}, expected ${datatype}`);
      }
      at++;
    }
  });
}

/**
 * Visits each run of values: a packed list, one value with a tag of its own (readers accept both), or one element of
 * bytes. The reader stands at its start; `number` is its field.
 */
function forEachRun(
  reader: WireReader,
  ranges: readonly number[],
  visit: (number: number, end: number) => void,
): void {
  for (let i = 0; i < ranges.length; i += 2) {
    reader.at = ranges[i] as number;
    reader.end = ranges[i + 1] as number;
    while (reader.next()) {
      const number = reader.field;
      if (number > BYTES_FIELD) {
        reader.skip();
        continue;
      }
      const outer = reader.end;
      reader.end = runEnd(reader, number);
      visit(number, reader.end);
      reader.at = reader.end;
      reader.leave(outer);
    }
  }
}

function runEnd(reader: WireReader, number: number): number {
  const name = FIELDS[number] as string;
  if (reader.wire === DELIMITED) return reader.delimited(name);
  reader.expect(WIRES[number] as number, name);
  const start = reader.at;
  reader.skip();
  const end = reader.at;
  reader.at = start;
  return end;
}

/** Writes the values as InferTensorContents, numbers packed; the datatype has a typed form. */
export function writeContents(writer: WireWriter, { datatype, data }: Tensor): void {
  const field = FIELD_OF[datatype];
  if (datatype === "BYTES") {
    const values = data as readonly Uint8Array[];
    for (let i = values.length - 1; i >= 0; i--) {
      const before = writer.length;
      writer.raw(values[i] as Uint8Array);
      writer.delimit(field, before);
    }
    return;
  }
  const values = data as NumericData;
  if (values.length === 0) return;
  const before = writer.length;
  if (field >= FP32_FIELD) {
    writer.raw(tensorBytes({ datatype, data }));
  } else if (ELEMENT_BYTES[datatype] === 8) {
    const halves = new Int32Array(values.buffer, values.byteOffset, 2 * values.length);
    for (let i = halves.length - 2; i >= 0; i -= 2) {
      writer.uint64(halves[i] as number, halves[i + 1] as number);
    }
  } else {
    for (let i = values.length - 1; i >= 0; i--) writer.int64(values[i] as number);
  }
  writer.delimit(field, before);
}
