import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { onnx } from "@millrace/contracts";

/** ONNX models that nobody trains: to see what a server makes of them. */

type Node = MessageInitShape<typeof onnx.NodeProtoSchema>;
type Initializer = MessageInitShape<typeof onnx.TensorProtoSchema>;
type Opset = MessageInitShape<typeof onnx.OperatorSetIdProtoSchema>;
/** Name, type and shape; a text in the shape is a free dimension. */
type Value = readonly [name: string, elemType: number, shape: readonly (number | string)[]];

const T = onnx.TensorProto_DataType;
const ATTRIBUTE = onnx.AttributeProto_AttributeType;
const ONNX: Opset = { domain: "", version: 17n };
const X: Value = ["x", T.FLOAT, ["n", 2]];
const Y: Value = ["y", T.FLOAT, ["n", 2]];

/** Every datatype of the protocol that onnxruntime-node can pass, by its ONNX number. */
const TYPES = {
  BOOL: T.BOOL,
  UINT8: T.UINT8,
  UINT16: T.UINT16,
  UINT32: T.UINT32,
  UINT64: T.UINT64,
  INT8: T.INT8,
  INT16: T.INT16,
  INT32: T.INT32,
  INT64: T.INT64,
  FP16: T.FLOAT16,
  FP32: T.FLOAT,
  FP64: T.DOUBLE,
  BYTES: T.STRING,
} as const;
export const DATATYPES: readonly string[] = Object.keys(TYPES);

function model(
  node: Node[],
  inputs: readonly Value[],
  outputs: readonly Value[],
  initializer: Initializer[] = [],
  opsetImport: Opset[] = [ONNX],
): Uint8Array {
  const graph = {
    name: "test",
    node,
    initializer,
    input: inputs.map(valueInfo),
    output: outputs.map(valueInfo),
  };
  return toBinary(
    onnx.ModelProtoSchema,
    create(onnx.ModelProtoSchema, { irVersion: 8n, opsetImport, graph }),
  );
}

function valueInfo([name, elemType, shape]: Value): MessageInitShape<typeof onnx.ValueInfoProtoSchema> {
  const dim = shape.map((size) =>
    typeof size === "string"
      ? { value: { case: "dimParam" as const, value: size } }
      : { value: { case: "dimValue" as const, value: BigInt(size) } },
  );
  return { name, type: { value: { case: "tensorType", value: { elemType, shape: { dim } } } } };
}

const floats = (name: string, dims: readonly number[], floatData: number[]): Initializer => ({
  name,
  dataType: T.FLOAT,
  dims: dims.map(BigInt),
  floatData,
});
const integer = (name: string, value: number): Initializer => ({
  name,
  dataType: T.INT64,
  dims: [1n],
  int64Data: [BigInt(value)],
});

/** `out_T` = `in_T` [n, 2] for each datatype T. */
export function echoModel(): Uint8Array {
  const each = Object.entries(TYPES);
  return model(
    each.map(([name]) => ({ opType: "Identity", input: [`in_${name}`], output: [`out_${name}`] })),
    each.map(([name, type]) => [`in_${name}`, type, ["n", 2]]),
    each.map(([name, type]) => [`out_${name}`, type, ["n", 2]]),
  );
}

/** `y` = `x` + `by`, both FP32 [n, 2]. */
export function addModel(by: number): Uint8Array {
  const node = { opType: "Add", input: ["x", "by"], output: ["y"] };
  return model([node], [X], [Y], [floats("by", [1], [by])]);
}

/** `y` = `x` after that many sigmoids of 16,384 values per row: 100 take about half a millisecond a row. */
export function slowModel(sigmoids: number): Uint8Array {
  const nodes = Array.from({ length: sigmoids }, (_, i) => ({
    opType: "Sigmoid",
    input: [i === 0 ? "wide" : `h${i}`],
    output: [`h${i + 1}`],
  }));
  return model(
    [
      { opType: "MatMul", input: ["x", "spread"], output: ["wide"] },
      ...nodes,
      { opType: "MatMul", input: [`h${sigmoids}`, "gather"], output: ["y"] },
    ],
    [X],
    [Y],
    [
      floats("spread", [2, SLOW_WIDTH], new Array<number>(2 * SLOW_WIDTH).fill(0.5)),
      floats("gather", [SLOW_WIDTH, 2], new Array<number>(2 * SLOW_WIDTH).fill(1 / SLOW_WIDTH)),
    ],
  );
}
const SLOW_WIDTH = 16_384;

/** `y` = `x` / 0 - `x` / 0: no number. */
function notANumberModel(): Uint8Array {
  return model(
    [
      { opType: "Div", input: ["x", "zero"], output: ["a"] },
      { opType: "Sub", input: ["a", "a"], output: ["y"] },
    ],
    [X],
    [Y],
    [floats("zero", [1], [0])],
  );
}

/** Models that must not be loaded, by what is wrong with them. */
export const HOSTILE: Readonly<Record<string, Uint8Array>> = {
  "external data": withExternal("../../../../etc/passwd"),
  "external data, absolute": withExternal("/etc/passwd"),
  "data in memory": withExternal("*/_ORT_MEM_ADDR_/*"),
  "operator of a stranger's library": model(
    [{ opType: "Add", domain: "com.evil", input: ["x", "x"], output: ["y"] }],
    [X],
    [Y],
    [],
    [ONNX, { domain: "com.evil", version: 1n }],
  ),
  "graph within a graph": model(
    [
      {
        opType: "If",
        input: ["c"],
        output: ["y"],
        attribute: ["then_branch", "else_branch"].map((name) => ({
          name,
          type: ATTRIBUTE.GRAPH,
          g: {
            name,
            node: [{ opType: "Identity", input: ["x"], output: [`${name}_y`] }],
            output: [valueInfo([`${name}_y`, T.FLOAT, ["n", 2]])],
          },
        })),
      },
    ],
    [X],
    [Y],
    [{ name: "c", dataType: T.BOOL, dims: [], int32Data: [1] }],
  ),
  "opset of the future": model(
    [{ opType: "Add", input: ["x", "x"], output: ["y"] }],
    [X],
    [Y],
    [],
    [{ domain: "", version: 9_999n }],
  ),
  "bomb of a constant": model(
    [
      { opType: "ConstantOfShape", input: ["size"], output: ["zeros"] },
      { opType: "Add", input: ["x", "zeros"], output: ["y"] },
    ],
    [X],
    [Y],
    [integer("size", 2 ** 50)],
  ),
  "bomb that it computes": model(
    [
      { opType: "Mul", input: ["size", "size"], output: ["square"] },
      { opType: "ConstantOfShape", input: ["square"], output: ["zeros"] },
      {
        opType: "ReduceSum",
        input: ["zeros"],
        output: ["sum"],
        attribute: [{ name: "keepdims", type: ATTRIBUTE.INT, i: 0n }],
      },
      { opType: "Add", input: ["x", "sum"], output: ["y"] },
    ],
    [X],
    [Y],
    [integer("size", 2 ** 20)],
  ),
  "weights that are not there": model(
    [{ opType: "Add", input: ["x", "w"], output: ["y"] }],
    [X],
    [Y],
    [{ name: "w", dataType: T.FLOAT, dims: [1n << 40n], floatData: [1] }],
  ),
  "no model at all": new TextEncoder().encode("\x80\x04\x95 cos system ('id',)"),
  "answers that are no numbers": notANumberModel(),
};

function withExternal(location: string): Uint8Array {
  const weights: Initializer = {
    name: "w",
    dataType: T.FLOAT,
    dims: [2n],
    dataLocation: onnx.TensorProto_DataLocation.EXTERNAL,
    externalData: [{ key: "location", value: location }],
  };
  return model([{ opType: "Add", input: ["x", "w"], output: ["y"] }], [X], [Y], [weights]);
}

/** A line's names, `features` and `score`, in double precision. */
export function doubleModel(): Uint8Array {
  return model(
    [
      {
        opType: "ReduceSum",
        input: ["features"],
        output: ["score"],
        attribute: [{ name: "keepdims", type: ATTRIBUTE.INT, i: 0n }],
      },
    ],
    [["features", T.DOUBLE, ["n", 47]]],
    [["score", T.DOUBLE, ["n"]]],
  );
}
