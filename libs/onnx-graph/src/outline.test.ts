import { fromBinary } from "@bufbuild/protobuf";
import { onnx } from "@millrace/contracts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { logisticModel } from "./models.ts";
import { type ModelOutline, outlineOf } from "./outline.ts";

const LIMITS = { items: 10_000, fields: 10_000 };
const bytes = logisticModel(
  { features: ["a", "b"], featureDigest: "abc", recipe: "logistic" },
  { weights: [1, 2], bias: 0, means: [0, 0], scales: [1, 1], fill: [0, 0] },
);

const outlined = (candidate: Uint8Array): ModelOutline | null => {
  try {
    return outlineOf(candidate, LIMITS);
  } catch {
    return null;
  }
};
const decoded = (candidate: Uint8Array): onnx.ModelProto | null => {
  try {
    return fromBinary(onnx.ModelProtoSchema, candidate);
  } catch {
    return null;
  }
};

/** What both readings must agree on for the inspection of the one to hold for the other. */
const facts = (outline: ModelOutline): unknown => ({
  domains: outline.domains,
  nodes: outline.graph?.nodes.map((node) => [node.opType, node.domain, node.inputs, node.outputs]),
  attributes: outline.graph?.nodes.flatMap(({ attributes }) =>
    attributes.map((attribute) => [attribute.name, attribute.hasGraph, attribute.isSparse]),
  ),
  tensors: outline.graph?.initializers.map((tensor) => [
    tensor.name,
    tensor.dataType,
    tensor.dims,
    tensor.isExternal,
    tensor.raw?.length ?? 0,
    tensor.typedValues,
  ]),
});
const expectedFacts = (model: onnx.ModelProto): unknown => ({
  domains: model.opsetImport.map(({ domain }) => domain),
  nodes: model.graph?.node.map((node) => [node.opType, node.domain, node.input, node.output]),
  attributes: model.graph?.node.flatMap((node) =>
    node.attribute.map((attribute) => [
      attribute.name,
      attribute.g !== undefined || attribute.graphs.length > 0,
      attribute.sparseTensor !== undefined || attribute.sparseTensors.length > 0,
    ]),
  ),
  tensors: model.graph?.initializer.map((tensor) => [
    tensor.name,
    tensor.dataType,
    tensor.dims,
    tensor.externalData.length > 0 ||
      tensor.dataLocation !== onnx.TensorProto_DataLocation.DEFAULT ||
      tensor.segment !== undefined,
    tensor.rawData.length,
    [tensor.floatData, tensor.int32Data, tensor.stringData, tensor.int64Data].reduce(
      (n, v) => n + v.length,
      0,
    ) +
      tensor.doubleData.length +
      tensor.uint64Data.length,
  ]),
});

describe("outlineOf", () => {
  it("agrees with the full decoding on every model that it accepts, however the bytes were changed", () => {
    let accepted = 0;
    const change = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(change, (changes) => {
        const changed = bytes.slice();
        for (const [at, byte] of changes) changed[at] = byte;
        const outline = outlined(changed);
        const model = decoded(changed);
        if (outline === null || model === null) return;
        accepted += 1;
        expect(facts(outline)).toEqual(expectedFacts(model));
      }),
      { numRuns: 5_000 },
    );
    expect(accepted).toBeGreaterThan(500);
  });

  it("refuses groups, wrong wire types, repeated messages and fields that end behind their message", () => {
    const field = (number: number, wireType: number): number => (number << 3) | wireType;
    for (const wrong of [
      [field(90, 3), field(90, 4)],
      [field(7, 0), 1],
      [field(7, 2), 0, field(7, 2), 0],
      [field(9, 2), 100],
    ]) {
      expect(() => outlineOf(Uint8Array.from(wrong), LIMITS)).toThrow();
    }
  });

  it("stops at its limits", () => {
    expect(() => outlineOf(bytes, { items: 50, fields: 10_000 })).toThrow("messages and names");
    expect(() => outlineOf(bytes, { items: 10_000, fields: 50 })).toThrow("fields");
  });

  it("keeps few values of many, and views instead of copies", () => {
    const field = (number: number, content: number[]): number[] => [
      (number << 3) | 2,
      ...[content.length & 127, content.length >> 7].map((part, i) => (i === 0 ? part | 128 : part)),
      ...content,
    ];
    const values = Array.from({ length: 1000 }, () => 1);
    const model = Uint8Array.from(field(7, field(5, [...field(7, values), ...field(9, values)])));
    const tensor = outlineOf(model, LIMITS).graph?.initializers[0];
    expect(tensor?.typedValues).toBe(1000);
    expect(tensor?.numbers.length).toBe(64);
    expect(tensor?.raw?.buffer).toBe(model.buffer);
  });
});
