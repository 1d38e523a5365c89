import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/**
 * The parts of an ONNX model that inspection looks at (onnx.proto, IR version 14). Weights stay where they are: of
 * their values only the number and the first few are read, because a decoded value takes up to 40 times its bytes.
 */
export interface ModelOutline {
  readonly domains: readonly string[];
  readonly metadata: ReadonlyMap<string, string>;
  readonly graph: GraphOutline | null;
  readonly functions: number;
  readonly trainingGraphs: number;
}

export interface GraphOutline {
  readonly nodes: readonly NodeOutline[];
  readonly initializers: readonly TensorOutline[];
  readonly sparseInitializers: number;
  readonly inputs: readonly ValueOutline[];
  readonly outputs: readonly ValueOutline[];
}

export interface NodeOutline {
  readonly opType: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: readonly AttributeOutline[];
}

export interface AttributeOutline {
  readonly name: string;
  readonly tensors: readonly TensorOutline[];
  /** Number of values in its lists and single values, strings included. */
  readonly values: number;
  /** The first `VALUES_KEPT` of them; none of the strings. */
  readonly numbers: readonly number[];
  readonly hasGraph: boolean;
  readonly isSparse: boolean;
  readonly refersToFunction: boolean;
}

export interface TensorOutline {
  readonly name: string;
  /** A value of TensorProto.DataType. */
  readonly dataType: number;
  readonly dims: readonly bigint[];
  /** The values as bytes, a view into the model; null when they are in a typed field. */
  readonly raw: Uint8Array | null;
  /** Number of values in the typed fields (float_data, int32_data, ...). */
  readonly typedValues: number;
  /** The first `VALUES_KEPT` of them; none of string_data. */
  readonly numbers: readonly number[];
  /** Says anywhere that its values lie outside the model, or are a part of a larger tensor. */
  readonly isExternal: boolean;
}

export interface ValueOutline {
  readonly name: string;
  /** null: not a tensor, or no shape. -1 in the shape: a free dimension. */
  readonly tensor: { readonly dataType: number; readonly shape: readonly number[] } | null;
}

/** Values of a tensor or list that are read: more than any shape has. */
export const VALUES_KEPT: number = 64;
const RANK_MAX = 64;

/** What a model may have in all. */
export interface OutlineLimits {
  /** Messages and names, which are kept: they bound the memory. */
  readonly items: number;
  /** Fields, which are read or skipped one by one: they bound the time. */
  readonly fields: number;
}

/** Reads the outline of a model. Throws an Error when the bytes are not an ONNX model or have more than the limits. */
export function outlineOf(bytes: Uint8Array, limits: OutlineLimits): ModelOutline {
  return readModel(bytes, { ...limits });
}

/** The operators of the graph's nodes, without reading what the nodes or weights hold. Throws as `outlineOf`. */
export function operatorsOf(bytes: Uint8Array, limits: OutlineLimits): string[] {
  const budget: Budget = { ...limits };
  const operators: string[] = [];
  const operator = textField(budget, (text) => void operators.push(text));
  const node = bytesField((message) => readFields(message, budget, { 4: operator }));
  readFields(bytes, budget, { 7: onceField((graph) => readFields(graph, budget, { 1: node })) });
  return operators;
}

/** What is left of the limits. */
type Budget = Mutable<OutlineLimits>;

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] };
type Field = (reader: BinaryReader, wireType: WireType) => void;

/**
 * Reads the named fields of a message and skips the others. Groups, which ONNX does not use and which nest without a
 * length, and fields of another wire type, which another reader could understand in its own way, are errors.
 */
function readFields(bytes: Uint8Array, budget: Budget, fields: Readonly<Record<number, Field>>): void {
  spend(budget);
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    budget.fields -= 1;
    if (budget.fields < 0) throw new Error("more fields than a model has");
    const [number, wireType] = reader.tag();
    if (wireType === WireType.StartGroup || wireType === WireType.EndGroup) throw new Error("a group");
    const field = fields[number];
    if (field === undefined) {
      reader.skip(wireType, number);
      if (reader.pos > reader.len) throw new Error("a field ends behind its message");
    } else field(reader, wireType);
  }
}

function spend(budget: Budget): void {
  budget.items -= 1;
  if (budget.items < 0) throw new Error("more messages and names than a model has");
}

function bytesField(set: (bytes: Uint8Array) => void): Field {
  return (reader, wireType) => {
    expectType(wireType, WireType.LengthDelimited);
    set(reader.bytes());
  };
}

function textField(budget: Budget, set: (text: string) => void): Field {
  return (reader, wireType) => {
    expectType(wireType, WireType.LengthDelimited);
    spend(budget);
    set(reader.string());
  };
}

function varintField(set: (value: bigint) => void): Field {
  return (reader, wireType) => {
    expectType(wireType, WireType.Varint);
    set(BigInt(reader.int64()));
  };
}

function expectType(actual: WireType, expected: WireType): void {
  if (actual !== expected) throw new Error(`wire type ${actual} instead of ${expected}`);
}

/** A message that may stand once: protobuf merges a second one into the first, which nobody who looks expects. */
function onceField(set: (bytes: Uint8Array) => void): Field {
  let seen = false;
  return bytesField((bytes) => {
    if (seen) throw new Error("a message stands twice");
    seen = true;
    set(bytes);
  });
}

type Scalar = "varint" | "float" | "double";
const WIDTH: Readonly<Record<Scalar, { wireType: WireType; read: (reader: BinaryReader) => number }>> = {
  varint: { wireType: WireType.Varint, read: (reader) => Number(reader.int64()) },
  float: { wireType: WireType.Bit32, read: (reader) => reader.float() },
  double: { wireType: WireType.Bit64, read: (reader) => reader.double() },
};

/** A repeated number, packed or not: `count` gets how many there are, `keep` the first of them. */
function numbersField(kind: Scalar, kept: number[], count: (values: number) => void): Field {
  const { wireType: single, read } = WIDTH[kind];
  return (reader, wireType) => {
    if (wireType === single) {
      const value = read(reader);
      if (kept.length < VALUES_KEPT) kept.push(value);
      count(1);
      return;
    }
    expectType(wireType, WireType.LengthDelimited);
    const bytes = reader.bytes();
    count(packedLength(kind, bytes));
    const packed = new BinaryReader(bytes);
    while (packed.pos < packed.len && kept.length < VALUES_KEPT) kept.push(read(packed));
  };
}

function packedLength(kind: Scalar, bytes: Uint8Array): number {
  if (kind === "float") return bytes.length / 4;
  if (kind === "double") return bytes.length / 8;
  // Every varint ends with its one byte below 128.
  let values = 0;
  for (let at = 0; at < bytes.length; at++) if ((bytes[at] as number) < 0x80) values += 1;
  return values;
}

function readModel(bytes: Uint8Array, budget: Budget): ModelOutline {
  const domains: string[] = [];
  const metadata = new Map<string, string>();
  let graph: GraphOutline | null = null;
  let functions = 0;
  let trainingGraphs = 0;
  readFields(bytes, budget, {
    7: onceField((message) => void (graph = readGraph(message, budget))),
    8: bytesField((message) => {
      let domain = "";
      readFields(message, budget, { 1: textField(budget, (text) => void (domain = text)) });
      domains.push(domain);
    }),
    14: bytesField((message) => {
      let key = "";
      let value = "";
      readFields(message, budget, {
        1: textField(budget, (text) => void (key = text)),
        2: textField(budget, (text) => void (value = text)),
      });
      metadata.set(key, value);
    }),
    20: bytesField(() => void (trainingGraphs += 1)),
    25: bytesField(() => void (functions += 1)),
  });
  return { domains, metadata, graph, functions, trainingGraphs };
}

function readGraph(bytes: Uint8Array, budget: Budget): GraphOutline {
  const graph: Mutable<GraphOutline> = {
    nodes: [],
    initializers: [],
    sparseInitializers: 0,
    inputs: [],
    outputs: [],
  };
  readFields(bytes, budget, {
    1: bytesField((message) => void graph.nodes.push(readNode(message, budget))),
    5: bytesField((message) => void graph.initializers.push(readTensor(message, budget))),
    11: bytesField((message) => void graph.inputs.push(readValue(message, budget))),
    12: bytesField((message) => void graph.outputs.push(readValue(message, budget))),
    15: bytesField(() => void (graph.sparseInitializers += 1)),
  });
  return graph;
}

function readNode(bytes: Uint8Array, budget: Budget): NodeOutline {
  const node: Mutable<NodeOutline> = { opType: "", domain: "", inputs: [], outputs: [], attributes: [] };
  readFields(bytes, budget, {
    1: textField(budget, (text) => void node.inputs.push(text)),
    2: textField(budget, (text) => void node.outputs.push(text)),
    4: textField(budget, (text) => void (node.opType = text)),
    5: bytesField((message) => void node.attributes.push(readAttribute(message, budget))),
    7: textField(budget, (text) => void (node.domain = text)),
  });
  return node;
}

function readAttribute(bytes: Uint8Array, budget: Budget): AttributeOutline {
  const attribute: Mutable<AttributeOutline> = {
    name: "",
    tensors: [],
    values: 0,
    numbers: [],
    hasGraph: false,
    isSparse: false,
    refersToFunction: false,
  };
  const count = (values: number): void => void (attribute.values += values);
  const tensor = (message: Uint8Array): void => void attribute.tensors.push(readTensor(message, budget));
  const graph = bytesField(() => void (attribute.hasGraph = true));
  const sparse = bytesField(() => void (attribute.isSparse = true));
  readFields(bytes, budget, {
    1: textField(budget, (text) => void (attribute.name = text)),
    2: numbersField("float", attribute.numbers, count),
    3: numbersField("varint", attribute.numbers, count),
    5: onceField(tensor),
    6: graph,
    7: numbersField("float", attribute.numbers, count),
    8: numbersField("varint", attribute.numbers, count),
    9: bytesField(() => count(1)),
    10: bytesField(tensor),
    11: graph,
    21: textField(budget, (text) => void (attribute.refersToFunction = text !== "")),
    22: sparse,
    23: sparse,
  });
  return attribute;
}

function readTensor(bytes: Uint8Array, budget: Budget): TensorOutline {
  const tensor: Mutable<TensorOutline> = {
    name: "",
    dataType: 0,
    dims: [],
    raw: null,
    typedValues: 0,
    numbers: [],
    isExternal: false,
  };
  const count = (values: number): void => void (tensor.typedValues += values);
  const outside = bytesField(() => void (tensor.isExternal = true));
  const addDim = (dim: bigint): void => {
    if (tensor.dims.length === RANK_MAX) throw new Error(`a tensor of more than ${RANK_MAX} dimensions`);
    tensor.dims.push(dim);
  };
  readFields(bytes, budget, {
    1: (reader, wireType) => {
      if (wireType === WireType.Varint) return addDim(BigInt(reader.int64()));
      expectType(wireType, WireType.LengthDelimited);
      const packed = new BinaryReader(reader.bytes());
      while (packed.pos < packed.len) addDim(BigInt(packed.int64()));
    },
    2: varintField((value) => void (tensor.dataType = Number(value))),
    3: outside,
    4: numbersField("float", tensor.numbers, count),
    5: numbersField("varint", tensor.numbers, count),
    6: bytesField(() => count(1)),
    7: numbersField("varint", tensor.numbers, count),
    8: textField(budget, (text) => void (tensor.name = text)),
    9: bytesField((raw) => void (tensor.raw = raw)),
    10: numbersField("double", tensor.numbers, count),
    11: numbersField("varint", tensor.numbers, count),
    13: outside,
    14: varintField((location) => void (tensor.isExternal ||= location !== 0n)),
  });
  return tensor;
}

function readValue(bytes: Uint8Array, budget: Budget): ValueOutline {
  const value: Mutable<ValueOutline> = { name: "", tensor: null };
  const readTensorType = (message: Uint8Array): void => {
    let dataType = 0;
    let shape: number[] | null = null;
    readFields(message, budget, {
      1: varintField((type) => void (dataType = Number(type))),
      2: onceField((dims) => void (shape = readShape(dims, budget))),
    });
    value.tensor = shape === null ? null : { dataType, shape };
  };
  readFields(bytes, budget, {
    1: textField(budget, (text) => void (value.name = text)),
    2: onceField((type) => readFields(type, budget, { 1: onceField(readTensorType) })),
  });
  return value;
}

function readShape(bytes: Uint8Array, budget: Budget): number[] {
  const shape: number[] = [];
  readFields(bytes, budget, {
    1: bytesField((message) => {
      let size = -1;
      readFields(message, budget, {
        1: varintField((value) => void (size = Number(value))),
        2: bytesField(() => void (size = -1)),
      });
      if (shape.length === RANK_MAX) throw new Error(`a tensor of more than ${RANK_MAX} dimensions`);
      shape.push(size);
    }),
  });
  return shape;
}
