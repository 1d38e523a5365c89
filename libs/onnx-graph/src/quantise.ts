import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { onnx } from "@millrace/contracts";
import { attribute, node } from "./graph.ts";
import { inspectModel } from "./inspect.ts";

/** Metadata of a quantised model: how it was made, and the digest of the model that it was made of. */
export const QUANTISED: { readonly method: string; readonly from: string } = {
  method: "millrace.quantised",
  from: "millrace.quantised-from",
};

/** The one method there is. */
export const INT8_DYNAMIC = "int8-dynamic";

export interface QuantisedModel {
  readonly model: Uint8Array;
  /** Weights that became int8. */
  readonly tensors: number;
  /** Below 0 where little was to be saved. */
  readonly bytesSaved: number;
}

/**
 * Replaces the FP32 weights of MatMul and Gemm by int8 ones with a scale per column, and quantises what they are
 * multiplied with on each run, in the operators that onnxruntime's `quantize_dynamic` writes and its optimiser fuses:
 * DynamicQuantizeLinear, MatMulInteger, Cast, Mul. `digest` is the SHA-256 of `bytes`, 64 hex digits. The same bytes
 * give the same model; inputs, outputs and metadata stay. Weights that are no initializer, have not two dimensions or
 * have less than 512 values stay in FP32, as does a Gemm that scales or transposes what comes in.
 *
 * A run has one scale for all its rows: the answer to a row depends a little on the rows beside it.
 */
export function quantiseModel(
  bytes: Uint8Array,
  digest: string,
): QuantisedModel | { readonly unsupported: string } {
  const inspection = inspectModel(bytes);
  if (!inspection.ok) return { unsupported: inspection.reason };
  if (inspection.signature.metadata.has(QUANTISED.method)) return { unsupported: "it is quantised already" };
  const model = fromBinary(onnx.ModelProtoSchema, bytes);
  const opset = Number(model.opsetImport.find(({ domain }) => isStandard(domain))?.version ?? 0n);
  if (opset < OPSET_MIN) {
    return { unsupported: `it has opset ${opset}: export it with opset ${OPSET_MIN} or later` };
  }
  const graph = model.graph as onnx.GraphProto;
  const tensors = quantiseGraph(graph);
  if (tensors === 0) {
    const trees = graph.node.find(({ opType }) => opType.startsWith("TreeEnsemble"));
    return {
      unsupported:
        trees === undefined
          ? `no MatMul or Gemm has FP32 weights of ${VALUES_MIN} values or more`
          : `it is a model of trees (${trees.opType}), which have no weights`,
    };
  }
  for (const [key, value] of [
    [QUANTISED.method, INT8_DYNAMIC],
    [QUANTISED.from, digest],
  ] as const) {
    model.metadataProps.push(create(onnx.StringStringEntryProtoSchema, { key, value }));
  }
  const quantised = toBinary(onnx.ModelProtoSchema, model);
  return { model: quantised, tensors, bytesSaved: bytes.length - quantised.length };
}

/** DynamicQuantizeLinear is of opset 11. */
const OPSET_MIN = 11;
const VALUES_MIN = 512;
/**
 * Weights are whole numbers from -64 to 64: with more, two products with uint8 values overflow the 16 bits in which
 * processors with AVX2 or AVX-512 but without VNNI add them, and the model would answer otherwise there than where it
 * was compared (onnxruntime's `reduce_range`).
 */
const STEPS = 64;
/** Sums of so many products of 255 and 64 fit into int32. */
const ROWS_MAX = 2 ** 17;

const T = onnx.TensorProto_DataType;
const isStandard = (domain: string): boolean => domain === "" || domain === "ai.onnx";

/** [rows, columns], row-major. */
interface Weights {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float32Array;
}

interface QuantisedWeights {
  readonly values: Int8Array;
  /** One per column. */
  readonly scales: Float32Array;
}

/** What stands for a quantised tensor in the graph: whole numbers, and what they are multiples of. */
interface QuantisedNames {
  readonly values: string;
  readonly scale: string;
}

/** Rewrites the graph in place. Answers how many weights became int8. */
function quantiseGraph(graph: onnx.GraphProto): number {
  const initializers = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
  const fresh = freshNames(graph);
  const activations = new Map<string, QuantisedNames & { readonly zero: string }>();
  const weights = new Map<string, QuantisedNames>();
  const nodes: onnx.NodeProto[] = [];
  const add = (...args: Parameters<typeof node>): void =>
    void nodes.push(create(onnx.NodeProtoSchema, node(...args)));

  const quantisedActivation = (name: string): QuantisedNames & { readonly zero: string } => {
    const known = activations.get(name);
    if (known !== undefined) return known;
    const made = { ...namesFor(name, fresh), zero: fresh(`${name}_zero_point`) };
    add("DynamicQuantizeLinear", [name], [made.values, made.scale, made.zero]);
    activations.set(name, made);
    return made;
  };
  const quantisedWeights = (tensor: onnx.TensorProto, transposed: boolean): QuantisedNames | null => {
    const key = `${transposed ? "transposed" : "as it is"} ${tensor.name}`;
    const known = weights.get(key);
    if (known !== undefined) return known;
    const read = readWeights(tensor, transposed);
    if (read === null) return null;
    const made = namesFor(tensor.name, fresh);
    graph.initializer.push(...initializersOf(read, made));
    weights.set(key, made);
    return made;
  };

  for (const one of graph.node) {
    const product = productOf(one);
    const tensor = product === null ? undefined : initializers.get(product.weights);
    const right = tensor && quantisedWeights(tensor, product?.transposed === true);
    if (product === null || !right) {
      nodes.push(one);
      continue;
    }
    const left = quantisedActivation(product.activation);
    const output = one.output[0] as string;
    const whole = fresh(`${output}_int32`);
    const real = fresh(`${output}_float`);
    const scale = fresh(`${output}_scales`);
    const unbiased = product.bias === null ? output : fresh(`${output}_unbiased`);
    add("MatMulInteger", [left.values, right.values, left.zero], [whole]);
    add("Cast", [whole], [real], [attribute.int("to", T.FLOAT)]);
    add("Mul", [left.scale, right.scale], [scale]);
    add("Mul", [real, scale], [unbiased]);
    if (product.bias !== null) add("Add", [unbiased, product.bias], [output]);
  }
  graph.node = nodes;
  removeUnused(graph);
  return weights.size;
}

/** A product with weights that may be quantised: the names of its parts. */
interface Product {
  readonly activation: string;
  readonly weights: string;
  readonly transposed: boolean;
  readonly bias: string | null;
}

/** MatMul, or Gemm where it is a MatMul with a bias; as `quantize_dynamic` takes them. null: another operator. */
function productOf({ opType, domain, input, attribute: given }: onnx.NodeProto): Product | null {
  const [activation, weights, bias] = input;
  if (!isStandard(domain) || activation === undefined || weights === undefined) return null;
  if (opType === "MatMul") return { activation, weights, transposed: false, bias: null };
  if (opType !== "Gemm") return null;
  const find = (name: string): onnx.AttributeProto | undefined => given.find((one) => one.name === name);
  const isPlain =
    (find("alpha")?.f ?? 1) === 1 && (find("beta")?.f ?? 1) === 1 && (find("transA")?.i ?? 0n) === 0n;
  return isPlain
    ? { activation, weights, transposed: (find("transB")?.i ?? 0n) !== 0n, bias: bias || null }
    : null;
}

/** null: weights that stay as they are. */
function readWeights(
  { dims, dataType, rawData, floatData }: onnx.TensorProto,
  transposed: boolean,
): Weights | null {
  const [first, second] = dims.map(Number);
  if (dataType !== T.FLOAT || dims.length !== 2 || first === undefined || second === undefined) return null;
  const [rows, columns] = transposed ? [second, first] : [first, second];
  if (rows * columns < VALUES_MIN || rows > ROWS_MAX) return null;
  // A copy begins at a multiple of four bytes, which the values in the model need not.
  const stored =
    rawData.length > 0 ? new Float32Array(new Uint8Array(rawData).buffer) : Float32Array.from(floatData);
  if (!stored.every(Number.isFinite)) return null;
  return { rows, columns, values: transposed ? transpose(stored, rows, columns) : stored };
}

/** `values` is [columns, rows]; the answer [rows, columns]. */
function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  const transposed = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      transposed[row * columns + column] = values[column * rows + row] as number;
    }
  }
  return transposed;
}

/** Symmetric, a scale per column: w is about values * scale, to within half a scale. */
function quantise({ rows, columns, values }: Weights): QuantisedWeights {
  const scales = new Float32Array(columns);
  for (let at = 0; at < values.length; at++) {
    const column = at % columns;
    scales[column] = Math.max(scales[column] as number, Math.abs(values[at] as number));
  }
  // A column of zeros, or of the smallest numbers, has no scale of its own.
  for (let column = 0; column < columns; column++) scales[column] = (scales[column] as number) / STEPS || 1;
  const whole = new Int8Array(rows * columns);
  for (let at = 0; at < values.length; at++) {
    whole[at] = Math.round((values[at] as number) / (scales[at % columns] as number));
  }
  return { values: whole, scales };
}

function initializersOf(weights: Weights, names: QuantisedNames): onnx.TensorProto[] {
  const { values, scales } = quantise(weights);
  const tensor = (
    name: string,
    dataType: number,
    dims: number[],
    data: Int8Array | Float32Array,
  ): onnx.TensorProto =>
    create(onnx.TensorProtoSchema, {
      name,
      dataType,
      dims: dims.map(BigInt),
      rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    });
  const { rows, columns } = weights;
  return [
    tensor(names.values, T.INT8, [rows, columns], values),
    tensor(names.scale, T.FLOAT, [columns], scales),
  ];
}

function namesFor(name: string, fresh: (wanted: string) => string): QuantisedNames {
  return { values: fresh(`${name}_quantized`), scale: fresh(`${name}_scale`) };
}

/** Answers names that nothing in the graph has, each once. */
function freshNames(graph: onnx.GraphProto): (wanted: string) => string {
  const taken = new Set([
    ...graph.input.map(({ name }) => name),
    ...graph.initializer.map(({ name }) => name),
    ...graph.node.flatMap(({ output }) => output),
  ]);
  return (wanted) => {
    let name = wanted;
    for (let more = 2; taken.has(name); more++) name = `${wanted}_${more}`;
    taken.add(name);
    return name;
  };
}

/** Removes the weights that nothing refers to any more; up to IR version 3 they stand among the inputs as well. */
function removeUnused(graph: onnx.GraphProto): void {
  const used = new Set([
    ...graph.node.flatMap(({ input }) => input),
    ...graph.output.map(({ name }) => name),
  ]);
  const unused = new Set(graph.initializer.map(({ name }) => name).filter((name) => !used.has(name)));
  graph.initializer = graph.initializer.filter(({ name }) => !unused.has(name));
  graph.input = graph.input.filter(({ name }) => !unused.has(name));
}
