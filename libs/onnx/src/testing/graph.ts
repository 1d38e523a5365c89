import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { onnx } from "@millrace/contracts";

type Node = MessageInitShape<typeof onnx.NodeProtoSchema>;
type Initializer = MessageInitShape<typeof onnx.TensorProtoSchema>;
/** Name, type and shape; a text in the shape is a free dimension. */
type Value = readonly [name: string, elemType: number, shape: readonly (number | string)[]];

export const T: typeof onnx.TensorProto_DataType = onnx.TensorProto_DataType;

/** Any model as bytes. */
export function graphModel(
  node: Node[],
  inputs: readonly Value[],
  outputs: readonly Value[],
  initializer: Initializer[] = [],
): Uint8Array {
  const info = ([name, elemType, shape]: Value): MessageInitShape<typeof onnx.ValueInfoProtoSchema> => ({
    name,
    type: {
      value: {
        case: "tensorType",
        value: {
          elemType,
          shape: {
            dim: shape.map((size) =>
              typeof size === "string"
                ? { value: { case: "dimParam" as const, value: size } }
                : { value: { case: "dimValue" as const, value: BigInt(size) } },
            ),
          },
        },
      },
    },
  });
  const graph = { name: "test", node, initializer, input: inputs.map(info), output: outputs.map(info) };
  const opsetImport = [{ domain: "", version: 17n }];
  return toBinary(
    onnx.ModelProtoSchema,
    create(onnx.ModelProtoSchema, { irVersion: 8n, opsetImport, graph }),
  );
}

/** `y` = the operator on `x`, both [n, 2] of one type. */
export const unary = (opType: string, type: number = T.FLOAT): Uint8Array =>
  graphModel([{ opType, input: ["x"], output: ["y"] }], [["x", type, ["n", 2]]], [["y", type, ["n", 2]]]);

/** `y` [n, 16384] = 4,000 sigmoids of `x`, one of the other: some 20 ms for a row, and no weights. */
export function slow(): Uint8Array {
  const count = 4000;
  const nodes = Array.from({ length: count }, (_, i) => ({
    opType: "Sigmoid",
    input: [i === 0 ? "x" : `h${i}`],
    output: [i === count - 1 ? "y" : `h${i + 1}`],
  }));
  return graphModel(nodes, [["x", T.FLOAT, ["n", SLOW_WIDTH]]], [["y", T.FLOAT, ["n", SLOW_WIDTH]]]);
}

/** Values per row of `slow`. */
export const SLOW_WIDTH = 16_384;

/** Adds to `x` the sum of that many zeros (in 1024ths), which it computes the size of, so that inspection cannot. */
export function bomb(kibiValues: number): Uint8Array {
  const int64 = (name: string, value: number): Initializer => ({
    name,
    dataType: T.INT64,
    dims: [1n],
    int64Data: [BigInt(value)],
  });
  return graphModel(
    [
      { opType: "Mul", input: ["kibi", "values"], output: ["size"] },
      { opType: "ConstantOfShape", input: ["size"], output: ["zeros"] },
      {
        opType: "ReduceSum",
        input: ["zeros"],
        output: ["sum"],
        attribute: [{ name: "keepdims", type: 2, i: 0n }],
      },
      { opType: "Add", input: ["x", "sum"], output: ["y"] },
    ],
    [["x", T.FLOAT, ["n", 2]]],
    [["y", T.FLOAT, ["n", 2]]],
    [int64("kibi", 1024), int64("values", kibiValues)],
  );
}
