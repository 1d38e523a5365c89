import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { onnx } from "@millrace/contracts";
import { describe, expect, it } from "vitest";
import { attribute, floatTensor, modelBytes, node } from "./graph.ts";
import { inspectModel } from "./inspect.ts";
import { constantModel, logisticModel } from "./models.ts";
import { INT8_DYNAMIC, QUANTISED, type QuantisedModel, quantiseModel } from "./quantise.ts";
import { treeEnsembleModel } from "./trees.ts";

type Node = MessageInitShape<typeof onnx.NodeProtoSchema>;
type Tensor = MessageInitShape<typeof onnx.TensorProtoSchema>;

const WIDTH = 32;
const DIGEST = "ab".repeat(32);
const features = Array.from({ length: WIDTH }, (_, i) => `f${i}`);
const description = { features, featureDigest: "abc", recipe: "mlp" };
const { INT8 } = onnx.TensorProto_DataType;

/** Between -1 and 1, no two columns with the same largest value. */
const values = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => Math.sin(i * (1 + i / 97)));
const square = (name: string): Tensor => floatTensor(name, [WIDTH, WIDTH], values(WIDTH * WIDTH));
const model = (nodes: Node[], initializers: Tensor[]): Uint8Array =>
  modelBytes(description, nodes, initializers);

function quantised(bytes: Uint8Array): QuantisedModel & { readonly graph: onnx.GraphProto } {
  const result = quantiseModel(bytes, DIGEST);
  if ("unsupported" in result) throw new Error(result.unsupported);
  return { ...result, graph: fromBinary(onnx.ModelProtoSchema, result.model).graph as onnx.GraphProto };
}

const operators = ({ node: nodes }: onnx.GraphProto): string[] => nodes.map(({ opType }) => opType);
const names = ({ initializer }: onnx.GraphProto): string[] => initializer.map(({ name }) => name);

describe("quantiseModel", () => {
  it("puts int8 weights with a scale per column in the place of FP32 ones", () => {
    const bytes = model([node("MatMul", ["features", "w"], ["score"])], [square("w")]);
    const { graph, tensors, bytesSaved, model: made } = quantised(bytes);
    expect(operators(graph)).toEqual(["DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul"]);
    expect(names(graph)).toEqual(["w_quantized", "w_scale"]);
    expect(tensors).toBe(1);
    expect(bytesSaved).toBe(bytes.length - made.length);
    expect(made.length).toBeLessThan(bytes.length / 2);

    const [weights, scales] = graph.initializer as [onnx.TensorProto, onnx.TensorProto];
    expect(weights).toMatchObject({ dataType: INT8, dims: [BigInt(WIDTH), BigInt(WIDTH)] });
    const whole = new Int8Array(new Uint8Array(weights.rawData).buffer);
    const steps = new Float32Array(new Uint8Array(scales.rawData).buffer);
    for (const [i, value] of values(WIDTH * WIDTH).entries()) {
      const step = steps[i % WIDTH] as number;
      expect(Math.abs((whole[i] as number) * step - value)).toBeLessThanOrEqual(step * 0.5001);
    }
    for (let column = 0; column < WIDTH; column++) {
      const sizes = Array.from({ length: WIDTH }, (_, row) =>
        Math.abs(whole[row * WIDTH + column] as number),
      );
      expect(Math.max(...sizes)).toBe(64);
    }
  });

  it("keeps the signature, says what it was made of, and makes the same of the same", () => {
    const bytes = model([node("MatMul", ["features", "w"], ["score"])], [square("w")]);
    const { model: made } = quantised(bytes);
    const [before, after] = [inspectModel(bytes), inspectModel(made)];
    if (!before.ok || !after.ok) throw new Error("refused");
    expect(after.signature).toEqual({
      ...before.signature,
      metadata: new Map([
        [QUANTISED.method, INT8_DYNAMIC],
        [QUANTISED.from, DIGEST],
      ]),
    });
    expect(quantised(bytes).model).toEqual(made);
    expect(quantiseModel(made, DIGEST)).toEqual({ unsupported: "it is quantised already" });
  });

  it("reads weights in raw data wherever they begin", () => {
    const typed = model([node("MatMul", ["features", "w"], ["score"])], [square("w")]);
    const parsed = fromBinary(onnx.ModelProtoSchema, typed);
    const tensor = parsed.graph?.initializer[0] as onnx.TensorProto;
    tensor.rawData = new Uint8Array(Float32Array.from(tensor.floatData).buffer);
    tensor.floatData = [];
    for (const shift of [0, 1, 2, 3]) {
      parsed.producerName = "p".repeat(shift + 1);
      const { graph } = quantised(Buffer.from(toBinary(onnx.ModelProtoSchema, parsed)));
      expect(graph.initializer).toEqual(quantised(typed).graph.initializer);
    }
  });

  it("quantises what several products take once, and leaves weights that others use as well", () => {
    const { graph, tensors } = quantised(
      model(
        [
          node("MatMul", ["features", "w"], ["a"]),
          node("MatMul", ["features", "w"], ["b"]),
          node("MatMul", ["features", "v"], ["c"]),
          node("Add", ["c", "v"], ["score"]),
        ],
        [square("w"), square("v")],
      ),
    );
    expect(tensors).toBe(2);
    expect(operators(graph).filter((name) => name === "DynamicQuantizeLinear")).toHaveLength(1);
    expect(operators(graph).filter((name) => name === "MatMulInteger")).toHaveLength(3);
    expect(names(graph)).toEqual(["v", "w_quantized", "w_scale", "v_quantized", "v_scale"]);
  });

  it("takes a Gemm as a MatMul with a bias, unless it scales or transposes what comes in", () => {
    const bias = floatTensor("bias", [WIDTH], values(WIDTH));
    const gemm = (...attributes: Parameters<typeof node>[3] & {}): Uint8Array =>
      model([node("Gemm", ["features", "w", "bias"], ["score"], attributes)], [square("w"), bias]);
    const plain = quantised(gemm()).graph;
    expect(operators(plain).slice(-2)).toEqual(["Mul", "Add"]);
    expect(plain.node.at(-1)).toMatchObject({ input: ["score_unbiased", "bias"], output: ["score"] });

    const turned = quantised(gemm(attribute.int("transB", 1))).graph;
    const rows = (graph: onnx.GraphProto): Int8Array =>
      new Int8Array(new Uint8Array(graph.initializer.at(-2)?.rawData ?? []).buffer);
    const signs = (graph: onnx.GraphProto, row: number, column: number): number =>
      Math.sign(rows(graph)[row * WIDTH + column] as number);
    for (const [row, column] of [
      [0, 5],
      [7, 3],
      [31, 30],
    ] as const) {
      expect(signs(turned, row, column)).toBe(signs(plain, column, row));
    }
    for (const other of [
      attribute.float("alpha", 2),
      attribute.float("beta", 0),
      attribute.int("transA", 1),
    ]) {
      expect(quantiseModel(gemm(other), DIGEST)).toHaveProperty("unsupported");
    }
  });

  it("gives names that nothing else has", () => {
    const { graph } = quantised(
      model(
        [node("Relu", ["features"], ["w_scale"]), node("MatMul", ["w_scale", "w"], ["score"])],
        [square("w")],
      ),
    );
    expect(names(graph)).toEqual(["w_quantized", "w_scale_2"]);
    const outputs = graph.node.flatMap(({ output }) => output);
    expect(new Set(outputs).size).toBe(outputs.length);
  });

  it("removes weights from the inputs too, where IR version 3 lists them", () => {
    const bytes = model([node("MatMul", ["features", "w"], ["score"])], [square("w")]);
    const parsed = fromBinary(onnx.ModelProtoSchema, bytes);
    parsed.irVersion = 3n;
    parsed.graph?.input.push(create(onnx.ValueInfoProtoSchema, { name: "w" }));
    const { graph } = quantised(toBinary(onnx.ModelProtoSchema, parsed));
    expect(graph.input.map(({ name }) => name)).toEqual(["features"]);
  });

  it("gives a column of zeros a scale", () => {
    const zeros = floatTensor("w", [WIDTH, WIDTH], new Float32Array(WIDTH * WIDTH));
    const { graph } = quantised(model([node("MatMul", ["features", "w"], ["score"])], [zeros]));
    const scales = new Float32Array(new Uint8Array(graph.initializer.at(-1)?.rawData ?? []).buffer);
    expect(scales).toEqual(new Float32Array(WIDTH).fill(1));
  });

  it("says why it leaves a model alone", () => {
    const multiply = (weights: Tensor, opset?: bigint): Uint8Array => {
      const bytes = model([node("MatMul", ["features", "w"], ["score"])], [weights]);
      const parsed = fromBinary(onnx.ModelProtoSchema, bytes);
      if (opset !== undefined) for (const one of parsed.opsetImport) one.version = opset;
      return toBinary(onnx.ModelProtoSchema, parsed);
    };
    const tree = [{ kind: "leaf" as const, value: 0.5 }];
    const parameters = {
      weights: values(WIDTH),
      bias: 0,
      means: values(WIDTH),
      scales: new Array<number>(WIDTH).fill(1),
      fill: values(WIDTH),
    };
    const infinite = floatTensor(
      "w",
      [WIDTH, WIDTH],
      [...values(WIDTH * WIDTH - 1), Number.POSITIVE_INFINITY],
    );
    const cases: [Uint8Array, RegExp][] = [
      [new Uint8Array([1, 2, 3]), /not an ONNX model/],
      [constantModel(description, 0.5), /no MatMul or Gemm has FP32 weights of 512 values or more/],
      [logisticModel(description, parameters), /512 values or more/],
      [
        treeEnsembleModel(description, { bias: 0, trees: [tree] }),
        /a model of trees \(TreeEnsembleRegressor\)/,
      ],
      [multiply(floatTensor("w", [WIDTH, 15], values(WIDTH * 15))), /512 values/],
      [multiply(floatTensor("w", [1, WIDTH, WIDTH], values(WIDTH * WIDTH))), /512 values/],
      [multiply(infinite), /512 values/],
      [multiply(square("w"), 10n), /opset 10: export it with opset 11 or later/],
    ];
    for (const [bytes, reason] of cases) {
      expect(quantiseModel(bytes, DIGEST)).toEqual({ unsupported: expect.stringMatching(reason) });
    }
  });
});
