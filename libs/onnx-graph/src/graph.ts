import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { onnx } from "@millrace/contracts";
import { MODEL_INPUT, MODEL_OUTPUT } from "@millrace/lines";

/** Keys of the model's metadata. */
export const METADATA = {
  features: "millrace.features",
  featureDigest: "millrace.feature-digest",
  recipe: "millrace.recipe",
} as const;

/** What a model says about itself; stored in its metadata. */
export interface ModelDescription {
  /** In input order; their number is the width of the input. */
  readonly features: readonly string[];
  readonly featureDigest: string;
  readonly recipe: string;
}

type Attribute = MessageInitShape<typeof onnx.AttributeProtoSchema>;
type Tensor = MessageInitShape<typeof onnx.TensorProtoSchema>;
type Node = MessageInitShape<typeof onnx.NodeProtoSchema>;

const text = new TextEncoder();
const { FLOAT, INT64 } = onnx.TensorProto_DataType;
const TYPES = onnx.AttributeProto_AttributeType;

export const attribute = {
  float: (name: string, f: number): Attribute => ({ name, type: TYPES.FLOAT, f }),
  int: (name: string, i: number): Attribute => ({ name, type: TYPES.INT, i: BigInt(i) }),
  string: (name: string, s: string): Attribute => ({ name, type: TYPES.STRING, s: text.encode(s) }),
  floats: (name: string, floats: number[]): Attribute => ({ name, type: TYPES.FLOATS, floats }),
  ints: (name: string, ints: number[]): Attribute => ({ name, type: TYPES.INTS, ints: ints.map(BigInt) }),
  /** `of` says for each value which of the few texts it is. */
  choices: (name: string, texts: string[], of: number[]): Attribute => {
    const encoded = texts.map((s) => text.encode(s));
    return { name, type: TYPES.STRINGS, strings: of.map((i) => encoded[i] as Uint8Array) };
  },
  tensor: (name: string, t: Tensor): Attribute => ({ name, type: TYPES.TENSOR, t }),
};

/** FP32 tensor of the given shape, row-major; an empty shape is a scalar. */
export function floatTensor(name: string, shape: readonly number[], values: Iterable<number>): Tensor {
  return { name, dims: shape.map(BigInt), dataType: FLOAT, floatData: [...values] };
}

/** INT64 tensor with one dimension. */
export function int64Tensor(name: string, values: readonly number[]): Tensor {
  return { name, dims: [BigInt(values.length)], dataType: INT64, int64Data: values.map(BigInt) };
}

/** One operator. `domain` is empty for the standard operators, `ai.onnx.ml` for the classical ones. */
export function node(
  opType: string,
  input: string[],
  output: string[],
  attributes: Attribute[] = [],
  domain = "",
): Node {
  return { name: output[0] ?? opType, opType, input, output, attribute: attributes, domain };
}

/** A complete model as bytes. Throws a RangeError when there are no features. */
export function modelBytes(description: ModelDescription, nodes: Node[], initializer: Tensor[]): Uint8Array {
  const features = description.features.length;
  if (features === 0) throw new RangeError("a model needs at least one feature");
  const rows = { value: { case: "dimParam" as const, value: "rows" } };
  const floats = (dim: MessageInitShape<typeof onnx.TensorShapeProto_DimensionSchema>[]) => ({
    value: { case: "tensorType" as const, value: { elemType: FLOAT, shape: { dim } } },
  });
  return toBinary(
    onnx.ModelProtoSchema,
    create(onnx.ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: [
        { domain: "", version: 17n },
        { domain: "ai.onnx.ml", version: 3n },
      ],
      producerName: "millrace",
      metadataProps: [
        { key: METADATA.features, value: JSON.stringify(description.features) },
        { key: METADATA.featureDigest, value: description.featureDigest },
        { key: METADATA.recipe, value: description.recipe },
      ],
      graph: {
        name: description.recipe,
        node: nodes,
        initializer,
        input: [
          {
            name: MODEL_INPUT,
            type: floats([rows, { value: { case: "dimValue", value: BigInt(features) } }]),
          },
        ],
        output: [{ name: MODEL_OUTPUT, type: floats([rows]) }],
      },
    }),
  );
}
