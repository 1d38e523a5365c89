import { fromBinary } from "@bufbuild/protobuf";
import { onnx } from "@millrace/contracts";
import { MODEL_INPUT, MODEL_OUTPUT } from "@millrace/lines";
import { METADATA } from "./graph.ts";

/** What `inspectModel` allows at most. */
export const MODEL_LIMITS: Readonly<Record<"bytes" | "nodes" | "initializers" | "features", number>> = {
  bytes: 256 * 1024 * 1024,
  nodes: 10_000,
  initializers: 10_000,
  features: 100_000,
};

/** What a model needs to be fed with, and what it says about itself (null where it does not). */
export interface ModelSignature {
  /** Number of features: the width of the input. */
  readonly features: number;
  readonly featureNames: readonly string[] | null;
  readonly featureDigest: string | null;
  readonly recipe: string | null;
}

export type Inspection =
  | { readonly ok: true; readonly signature: ModelSignature }
  | { readonly ok: false; readonly reason: string };

/**
 * Checks a model without running it: one input `features` FP32 [rows, n], one output `score` FP32 [rows], nothing
 * outside its bytes (external data), standard operators only, no subgraphs (If, Loop, Scan), no functions, no
 * operators with chance in them, and sizes within MODEL_LIMITS. Never throws. It bounds the model, not the memory
 * and time that its operators may take: those are the limits of the process that runs it.
 */
export function inspectModel(bytes: Uint8Array): Inspection {
  if (bytes.byteLength > MODEL_LIMITS.bytes) {
    return refuse(`the model has ${bytes.byteLength} bytes, more than ${MODEL_LIMITS.bytes}`);
  }
  let model: onnx.ModelProto;
  try {
    model = fromBinary(onnx.ModelProtoSchema, bytes);
  } catch {
    return refuse("the bytes are not an ONNX model");
  }
  const graph = model.graph;
  if (graph === undefined) return refuse("the bytes are not an ONNX model: there is no graph");
  const reason = refusalOfModel(model) ?? refusalOfGraph(graph);
  if (reason !== null) return refuse(reason);

  const input = graph.input[0] as onnx.ValueInfoProto;
  const features = dimensions(input)?.[1] as number;
  const metadata = new Map(model.metadataProps.map(({ key, value }) => [key, value]));
  const names = metadata.get(METADATA.features);
  const featureNames = names === undefined ? null : parseNames(names);
  if (names !== undefined && featureNames?.length !== features) {
    return refuse(`metadata ${METADATA.features} does not name the ${features} features of the input`);
  }
  return {
    ok: true,
    signature: {
      features,
      featureNames,
      featureDigest: metadata.get(METADATA.featureDigest) ?? null,
      recipe: metadata.get(METADATA.recipe) ?? null,
    },
  };
}

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

const refuse = (reason: string): Inspection => ({ ok: false, reason });

function refusalOfModel(model: onnx.ModelProto): string | null {
  if (model.functions.length > 0) return "the model has local functions; inline them before export";
  if (model.trainingInfo.length > 0) return "the model has training graphs; export it for inference";
  const domain = model.opsetImport.find((opset) => !DOMAINS.includes(opset.domain))?.domain;
  return domain === undefined
    ? null
    : `the model imports the operator domain "${domain}"; only standard ones run`;
}

function refusalOfGraph(graph: onnx.GraphProto): string | null {
  if (graph.node.length > MODEL_LIMITS.nodes) return `the model has more than ${MODEL_LIMITS.nodes} nodes`;
  if (graph.initializer.length > MODEL_LIMITS.initializers) {
    return `the model has more than ${MODEL_LIMITS.initializers} initializers`;
  }
  if (graph.sparseInitializer.length > 0) return "the model has sparse initializers";
  for (const tensor of graph.initializer) {
    if (isExternal(tensor)) return `initializer ${tensor.name} lies outside the model (external data)`;
  }
  for (const node of graph.node) {
    const reason = refusalOfNode(node);
    if (reason !== null) return reason;
  }
  return refusalOfSignature(graph);
}

function refusalOfNode(node: onnx.NodeProto): string | null {
  if (!DOMAINS.includes(node.domain)) return `operator ${node.domain}.${node.opType} is not a standard one`;
  if (CHANCE.includes(node.opType))
    return `operator ${node.opType} draws at random: a prediction must be repeatable`;
  for (const attribute of node.attribute) {
    const where = `attribute ${attribute.name} of ${node.opType}`;
    if (attribute.g !== undefined || attribute.graphs.length > 0)
      return `${where} is a graph (If, Loop, Scan)`;
    if (attribute.sparseTensor !== undefined || attribute.sparseTensors.length > 0)
      return `${where} is sparse`;
    if (attribute.refAttrName !== "") return `${where} refers to a function`;
    const tensors = attribute.t === undefined ? attribute.tensors : [attribute.t, ...attribute.tensors];
    if (tensors.some(isExternal)) return `${where} lies outside the model (external data)`;
  }
  return null;
}

function refusalOfSignature(graph: onnx.GraphProto): string | null {
  const [input, secondInput] = graph.input;
  const [output, secondOutput] = graph.output;
  if (input?.name !== MODEL_INPUT || secondInput !== undefined) {
    return `the model's inputs are (${graph.input.map((value) => value.name).join(", ")}), not the one input "${MODEL_INPUT}"`;
  }
  if (output?.name !== MODEL_OUTPUT || secondOutput !== undefined) {
    return `the model's outputs are (${graph.output.map((value) => value.name).join(", ")}), not the one output "${MODEL_OUTPUT}"`;
  }
  if (graph.initializer.some((tensor) => tensor.name === MODEL_INPUT))
    return `input "${MODEL_INPUT}" has a default value`;
  const shape = dimensions(input);
  const width = shape?.[1];
  if (shape?.length !== 2 || shape[0] !== null || typeof width !== "number" || width < 1) {
    return `input "${MODEL_INPUT}" is not FP32 [rows, features] with free rows and a fixed number of features`;
  }
  if (width > MODEL_LIMITS.features) return `the model has more than ${MODEL_LIMITS.features} features`;
  const answer = dimensions(output);
  if (answer?.length !== 1 || answer[0] !== null)
    return `output "${MODEL_OUTPUT}" is not FP32 [rows] with free rows`;
  return null;
}

/** Sizes of an FP32 tensor, null for a free one; null when the value is not an FP32 tensor with a shape. */
function dimensions(value: onnx.ValueInfoProto): (number | null)[] | null {
  const type = value.type?.value;
  if (type?.case !== "tensorType" || type.value.elemType !== onnx.TensorProto_DataType.FLOAT) return null;
  if (type.value.shape === undefined) return null;
  return type.value.shape.dim.map(({ value: size }) =>
    size.case === "dimValue" ? Number(size.value) : null,
  );
}

function isExternal(tensor: onnx.TensorProto): boolean {
  return tensor.externalData.length > 0 || tensor.dataLocation === onnx.TensorProto_DataLocation.EXTERNAL;
}

function parseNames(text: string): string[] | null {
  try {
    const names: unknown = JSON.parse(text);
    return Array.isArray(names) && names.every((name) => typeof name === "string") ? names : null;
  } catch {
    return null;
  }
}
