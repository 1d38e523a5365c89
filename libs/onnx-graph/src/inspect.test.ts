import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { onnx } from "@millrace/contracts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  hasTrees,
  inspectModel,
  lineContract,
  lineWidth,
  MODEL_LIMITS,
  type ModelSignature,
} from "./inspect.ts";
import { constantModel, logisticModel } from "./models.ts";

const description = { features: ["a", "b"], featureDigest: "abc", recipe: "logistic" };
const good = logisticModel(description, {
  weights: [1, 2],
  bias: 0,
  means: [0, 0],
  scales: [1, 1],
  fill: [0, 0],
});

/** The good model after one change. */
function changed(change: (model: onnx.ModelProto, graph: onnx.GraphProto) => void): Uint8Array {
  const model = fromBinary(onnx.ModelProtoSchema, good);
  change(model, model.graph as onnx.GraphProto);
  return toBinary(onnx.ModelProtoSchema, model);
}

const node = (opType: string, more: MessageInitShape<typeof onnx.NodeProtoSchema> = {}): onnx.NodeProto =>
  create(onnx.NodeProtoSchema, { opType, ...more });

type Sizes = readonly (number | string)[];
/** A value of the given type and shape; a text in the shape is a free dimension. */
const value = (name: string, elemType: number, shape: Sizes): onnx.ValueInfoProto =>
  create(onnx.ValueInfoProtoSchema, {
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

/** The good model with other inputs and outputs. */
const withValues = (input: onnx.ValueInfoProto[], output: onnx.ValueInfoProto[]): Uint8Array =>
  changed((_, graph) => {
    graph.input = input;
    graph.output = output;
  });

function signatureOf(bytes: Uint8Array): ModelSignature {
  const inspection = inspectModel(bytes);
  if (!inspection.ok) throw new Error(inspection.reason);
  return inspection.signature;
}

const T = onnx.TensorProto_DataType;

describe("inspectModel", () => {
  it("returns the signature and what the model says about itself", () => {
    const bytes = changed((model) => {
      const entry = { key: "generation", value: "7" };
      model.metadataProps.push(create(onnx.StringStringEntryProtoSchema, entry));
    });
    expect(inspectModel(bytes)).toEqual({
      ok: true,
      signature: {
        inputs: [{ name: "features", datatype: "FP32", shape: [-1, 2] }],
        outputs: [{ name: "score", datatype: "FP32", shape: [-1] }],
        batches: true,
        featureNames: ["a", "b"],
        featureDigest: "abc",
        recipe: "logistic",
        metadata: new Map([["generation", "7"]]),
      },
    });
  });

  it("takes a stranger's model without metadata", () => {
    const signature = signatureOf(changed((model) => void (model.metadataProps = [])));
    expect(signature).toMatchObject({ featureNames: null, featureDigest: null, recipe: null });
    expect(lineWidth(signature)).toBe(2);
  });

  it("maps every type that a request can carry", () => {
    const types = {
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
      BF16: T.BFLOAT16,
      FP32: T.FLOAT,
      FP64: T.DOUBLE,
      BYTES: T.STRING,
    };
    for (const [datatype, type] of Object.entries(types)) {
      const { inputs, outputs } = signatureOf(withValues([value("x", type, [3])], [value("y", type, [])]));
      expect(inputs).toEqual([{ name: "x", datatype, shape: [3] }]);
      expect(outputs).toEqual([{ name: "y", datatype, shape: [] }]);
    }
  });

  it("says that a model batches only when every first dimension is free", () => {
    const free = value("x", T.FLOAT, ["n", 3]);
    const batches = (...values: onnx.ValueInfoProto[]): boolean =>
      signatureOf(withValues([free], values)).batches;
    expect(batches(value("y", T.FLOAT, ["n"]), value("z", T.INT64, ["n", 4]))).toBe(true);
    expect(batches(value("y", T.FLOAT, ["n"]), value("z", T.INT64, [1, 4]))).toBe(false);
    expect(batches(value("y", T.FLOAT, []))).toBe(false);
  });

  it("does not ask a request for an input that an initializer gives", () => {
    const bytes = changed((_, graph) => {
      for (const { name } of graph.initializer) graph.input.push(value(name, T.FLOAT, [1, 2]));
    });
    expect(signatureOf(bytes).inputs.map(({ name }) => name)).toEqual(["features"]);
  });

  it("takes time with the number of inputs, not with its square", () => {
    const inputs = Array.from({ length: 120_000 }, (_, i) => value(`input ${i}`, T.FLOAT, []));
    expect(signatureOf(withValues(inputs, [value("y", T.FLOAT, [])])).inputs).toHaveLength(120_000);
  });

  it("never throws on arbitrary bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => !inspectModel(bytes).ok));
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), (at, byte) => {
        const bytes = good.slice();
        bytes[at] = byte;
        inspectModel(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  const external = create(onnx.StringStringEntryProtoSchema, { key: "location", value: "/etc/passwd" });
  const tensor = (more: MessageInitShape<typeof onnx.TensorProtoSchema>): onnx.TensorProto =>
    create(onnx.TensorProtoSchema, { name: "extra", ...more });
  const withAttribute = (more: MessageInitShape<typeof onnx.AttributeProtoSchema>): onnx.NodeProto =>
    node("Constant", { output: ["extra"], attribute: [{ name: "value", ...more }] });

  it.each<[string, (model: onnx.ModelProto, graph: onnx.GraphProto) => void, string]>([
    ["external data", (_, g) => void g.initializer[0]?.externalData.push(external), "external data"],
    [
      "an address in memory",
      (_, g) =>
        void g.initializer[0]?.externalData.push(
          create(onnx.StringStringEntryProtoSchema, { key: "location", value: "*/_ORT_MEM_ADDR_/*" }),
        ),
      "external data",
    ],
    [
      "the mark of external data alone",
      (_, g) =>
        void ((g.initializer[0] as onnx.TensorProto).dataLocation = onnx.TensorProto_DataLocation.EXTERNAL),
      "external data",
    ],
    [
      "external data in an attribute",
      (_, g) => void g.node.push(withAttribute({ t: { externalData: [external] } })),
      "external data",
    ],
    [
      "external data in a list of an attribute",
      (_, g) => void g.node.push(withAttribute({ tensors: [{ dataLocation: 1 }] })),
      "external data",
    ],
    [
      "external data in a sparse attribute",
      (_, g) => void g.node.push(withAttribute({ sparseTensor: { values: { externalData: [external] } } })),
      "sparse",
    ],
    ["a foreign operator", (_, g) => void g.node.push(node("Run", { domain: "com.evil" })), "com.evil.Run"],
    [
      "a foreign operator set",
      (m) => void m.opsetImport.push(create(onnx.OperatorSetIdProtoSchema, { domain: "x" })),
      '"x"',
    ],
    [
      "a subgraph",
      (_, g) => void g.node.push(node("Loop", { attribute: [{ name: "body", g: {} }] })),
      "Loop",
    ],
    ["a function", (m) => void m.functions.push(create(onnx.FunctionProtoSchema, {})), "functions"],
    [
      "a training graph",
      (m) => void m.trainingInfo.push(create(onnx.TrainingInfoProtoSchema, {})),
      "training",
    ],
    ["chance", (_, g) => void g.node.push(node("RandomNormal")), "RandomNormal"],
    [
      "sparse initializers",
      (_, g) => void g.sparseInitializer.push(create(onnx.SparseTensorProtoSchema, {})),
      "sparse",
    ],
    [
      "a shape without its data",
      (_, g) => void g.initializer.push(tensor({ dataType: T.FLOAT, dims: [2n ** 40n, 2n ** 40n] })),
      "has 0 values",
    ],
    [
      "a shape with other raw data",
      (_, g) =>
        void g.initializer.push(tensor({ dataType: T.INT64, dims: [2n], rawData: new Uint8Array(15) })),
      "15 bytes of data, its shape 16",
    ],
    [
      "a shape below zero",
      (_, g) => void g.initializer.push(tensor({ dataType: T.FLOAT, dims: [-1n] })),
      "[-1]",
    ],
    [
      "data that does not fill its shape in an attribute",
      (_, g) => void g.node.push(withAttribute({ t: { dataType: T.FLOAT, dims: [3n], floatData: [1] } })),
      "has 1 values, its shape 3",
    ],
    [
      "an output that is no tensor",
      (_, g) => void ((g.output[0] as onnx.ValueInfoProto).type = undefined),
      "ZipMap",
    ],
    [
      "a type that no request can carry",
      (_, g) => void (g.output = [value("y", T.FLOAT8E4M3FN, [1])]),
      "FLOAT8E4M3FN",
    ],
    [
      "an output of absurd size",
      (_, g) => void (g.output = [value("y", T.FLOAT, [2 ** 20, 2 ** 20])]),
      "values",
    ],
    ["the same name twice", (_, g) => void g.output.push(g.output[0] as onnx.ValueInfoProto), "twice"],
    ["no output", (_, g) => void (g.output = []), "no output"],
    [
      "names that are no list",
      (m) => void (m.metadataProps.find((p) => p.key === "millrace.features")!.value = "a"),
      "millrace.features",
    ],
    [
      "too many nodes",
      (_, g) => void (g.node = Array.from({ length: MODEL_LIMITS.nodes + 1 }, () => node("Abs"))),
      "nodes",
    ],
    [
      "too many messages",
      (_, g) =>
        void (g.node = [
          node("Concat", { input: Array.from({ length: MODEL_LIMITS.items }, () => "x"), output: ["y"] }),
        ]),
      "more messages",
    ],
    ["no graph", (m) => void (m.graph = undefined), "no graph"],
  ])("refuses %s", (_what, change, named) => {
    const inspection = inspectModel(changed(change));
    expect(inspection).toEqual({ ok: false, reason: expect.stringContaining(named) });
  });

  const int64 = (name: string, values: number[]): onnx.TensorProto =>
    tensor({ name, dataType: T.INT64, dims: [BigInt(values.length)], int64Data: values.map(BigInt) });
  const raw = (name: string, values: number[]): onnx.TensorProto =>
    tensor({
      name,
      dataType: T.INT64,
      dims: [BigInt(values.length)],
      rawData: new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer),
    });
  const float = (name: string, values: number[]): onnx.TensorProto =>
    tensor({ name, dataType: T.FLOAT, dims: [BigInt(values.length)], floatData: values });
  const half = 2 ** 25 + 1;

  it.each<[string, onnx.NodeProto[], onnx.TensorProto[]]>([
    ["ConstantOfShape", [node("ConstantOfShape", { input: ["n"] })], [int64("n", [2 ** 30, 2 ** 30])]],
    ["ConstantOfShape of raw data", [node("ConstantOfShape", { input: ["n"] })], [raw("n", [2 ** 40])]],
    [
      "ConstantOfShape of a Constant",
      [
        node("Constant", {
          output: ["n"],
          attribute: [{ name: "value", t: { dataType: T.INT64, dims: [1n], int64Data: [2n ** 40n] } }],
        }),
        node("ConstantOfShape", { input: ["n"] }),
      ],
      [],
    ],
    [
      "ConstantOfShape of a list",
      [
        node("Constant", {
          output: ["n"],
          attribute: [{ name: "value_ints", ints: [2n ** 20n, 2n ** 20n] }],
        }),
        node("ConstantOfShape", { input: ["n"] }),
      ],
      [],
    ],
    ["Expand", [node("Expand", { input: ["x", "n"] })], [int64("n", [1, 2 ** 31])]],
    ["Tile", [node("Tile", { input: ["x", "n"] })], [int64("n", [2 ** 27])]],
    [
      "Tile of something known",
      [node("Tile", { input: ["x", "n"] })],
      [
        int64("n", [2 ** 20]),
        int64(
          "x",
          Array.from({ length: 65 }, () => 0),
        ),
      ],
    ],
    [
      "Range",
      [node("Range", { input: ["a", "b", "c"] })],
      [float("a", [0]), float("b", [1e30]), float("c", [1e-30])],
    ],
    [
      "Resize by sizes",
      [node("Resize", { input: ["x", "", "", "n"] })],
      [int64("n", [1, 1, 2 ** 20, 2 ** 20])],
    ],
    ["Resize by scales", [node("Resize", { input: ["x", "", "s"] })], [float("s", [1, 1, 1e6, 1e6])]],
    [
      "Upsample",
      [node("Upsample", { input: ["x"], attribute: [{ name: "scales", floats: [1e5, 1e5] }] })],
      [],
    ],
    ["Pad", [node("Pad", { input: ["x", "n"] })], [int64("n", [2 ** 20, 0, 0, 2 ** 20])]],
    ["OneHot", [node("OneHot", { input: ["x", "n"] })], [int64("n", [2 ** 40])]],
    ["HannWindow", [node("HannWindow", { input: ["n"] })], [int64("n", [2 ** 40])]],
    [
      "many that are small enough alone",
      [node("Expand", { input: ["x", "n"] }), node("Expand", { input: ["x", "n"] })],
      [int64("n", [half])],
    ],
  ])("refuses a bomb: %s", (_what, nodes, initializers) => {
    const bytes = changed((_, graph) => {
      graph.node.push(...nodes);
      graph.initializer.push(...initializers);
    });
    expect(inspectModel(bytes)).toEqual({
      ok: false,
      reason: expect.stringMatching(/operators make \S+ values/),
    });
  });

  it("lets the same operators pass with sizes that models have", () => {
    const bytes = changed((_, graph) => {
      graph.node.push(
        node("ConstantOfShape", { input: ["mask"] }),
        node("Pad", { input: ["x", "pads"] }),
        node("Resize", { input: ["x", "", "scales"] }),
        node("Range", { input: ["a", "b", "c"] }),
      );
      graph.initializer.push(
        int64("mask", [1, 1, 2048, 2048]),
        int64("pads", [0, 0, 3, 3, 0, 0, 3, 3]),
        float("scales", [1, 1, 2, 2]),
        int64("a", [0]),
        int64("b", [32_768]),
        int64("c", [1]),
      );
    });
    expect(inspectModel(bytes).ok).toBe(true);
  });

  it("refuses more bytes than the limit before it reads them", () => {
    expect(inspectModel({ byteLength: MODEL_LIMITS.bytes + 1 } as Uint8Array).ok).toBe(false);
  });
});

describe("hasTrees", () => {
  it("looks for operators, not for their names anywhere", () => {
    expect(hasTrees(changed((_, graph) => void graph.node.push(node("TreeEnsembleRegressor"))))).toBe(true);
    expect(hasTrees(changed((_, graph) => void graph.node.push(node("TreeEnsemble"))))).toBe(true);
    expect(hasTrees(changed((_, graph) => void (graph.name = "TreeEnsemble")))).toBe(false);
    expect(hasTrees(good)).toBe(false);
  });

  it("is false of what is not an ONNX model", () => {
    const trees = changed((_, graph) => void graph.node.push(node("TreeEnsemble")));
    expect(hasTrees(trees.subarray(0, -1))).toBe(false);
    expect(hasTrees(new Uint8Array(0))).toBe(false);
  });
});

describe("lineContract", () => {
  const input = value("features", T.FLOAT, ["rows", 2]);
  const output = value("score", T.FLOAT, ["rows"]);

  it.each<[string, onnx.ValueInfoProto[], onnx.ValueInfoProto[], string | null]>([
    ["accepts a line's model", [input], [output], null],
    ["refuses a second input", [input, value("more", T.FLOAT, [1])], [output], "(features, more)"],
    ["refuses another input", [value("x", T.FLOAT, ["rows", 2])], [output], "(x)"],
    ["refuses a second output", [input], [output, value("label", T.INT64, ["rows"])], "(score, label)"],
    ["refuses an input of rank 1", [value("features", T.FLOAT, ["rows"])], [output], "FP32 [rows, features]"],
    ["refuses free features", [value("features", T.FLOAT, ["rows", "n"])], [output], "FP32 [rows, features]"],
    ["refuses fixed rows", [value("features", T.FLOAT, [1, 2])], [output], "FP32 [rows, features]"],
    [
      "refuses double precision",
      [value("features", T.DOUBLE, ["rows", 2])],
      [output],
      "FP32 [rows, features]",
    ],
    [
      "refuses too many features",
      [value("features", T.FLOAT, ["rows", 100_001])],
      [output],
      "100000 features",
    ],
    ["refuses an output of rank 2", [input], [value("score", T.FLOAT, ["rows", 1])], "FP32 [rows]"],
    [
      "refuses names of another number",
      [value("features", T.FLOAT, ["rows", 3])],
      [output],
      "names 2 features",
    ],
  ])("%s", (_what, inputs, outputs, reason) => {
    const signature = signatureOf(withValues(inputs, outputs));
    expect(lineContract(signature)).toEqual(reason === null ? null : expect.stringContaining(reason));
    expect(lineWidth(signature)).toBe(reason === null ? 2 : null);
  });
});

describe("constantModel", () => {
  it("refuses what is not a probability, and a line without features", () => {
    expect(() => constantModel(description, 1.5)).toThrow(RangeError);
    expect(() => constantModel(description, Number.NaN)).toThrow(RangeError);
    expect(() => constantModel({ ...description, features: [] }, 0.5)).toThrow(RangeError);
  });
});

describe("logisticModel", () => {
  it("refuses wrong lengths, values that are not finite and scales that are not above 0", () => {
    const parameters = { weights: [1, 2], bias: 0, means: [0, 0], scales: [1, 1], fill: [0, 0] };
    expect(() => logisticModel(description, { ...parameters, means: [0] })).toThrow(
      "means: 1 values for 2 features",
    );
    expect(() => logisticModel(description, { ...parameters, bias: 1e39 })).toThrow("bias: not finite");
    expect(() => logisticModel(description, { ...parameters, scales: [1, 0] })).toThrow("scales");
  });
});
