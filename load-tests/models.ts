/**
 * The models that inference is measured with, and requests for them: what a LightGBM classifier of 30 features, 200
 * trees and 63 leaves is as ONNX, multi-layer perceptrons, one that does next to nothing with much input, one that takes
 * its time, and tables of any size. All keep a line's contract: `features` FP32 [rows, features] to `score` FP32 [rows]. The
 * same seed gives the same bytes.
 */
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { ModelInferRequestSchema, onnx } from "@millrace/contracts";
import { MODEL_INPUT, MODEL_OUTPUT } from "@millrace/lines";
import { type Tree, type TreeNode, treeEnsembleModel } from "@millrace/onnx-graph";
import { random } from "@millrace/testkit";

export interface TestModel {
  /** Of the line that serves it. */
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Names of the features, in input order. */
  readonly features: readonly string[];
}

/** A request, and the values that it asks about. */
export interface TestRequest {
  /** A serialised ModelInferRequest with raw contents. */
  readonly message: Uint8Array;
  /** [rows x features], row-major. */
  readonly matrix: Float32Array;
  readonly rows: number;
}

/** Of no line that exists. */
export const FEATURE_DIGEST: string = "0".repeat(64);

const WIDTH = 30;
const TREES = 200;
const LEAVES = 63;
const TABLE_COLUMNS = 64;
const SLOW_COLUMNS = 65_536;

type Node = MessageInitShape<typeof onnx.NodeProtoSchema>;
type Tensor = MessageInitShape<typeof onnx.TensorProtoSchema>;
const { FLOAT, INT64 } = onnx.TensorProto_DataType;
const { INT, INTS } = onnx.AttributeProto_AttributeType;
const FIRST: Tensor = { name: "first", dims: [], dataType: INT64, int64Data: [0n] };
const OVER_COLUMNS: Node["attribute"] = [
  { name: "axes", type: INTS, ints: [1n] },
  { name: "keepdims", type: INT, i: 0n },
];
const ZERO: Tensor = { name: "zero", dims: [], dataType: FLOAT, floatData: [0] };

/** An ensemble of the shape that LightGBM grows by default: the next leaf to be split is any, so trees are uneven. */
export function treesModel(name: string, seed: number): TestModel {
  const draw = random(seed);
  const features = featureNames(WIDTH);
  const trees = Array.from({ length: TREES }, () => grownTree(draw));
  return { name, features, bytes: treeEnsembleModel(description(name, features), { bias: 0, trees }) };
}

function grownTree(draw: () => number): Tree {
  const nodes: TreeNode[] = [leaf(draw)];
  while (nodes.length < 2 * LEAVES - 1) {
    const leaves = nodes.flatMap(({ kind }, at) => (kind === "leaf" ? [at] : []));
    nodes[leaves[Math.floor(draw() * leaves.length)] as number] = {
      kind: "split",
      feature: Math.floor(draw() * WIDTH),
      threshold: normal(draw),
      left: nodes.length,
      right: nodes.length + 1,
      unknownLeft: draw() < 0.5,
    };
    nodes.push(leaf(draw), leaf(draw));
  }
  return nodes;
}

const leaf = (draw: () => number): TreeNode => ({ kind: "leaf", value: 0.05 * normal(draw) });

/** Fully connected layers with ReLU between them, from 30 features over the hidden widths to a probability. */
export function mlpModel(name: string, hidden: readonly number[], seed: number): TestModel {
  const draw = random(seed);
  const widths = [WIDTH, ...hidden, 1];
  const nodes = known(MODEL_INPUT, "known");
  const weights = [ZERO];
  let from = "known";
  for (let i = 1; i < widths.length; i++) {
    const [inputs, outputs] = [widths[i - 1] as number, widths[i] as number];
    const scale = Math.sqrt(2 / inputs);
    weights.push(
      floats(`w${i}`, [inputs, outputs], () => scale * uniform(draw)),
      floats(`b${i}`, [outputs], () => 0.1 * uniform(draw)),
    );
    nodes.push(node("Gemm", [from, `w${i}`, `b${i}`], `z${i}`));
    from = `z${i}`;
    if (i === widths.length - 1) continue;
    nodes.push(node("Relu", [from], `a${i}`));
    from = `a${i}`;
  }
  nodes.push(
    node("Sigmoid", [from], "probability"),
    node("Squeeze", ["probability", "column"], MODEL_OUTPUT),
  );
  return { name, ...model(name, WIDTH, nodes, [...weights, int64s("column", [1])]) };
}

/** Answers the first value of each row: the work is in carrying the tensor. */
export function firstValueModel(name: string, width: number): TestModel {
  const nodes = [
    node("Gather", [MODEL_INPUT, "first"], "value", [{ name: "axis", type: INT, i: 1n }]),
    ...known("value", MODEL_OUTPUT),
  ];
  return { name, ...model(name, width, nodes, [FIRST, ZERO]) };
}

/** Takes as long as it has steps and holds little: each is a hyperbolic tangent of 65,536 values. */
export function slowModel(name: string, steps: number, seed: number): TestModel {
  const draw = random(seed);
  const nodes = [
    ...known(MODEL_INPUT, "known"),
    node("MatMul", ["known", "weights"], "step0"),
    ...Array.from({ length: steps }, (_, i) => node("Tanh", [`step${i}`], `step${i + 1}`)),
    node("ReduceMean", [`step${steps}`], MODEL_OUTPUT, OVER_COLUMNS),
  ];
  const weights = floats("weights", [WIDTH, SLOW_COLUMNS], () => uniform(draw));
  return { name, ...model(name, WIDTH, nodes, [ZERO, weights]) };
}

/**
 * Looks a row of a table up by the first feature and answers its mean: as large as it should be, and quick. The table
 * is no constant of the answer, so that onnxruntime keeps all of it.
 */
export function tableModel(name: string, megabytes: number, seed: number): TestModel {
  const draw = random(seed);
  const rows = Math.ceil((megabytes * 1e6) / (4 * TABLE_COLUMNS));
  const nodes = [
    node("Gather", [MODEL_INPUT, "first"], "key", [{ name: "axis", type: INT, i: 1n }]),
    ...known("key", "known"),
    node("Clip", ["known", "zero", "last"], "row"),
    node("Cast", ["row"], "index", [{ name: "to", type: INT, i: BigInt(INT64) }]),
    node("Gather", ["table", "index"], "values", [{ name: "axis", type: INT, i: 0n }]),
    node("ReduceMean", ["values"], MODEL_OUTPUT, OVER_COLUMNS),
  ];
  // A random table would take half a minute to draw: only its first row differs.
  const table = new Float32Array(rows * TABLE_COLUMNS).fill(0.5);
  for (let i = 0; i < TABLE_COLUMNS; i++) table[i] = draw();
  return {
    name,
    ...model(name, WIDTH, nodes, [
      { name: "table", dims: [BigInt(rows), BigInt(TABLE_COLUMNS)], dataType: FLOAT, rawData: raw(table) },
      FIRST,
      ZERO,
      { name: "last", dims: [], dataType: FLOAT, floatData: [rows - 1] },
    ]),
  };
}

/** Bytes that are no model. */
export const brokenModel = (name: string): TestModel => ({
  name,
  features: featureNames(WIDTH),
  bytes: new TextEncoder().encode("this is not ONNX"),
});

/** Different requests of some rows each; standard normal values. */
export function requestsFor(
  { name, features }: TestModel,
  size: { readonly requests: number; readonly rows: number },
  seed: number,
): TestRequest[] {
  const draw = random(seed);
  return Array.from({ length: size.requests }, () => {
    const matrix = Float32Array.from({ length: size.rows * features.length }, () => normal(draw));
    const shape = [BigInt(size.rows), BigInt(features.length)];
    const message = toBinary(
      ModelInferRequestSchema,
      create(ModelInferRequestSchema, {
        modelName: name,
        inputs: [{ name: MODEL_INPUT, datatype: "FP32", shape }],
        rawInputContents: [raw(matrix)],
      }),
    );
    return { message, matrix, rows: size.rows };
  });
}

const featureNames = (width: number): string[] => Array.from({ length: width }, (_, i) => `f${i}`);

const description = (recipe: string, features: readonly string[]) => ({
  features,
  featureDigest: FEATURE_DIGEST,
  recipe,
});

/** The whole model, with the metadata that a line's models carry. */
function model(
  recipe: string,
  width: number,
  nodes: Node[],
  initializer: Tensor[],
): Pick<TestModel, "bytes" | "features"> {
  const features = featureNames(width);
  const rows = { value: { case: "dimParam" as const, value: "rows" } };
  const tensor = (...dim: MessageInitShape<typeof onnx.TensorShapeProto_DimensionSchema>[]) => ({
    value: { case: "tensorType" as const, value: { elemType: FLOAT, shape: { dim } } },
  });
  const columns = { value: { case: "dimValue" as const, value: BigInt(width) } };
  const bytes = toBinary(
    onnx.ModelProtoSchema,
    create(onnx.ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: [{ domain: "", version: 17n }],
      metadataProps: [
        { key: "millrace.features", value: JSON.stringify(features) },
        { key: "millrace.feature-digest", value: FEATURE_DIGEST },
        { key: "millrace.recipe", value: recipe },
      ],
      graph: {
        name: recipe,
        node: nodes,
        initializer,
        input: [{ name: MODEL_INPUT, type: tensor(rows, columns) }],
        output: [{ name: MODEL_OUTPUT, type: tensor(rows) }],
      },
    }),
  );
  return { bytes, features };
}

/** Zero for NaN: a line's model answers whatever is unknown. */
function known(from: string, to: string): Node[] {
  return [node("IsNaN", [from], "unknown"), node("Where", ["unknown", "zero", from], to)];
}

function node(opType: string, input: string[], output: string, attribute: Node["attribute"] = []): Node {
  return { name: output, opType, input, output: [output], attribute };
}

function floats(name: string, dims: readonly number[], value: () => number): Tensor {
  const values = Float32Array.from({ length: dims.reduce((all, one) => all * one, 1) }, value);
  return { name, dims: dims.map(BigInt), dataType: FLOAT, rawData: raw(values) };
}

function int64s(name: string, values: readonly number[]): Tensor {
  return { name, dims: [BigInt(values.length)], dataType: INT64, int64Data: values.map(BigInt) };
}

/** Little-endian, as ONNX and the protocol want it and this machine has it. */
function raw(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

const uniform = (draw: () => number): number => 2 * draw() - 1;

/** Box and Muller's transform. */
function normal(draw: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
}
