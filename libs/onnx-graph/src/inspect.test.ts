import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { onnx } from "@millrace/contracts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { inspectModel, MODEL_LIMITS } from "./inspect.ts";
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

const node = (opType: string, domain = ""): onnx.NodeProto =>
  create(onnx.NodeProtoSchema, { opType, domain });

describe("inspectModel", () => {
  it("returns the signature and what the model says about itself", () => {
    expect(inspectModel(good)).toEqual({
      ok: true,
      signature: { features: 2, featureNames: ["a", "b"], featureDigest: "abc", recipe: "logistic" },
    });
  });

  it("takes a stranger's model without metadata", () => {
    expect(inspectModel(changed((model) => void (model.metadataProps = [])))).toEqual({
      ok: true,
      signature: { features: 2, featureNames: null, featureDigest: null, recipe: null },
    });
  });

  it("never throws on arbitrary bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => !inspectModel(bytes).ok));
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), (at, value) => {
        const bytes = good.slice();
        bytes[at] = value;
        inspectModel(bytes);
      }),
    );
  });

  const external = create(onnx.StringStringEntryProtoSchema, { key: "location", value: "/etc/passwd" });
  it.each<[string, (model: onnx.ModelProto, graph: onnx.GraphProto) => void, string]>([
    ["external data", (_, g) => void g.initializer[0]?.externalData.push(external), "external data"],
    [
      "the mark of external data alone",
      (_, g) =>
        void ((g.initializer[0] as onnx.TensorProto).dataLocation = onnx.TensorProto_DataLocation.EXTERNAL),
      "external data",
    ],
    [
      "external data in an attribute",
      (_, g) =>
        void g.node[0]?.attribute.push(
          create(onnx.AttributeProtoSchema, { name: "value", t: { externalData: [external] } }),
        ),
      "external data",
    ],
    ["a foreign operator", (_, g) => void g.node.push(node("Run", "com.evil")), "com.evil.Run"],
    [
      "a foreign operator set",
      (m) => void m.opsetImport.push(create(onnx.OperatorSetIdProtoSchema, { domain: "x" })),
      '"x"',
    ],
    [
      "a subgraph",
      (_, g) =>
        void g.node.push(
          create(onnx.NodeProtoSchema, { opType: "Loop", attribute: [{ name: "body", g: {} }] }),
        ),
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
      "a second input",
      (_, g) => void g.input.push(create(onnx.ValueInfoProtoSchema, { name: "more" })),
      "more",
    ],
    ["another input name", (_, g) => void ((g.input[0] as onnx.ValueInfoProto).name = "x"), "(x)"],
    [
      "a second output",
      (_, g) => void g.output.push(create(onnx.ValueInfoProtoSchema, { name: "label" })),
      "label",
    ],
    [
      "an input of rank 1",
      (_, g) => void ((g.input[0] as onnx.ValueInfoProto).type = g.output[0]?.type),
      "FP32",
    ],
    [
      "an output of rank 2",
      (_, g) => void ((g.output[0] as onnx.ValueInfoProto).type = g.input[0]?.type),
      "FP32",
    ],
    ["no types", (_, g) => void ((g.input[0] as onnx.ValueInfoProto).type = undefined), "FP32"],
    ["a default input", (_, g) => void ((g.initializer[0] as onnx.TensorProto).name = "features"), "default"],
    [
      "names that do not fit the width",
      (m) => void (m.metadataProps.find((p) => p.key === "millrace.features")!.value = '["a"]'),
      "2 features",
    ],
    [
      "too many nodes",
      (_, g) => void (g.node = Array.from({ length: MODEL_LIMITS.nodes + 1 }, () => node("Abs"))),
      "nodes",
    ],
    ["no graph", (m) => void (m.graph = undefined), "no graph"],
  ])("refuses %s", (_what, change, named) => {
    const inspection = inspectModel(changed(change));
    expect(inspection).toEqual({ ok: false, reason: expect.stringContaining(named) });
  });

  it("refuses more bytes than the limit before it reads them", () => {
    expect(inspectModel({ byteLength: MODEL_LIMITS.bytes + 1 } as Uint8Array).ok).toBe(false);
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
