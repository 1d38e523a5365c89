import { fromBinary } from "@bufbuild/protobuf";
import { ModelInferRequestSchema, onnx } from "@millrace/contracts";
import { loadModel } from "@millrace/onnx";
import { describe, expect, it } from "vitest";
import {
  brokenModel,
  firstValueModel,
  mlpModel,
  requestsFor,
  slowModel,
  tableModel,
  treesModel,
} from "./models.ts";

describe("the models that inference is measured with", () => {
  const models = {
    trees: treesModel("trees", 1),
    mlp: mlpModel("mlp", [128, 64], 1),
    first: firstValueModel("first", 40),
    slow: slowModel("slow", 3, 1),
    table: tableModel("table", 2, 1),
  };

  it.each(Object.values(models))("$name answers rows, and rows of which nothing is known", async (model) => {
    const loaded = await loadModel(model.bytes, { threads: 1 });
    const [request] = requestsFor(model, { requests: 1, rows: 3 }, 7);
    const scores = await loaded.score(request?.matrix as Float32Array, 3);
    const unknown = await loaded.score(new Float32Array(model.features.length).fill(Number.NaN), 1);
    expect([...scores, ...unknown].every(Number.isFinite)).toBe(true);
    await loaded.release();
  });

  it("has 200 trees of 63 leaves", () => {
    const [ensemble] = fromBinary(onnx.ModelProtoSchema, models.trees.bytes).graph?.node ?? [];
    const ints = (name: string): readonly bigint[] =>
      ensemble?.attribute.find((attribute) => attribute.name === name)?.ints ?? [];
    expect(new Set(ints("nodes_treeids")).size).toBe(200);
    expect(ints("target_nodeids")).toHaveLength(200 * 63);
  });

  it("makes tables of the wanted size, whose whole content a request may reach", async () => {
    expect(models.table.bytes.length / 1e6).toBeCloseTo(2, 1);
    const loaded = await loadModel(models.table.bytes, { threads: 1 });
    const scoreOf = async (key: number): Promise<number | undefined> =>
      (await loaded.score(new Float32Array(30).fill(key), 1))[0];
    expect(await scoreOf(0)).not.toBe(0.5);
    expect(await scoreOf(1e9)).toBe(0.5);
    await loaded.release();
  });

  it("is the same for the same seed, and another for another", () => {
    expect(treesModel("trees", 1).bytes).toEqual(models.trees.bytes);
    expect(treesModel("trees", 2).bytes).not.toEqual(models.trees.bytes);
  });

  it("has one that does not load", async () => {
    await expect(loadModel(brokenModel("broken").bytes, { threads: 1 })).rejects.toThrow();
  });
});

describe("requestsFor", () => {
  it("asks by raw contents, each time for other values", () => {
    const model = mlpModel("mlp", [4], 1);
    const [first, second] = requestsFor(model, { requests: 2, rows: 5 }, 3);
    const { modelName, inputs, rawInputContents } = fromBinary(
      ModelInferRequestSchema,
      first?.message ?? new Uint8Array(),
    );
    expect([modelName, inputs[0]?.shape]).toEqual(["mlp", [5n, 30n]]);
    expect(rawInputContents[0]).toEqual(new Uint8Array(first?.matrix.buffer as ArrayBuffer));
    expect(second?.matrix).not.toEqual(first?.matrix);
  });
});
