import { onnx } from "@millrace/contracts";
import { MODEL_INPUT, MODEL_OUTPUT } from "@millrace/lines";
import type { Datatype, TensorSpec } from "@millrace/open-inference";
import { sizeMismatch, valuesFromConstants } from "./allocation.ts";
import { METADATA } from "./graph.ts";
import {
  type GraphOutline,
  type ModelOutline,
  type NodeOutline,
  operatorsOf,
  outlineOf,
  type ValueOutline,
} from "./outline.ts";

/** What `inspectModel` allows at most. */
export const MODEL_LIMITS: Readonly<
  Record<
    | "bytes"
    | "constantBytes"
    | "nodes"
    | "initializers"
    | "items"
    | "fields"
    | "valuesFromConstants"
    | "features",
    number
  >
> = {
  bytes: 2 ** 30,
  /** Bytes of all constants once they are read: more than the model has where values are written as varints. */
  constantBytes: 2 ** 30,
  nodes: 10_000,
  initializers: 10_000,
  /** Messages and names in all. */
  items: 1_000_000,
  /** A tree ensemble takes 11 for each node of a tree. */
  fields: 16_000_000,
  /** Values that operators make of constants alone (ConstantOfShape, Expand, ...): 256 MiB in FP32. */
  valuesFromConstants: 2 ** 26,
  features: 100_000,
};

/** What a model takes and gives, and what it says about itself (null where it does not). */
export interface ModelSignature {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Every input and output has a free first dimension, so that requests may be put together along it. */
  readonly batches: boolean;
  readonly featureNames: readonly string[] | null;
  readonly featureDigest: string | null;
  readonly recipe: string | null;
  /** What else its metadata says. */
  readonly metadata: ReadonlyMap<string, string>;
}

export type Inspection =
  | { readonly ok: true; readonly signature: ModelSignature }
  | { readonly ok: false; readonly reason: string };

/**
 * Checks a model without running it: tensors in and out of types that a request can carry, nothing outside its bytes
 * (external data, addresses in memory), standard operators only, no subgraphs (If, Loop, Scan), no functions, no
 * operators with chance in them, data that fills its shapes, and sizes within MODEL_LIMITS. Never throws; takes time
 * with the bytes, and memory with the number of nodes but not of weights. It bounds what constants ask for, not what
 * the operators take on a request: that is the limit of the process that runs them.
 */
export function inspectModel(bytes: Uint8Array): Inspection {
  if (bytes.byteLength > MODEL_LIMITS.bytes) {
    return refuse(`the model has ${bytes.byteLength} bytes, more than ${MODEL_LIMITS.bytes}`);
  }
  let model: ModelOutline;
  try {
    model = outlineOf(bytes, MODEL_LIMITS);
  } catch (error) {
    return refuse(
      `the bytes are not an ONNX model: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  if (model.graph === null) return refuse("the bytes are not an ONNX model: there is no graph");
  const reason = refusalOfModel(model) ?? refusalOfGraph(model.graph);
  return reason === null ? signatureOf(model.graph, model.metadata) : refuse(reason);
}

/**
 * Whether a tree operator is among the model's; false as well where the bytes are not an ONNX model. Takes time with the
 * number of nodes and not of weights or of splits.
 */
export function hasTrees(bytes: Uint8Array): boolean {
  try {
    return operatorsOf(bytes, MODEL_LIMITS).some((operator) => operator.startsWith("TreeEnsemble"));
  } catch {
    return false;
  }
}

/** Why a model does not keep a line's contract, FP32 [rows, n] `features` in and FP32 [rows] `score` out; or null. */
export function lineContract(signature: ModelSignature): string | null {
  const { inputs, outputs, featureNames } = signature;
  const [input] = inputs;
  const [output] = outputs;
  if (input?.name !== MODEL_INPUT || inputs.length > 1) {
    return `the model's inputs are (${namesOf(inputs)}), not the one input "${MODEL_INPUT}"`;
  }
  if (output?.name !== MODEL_OUTPUT || outputs.length > 1) {
    return `the model's outputs are (${namesOf(outputs)}), not the one output "${MODEL_OUTPUT}"`;
  }
  const [rows, width] = input.shape;
  if (
    input.datatype !== "FP32" ||
    input.shape.length !== 2 ||
    rows !== -1 ||
    width === undefined ||
    width < 1
  ) {
    return `input "${MODEL_INPUT}" is not FP32 [rows, features] with free rows and a fixed number of features`;
  }
  if (width > MODEL_LIMITS.features) return `the model has more than ${MODEL_LIMITS.features} features`;
  if (output.datatype !== "FP32" || output.shape.length !== 1 || output.shape[0] !== -1) {
    return `output "${MODEL_OUTPUT}" is not FP32 [rows] with free rows`;
  }
  if (featureNames !== null && featureNames.length !== width) {
    return `metadata ${METADATA.features} names ${featureNames.length} features, not the ${width} of the input`;
  }
  return null;
}

/** Values per row of a model that keeps a line's contract; null for another model. */
export function lineWidth(signature: ModelSignature): number | null {
  return lineContract(signature) === null ? (signature.inputs[0]?.shape[1] ?? null) : null;
}

const namesOf = (specs: readonly TensorSpec[]): string => specs.map(({ name }) => name).join(", ");

const DOMAINS: readonly string[] = ["", "ai.onnx", "ai.onnx.ml"];
const CHANCE: readonly string[] = [
  "Bernoulli",
  "Dropout",
  "Multinomial",
  "RandomNormal",
  "RandomNormalLike",
  "RandomUniform",
  "RandomUniformLike",
];

const T = onnx.TensorProto_DataType;
const DATATYPE: Readonly<Record<number, Datatype>> = {
  [T.BOOL]: "BOOL",
  [T.UINT8]: "UINT8",
  [T.UINT16]: "UINT16",
  [T.UINT32]: "UINT32",
  [T.UINT64]: "UINT64",
  [T.INT8]: "INT8",
  [T.INT16]: "INT16",
  [T.INT32]: "INT32",
  [T.INT64]: "INT64",
  [T.FLOAT16]: "FP16",
  [T.BFLOAT16]: "BF16",
  [T.FLOAT]: "FP32",
  [T.DOUBLE]: "FP64",
  [T.STRING]: "BYTES",
};

/** Bytes that a value written as a varint or a string takes once it is read, at least. */
const BYTES_PER_VALUE = 8;

const refuse = (reason: string): Inspection => ({ ok: false, reason });

function refusalOfModel(model: ModelOutline): string | null {
  if (model.functions > 0) return "the model has local functions; inline them before export";
  if (model.trainingGraphs > 0) return "the model has training graphs; export it for inference";
  const domain = model.domains.find((name) => !DOMAINS.includes(name));
  return domain === undefined
    ? null
    : `the model imports the operator domain "${domain}"; only standard ones run`;
}

function refusalOfGraph(graph: GraphOutline): string | null {
  const { nodes, initializers } = graph;
  if (nodes.length > MODEL_LIMITS.nodes) return `the model has more than ${MODEL_LIMITS.nodes} nodes`;
  if (initializers.length > MODEL_LIMITS.initializers) {
    return `the model has more than ${MODEL_LIMITS.initializers} initializers`;
  }
  if (graph.sparseInitializers > 0) return "the model has sparse initializers";
  for (const node of nodes) {
    const reason = refusalOfNode(node);
    if (reason !== null) return reason;
  }
  const attributes = nodes.flatMap((node) => node.attributes);
  const tensors = [...initializers, ...attributes.flatMap((attribute) => attribute.tensors)];
  for (const tensor of tensors) {
    if (tensor.isExternal) return `tensor "${tensor.name}" lies outside the model (external data)`;
    const mismatch = sizeMismatch(tensor);
    if (mismatch !== null) return `tensor "${tensor.name}" ${mismatch}`;
  }
  const typed = [...tensors.map((tensor) => tensor.typedValues), ...attributes.map(({ values }) => values)];
  const constantBytes = sum(tensors.map(({ raw }) => raw?.length ?? 0)) + sum(typed) * BYTES_PER_VALUE;
  if (constantBytes > MODEL_LIMITS.constantBytes) {
    return `the model's constants take ${constantBytes} bytes, more than ${MODEL_LIMITS.constantBytes}`;
  }
  const values = valuesFromConstants(graph);
  // Not `>`: sizes that are no number are too large as well.
  return values <= MODEL_LIMITS.valuesFromConstants
    ? null
    : `operators make ${values} values of constants, more than ${MODEL_LIMITS.valuesFromConstants}`;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

function refusalOfNode(node: NodeOutline): string | null {
  if (!DOMAINS.includes(node.domain)) return `operator ${node.domain}.${node.opType} is not a standard one`;
  if (CHANCE.includes(node.opType)) {
    return `operator ${node.opType} draws at random: a prediction must be repeatable`;
  }
  for (const attribute of node.attributes) {
    const where = `attribute ${attribute.name} of ${node.opType}`;
    if (attribute.hasGraph) return `${where} is a graph (If, Loop, Scan)`;
    if (attribute.isSparse) return `${where} is sparse`;
    if (attribute.refersToFunction) return `${where} refers to a function`;
  }
  return null;
}

function signatureOf(graph: GraphOutline, metadata: ReadonlyMap<string, string>): Inspection {
  // Before IR version 4 every initializer is listed among the inputs; a request need not give it.
  const defaults = new Set(graph.initializers.map(({ name }) => name));
  const inputs: TensorSpec[] = [];
  const outputs: TensorSpec[] = [];
  const required = graph.inputs.filter(({ name }) => !defaults.has(name));
  for (const [role, values, specs] of [
    ["input", required, inputs],
    ["output", graph.outputs, outputs],
  ] as const) {
    const names = new Set<string>();
    for (const value of values) {
      const spec = specOf(value);
      if (typeof spec === "string") return refuse(`${role} "${value.name}" ${spec}`);
      if (names.has(spec.name)) return refuse(`${role} "${spec.name}" stands twice`);
      names.add(spec.name);
      specs.push(spec);
    }
  }
  if (outputs.length === 0) return refuse("the model has no output");

  const names = metadata.get(METADATA.features);
  const featureNames = names === undefined ? null : parseNames(names);
  if (names !== undefined && featureNames === null) {
    return refuse(`metadata ${METADATA.features} is not a list of names in JSON`);
  }
  const own: readonly string[] = Object.values(METADATA);
  return {
    ok: true,
    signature: {
      inputs,
      outputs,
      batches: [...inputs, ...outputs].every(({ shape }) => shape[0] === -1),
      featureNames,
      featureDigest: metadata.get(METADATA.featureDigest) ?? null,
      recipe: metadata.get(METADATA.recipe) ?? null,
      metadata: new Map([...metadata].filter(([key]) => !own.includes(key))),
    },
  };
}

/** The value as a tensor that a request can carry, or why it is none. */
function specOf({ name, tensor }: ValueOutline): TensorSpec | string {
  if (tensor === null) return "is not a tensor with a shape (sequences and maps: export without ZipMap)";
  const { dataType, shape } = tensor;
  const datatype = DATATYPE[dataType];
  if (datatype === undefined) return `has the type ${T[dataType] ?? dataType}, which no request can carry`;
  if (shape.some((size) => size < -1 || !Number.isSafeInteger(size)))
    return `has the shape [${shape.join(", ")}]`;
  const values = shape.reduce((product, size) => product * Math.abs(size), 1);
  if (values > MODEL_LIMITS.valuesFromConstants) return `has at least ${values} values`;
  return { name, datatype, shape };
}

function parseNames(text: string): string[] | null {
  try {
    const names: unknown = JSON.parse(text);
    return Array.isArray(names) && names.every((name) => typeof name === "string") ? names : null;
  } catch {
    return null;
  }
}
