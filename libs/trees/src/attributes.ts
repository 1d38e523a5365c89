import { onnx } from "@millrace/contracts";
import { Unsupported } from "./unsupported.ts";

/** The attributes of an operator by name; an absent one is empty. Throws Unsupported for one of another form. */
export class Attributes {
  readonly #operator: string;
  readonly #byName: ReadonlyMap<string, onnx.AttributeProto>;

  constructor(node: onnx.NodeProto) {
    this.#operator = node.opType;
    this.#byName = new Map(node.attribute.map((attribute) => [attribute.name, attribute]));
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  int(name: string, absent: number): number {
    const attribute = this.#byName.get(name);
    return attribute === undefined ? absent : Number(attribute.i);
  }

  text(name: string, absent: string): string {
    const attribute = this.#byName.get(name);
    return attribute === undefined ? absent : decoder.decode(attribute.s);
  }

  ints(name: string): readonly number[] {
    return this.#byName.get(name)?.ints.map(Number) ?? [];
  }

  floats(name: string): readonly number[] {
    return this.#byName.get(name)?.floats ?? [];
  }

  texts(name: string): readonly string[] {
    return this.#byName.get(name)?.strings.map((text) => decoder.decode(text)) ?? [];
  }

  /** The values of a tensor. */
  tensor(name: string): readonly number[] {
    const tensor = this.#byName.get(name)?.t;
    return tensor === undefined ? [] : tensorValues(tensor, `attribute ${name} of ${this.#operator}`);
  }
}

const decoder = new TextDecoder();
const TYPES = onnx.TensorProto_DataType;

/** The values of an FP32, INT64 or UINT8 tensor. `where` names it in the reason of an Unsupported. */
export function tensorValues(tensor: onnx.TensorProto, where: string): readonly number[] {
  if (tensor.externalData.length > 0)
    throw new Unsupported(`${where} lies outside the model (external data)`);
  const raw = tensor.rawData;
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const unpack = (bytes: number, read: (at: number) => number): number[] =>
    Array.from({ length: raw.byteLength / bytes }, (_, i) => read(i * bytes));
  switch (tensor.dataType) {
    case TYPES.FLOAT:
      return raw.byteLength > 0 ? unpack(4, (at) => view.getFloat32(at, true)) : tensor.floatData;
    case TYPES.INT64:
      return raw.byteLength > 0
        ? unpack(8, (at) => Number(view.getBigInt64(at, true)))
        : tensor.int64Data.map(Number);
    case TYPES.UINT8:
      return raw.byteLength > 0 ? [...raw] : tensor.int32Data;
    default:
      throw new Unsupported(`${where} is ${TYPES[tensor.dataType]}, not FLOAT, INT64 or UINT8`);
  }
}
