import { ProtocolError, quoted } from "./error.ts";
import { fromBfloat, fromHalf, toBfloat, toHalf } from "./half.ts";
import type { InferLimits } from "./infer.ts";
import type { JsonReader } from "./json-reader.ts";
import { checkElementBytes, zeros } from "./raw.ts";
import { type Datatype, shapeText, type Tensor, type TensorData } from "./tensor.ts";

/**
 * The `count` values of the JSON tensor that starts at `at`: flat, or nested exactly as its shape says. Floats may be
 * null, which is NaN; 64-bit integers may be in quotes; BYTES are text, whose bytes are UTF-8.
 */
export function readJsonData(
  reader: JsonReader,
  at: number,
  of: { readonly datatype: Datatype; readonly shape: readonly number[] },
  count: number,
  limits: InferLimits,
): TensorData {
  const { datatype, shape } = of;
  const expected = `${count} (${datatype} ${shapeText(shape)})`;
  reader.at = at;
  // A value takes a byte and a comma: memory is taken only for values that may be there.
  if (2 * count - 1 > reader.end - at)
    throw new ProtocolError("data", `too few values, expected ${expected}`);
  const values: TensorData = datatype === "BYTES" ? [] : zeros(datatype, count);
  const read = valueReader(reader, datatype, values, limits);
  let done = 0;
  const value = (): void => {
    if (done === count) throw new ProtocolError("data", `more values, expected ${expected}`);
    read(done++);
  };
  const nested = (depth: number): void => {
    const isLast = depth >= shape.length - 1;
    const items = reader.array(() => (isLast ? value() : nested(depth + 1)));
    if (depth < shape.length && items === shape[depth]) return;
    throw new ProtocolError(
      "data",
      `${items} items at depth ${depth}, expected nesting as ${shapeText(shape)}`,
    );
  };
  if (reader.isNested()) nested(0);
  else reader.array(value);
  if (done !== count) throw new ProtocolError("data", `${done} values, expected ${expected}`);
  return values;
}

/** Reads the value of an element into its place. */
function valueReader(
  reader: JsonReader,
  datatype: Datatype,
  values: TensorData,
  limits: InferLimits,
): (index: number) => void {
  switch (datatype) {
    case "FP32":
    case "FP64": {
      const floats = values as Float64Array;
      const isSingle = datatype === "FP32";
      return (index) => {
        floats[index] = reader.float(isSingle);
      };
    }
    case "FP16":
    case "BF16": {
      const bits = values as Uint16Array;
      const convert = datatype === "FP16" ? toHalf : toBfloat;
      return (index) => {
        bits[index] = convert(reader.float(false));
      };
    }
    case "BOOL": {
      const bools = values as Uint8Array;
      return (index) => {
        bools[index] = reader.boolean() ? 1 : 0;
      };
    }
    case "INT64":
    case "UINT64": {
      const integers = values as BigInt64Array;
      return (index) => {
        const value = reader.integer("data");
        integers[index] = value;
        if (integers[index] !== value) throw beyond(value, index, datatype);
      };
    }
    case "BYTES": {
      const elements = values as Uint8Array[];
      return (index) => {
        const bytes = reader.textBytes();
        checkElementBytes(bytes.length, index, "data", limits);
        elements.push(bytes);
      };
    }
    default: {
      const integers = values as Int32Array;
      return (index) => {
        const value = reader.number();
        integers[index] = value;
        if (integers[index] !== value) throw beyond(value, index, datatype);
      };
    }
  }
}

function beyond(value: number | bigint, index: number, datatype: Datatype): ProtocolError {
  return new ProtocolError("data", `${value} at element ${index}, expected ${datatype}`);
}

/**
 * The values as a flat JSON array. What JSON has no number for (NaN, infinities) becomes null. Throws a ProtocolError
 * for BYTES that are no UTF-8: only binary data can carry them.
 */
export function jsonData({ name, datatype, data }: Tensor): string {
  switch (datatype) {
    case "FP32":
    case "FP64":
      return floatsText(data as Float64Array);
    case "FP16":
      return floatsText(Float64Array.from(data as Uint16Array, fromHalf));
    case "BF16":
      return floatsText(Float64Array.from(data as Uint16Array, fromBfloat));
    case "BOOL":
      return `[${Array.from(data as Uint8Array, Boolean).join(",")}]`;
    case "BYTES":
      return `[${(data as readonly Uint8Array[]).map((bytes) => elementText(bytes, name)).join(",")}]`;
    default:
      return `[${(data as Int32Array).join(",")}]`;
  }
}

function floatsText(values: Float32Array | Float64Array): string {
  const text = `[${values.join(",")}]`;
  // Most tensors are finite: looked at only as text, in one pass.
  return /[NI]/.test(text) ? text.replace(/NaN|-?Infinity/g, "null") : text;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function elementText(bytes: Uint8Array, name: string): string {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new ProtocolError(
      `output ${quoted(name)}`,
      "BYTES that are no text: ask for it with binary_data true",
    );
  }
  return JSON.stringify(text);
}
