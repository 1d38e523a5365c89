import { channel } from "node:diagnostics_channel";
import type { Worker } from "node:worker_threads";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { onnx } from "@millrace/contracts";
import { constantModel, type ModelDescription, type Tree, treeEnsembleModel } from "@millrace/onnx-graph";
import type { Tensor } from "@millrace/open-inference";
import { compileTrees, startTrees } from "@millrace/trees";
import { describe, expect, it } from "vitest";
import { createBackground } from "./background.ts";
import { checkModel, ModelRefused } from "./check-model.ts";
import { compileModel, differenceOf, type Outcome } from "./compile.ts";
import { loadModel } from "./load.ts";
import { scatteredRows } from "./samples.ts";
import { openSession } from "./session.ts";
import { graphModel, T, unary } from "./testing/graph.ts";
import { oneInOneOut } from "./trees-model.ts";
import { InputRefused } from "./value.ts";

const options = { threads: 1, optimisation: "all", providers: ["cpu"] } as const;
const description: ModelDescription = { features: ["a", "b", "c"], featureDigest: "d", recipe: "test" };
const WIDTH = 3;

/** Trees of three leaves, split at whole numbers; the last leaf has the given value. */
const trees = (last: number, count = 5): Tree[] =>
  Array.from({ length: count }, (_, i) => [
    { kind: "split", feature: i % WIDTH, threshold: i, left: 1, right: 2, unknownLeft: i % 2 === 0 },
    { kind: "leaf", value: -0.1 * i },
    { kind: "split", feature: (i + 1) % WIDTH, threshold: 0.5, left: 3, right: 4, unknownLeft: true },
    { kind: "leaf", value: 0.3 },
    { kind: "leaf", value: last },
  ]);
const treesBytes = (last = 0.7, count = 5): Uint8Array =>
  treeEnsembleModel(description, { bias: 0.1, trees: trees(last, count) });
const request = (matrix: Float32Array, width = WIDTH): Tensor[] => [
  { name: "features", datatype: "FP32", shape: [matrix.length / width, width], data: matrix },
];

/** A model of trees that was changed. */
function changed(change: (graph: onnx.GraphProto) => void): Uint8Array {
  const model = fromBinary(onnx.ModelProtoSchema, treesBytes());
  change(model.graph!);
  return toBinary(onnx.ModelProtoSchema, model);
}

describe("loadModel with compile", () => {
  it("answers what onnxruntime answers, at once, and keeps the caller's arrays the caller's", async () => {
    const bytes = treesBytes();
    const before = bytes.slice();
    const recorded = new Float32Array(100).fill(2);
    const model = await loadModel(bytes, {
      threads: 1,
      place: "measure",
      compile: true,
      samples: [request(recorded.subarray(3, 9)), request(recorded, 4)],
    });
    expect([bytes, recorded]).toEqual([before, new Float32Array(100).fill(2)]);
    expect(model).toMatchObject({ evaluator: "trees", place: "here", provider: "cpu", notCompiled: null });
    const reference = await loadModel(bytes, { threads: 1 });
    expect(reference).toMatchObject({ evaluator: "onnxruntime", notCompiled: null });
    expect([model.features, model.signature]).toEqual([reference.features, reference.signature]);

    const matrix = scatteredRows(WIDTH);
    const answer = model.run(request(matrix));
    expect(answer).toBeInstanceOf(Array);
    const [ours] = await answer;
    const [theirs] = await reference.run(request(matrix));
    expect({ ...ours, data: null }).toEqual({ ...theirs, data: null });
    (theirs!.data as Float32Array).forEach((score, i) => {
      expect(Math.abs(score - (ours!.data[i] as number))).toBeLessThanOrEqual(1e-6 * Math.max(1, score));
    });
    expect(await model.score(matrix, matrix.length / WIDTH)).toEqual(ours!.data);
    await Promise.all([model.release(), reference.release()]);
  });

  it("answers [rows, k] where the model does", async () => {
    const bytes = changed((graph) => {
      graph.node.pop(); // Squeeze
      graph.node.at(-1)!.output = ["score"];
      const type = graph.output[0]!.type!.value;
      if (type.case !== "tensorType") throw new Error("the output is no tensor");
      type.value.shape!.dim.push(
        create(onnx.TensorShapeProto_DimensionSchema, { value: { case: "dimValue", value: 1n } }),
      );
    });
    const model = await loadModel(bytes, { threads: 1, compile: true });
    expect([model.evaluator, model.features]).toEqual(["trees", 0]);
    expect(await model.run(request(new Float32Array(6)))).toMatchObject([{ name: "score", shape: [2, 1] }]);
    await expect(model.score(new Float32Array(6), 2)).rejects.toThrow("it cannot score rows");
    await model.release();
  });

  it("refuses what the model does not take, by a rejection", async () => {
    const model = await loadModel(treesBytes(), { threads: 1, compile: true });
    await expect(model.run(request(new Float32Array(8), 4))).rejects.toThrow(InputRefused);
    await expect(model.run([])).rejects.toThrow('input "features" is missing');
    await expect(model.run(request(new Float32Array(3)), ["z"])).rejects.toThrow(RangeError);
    expect(await model.run(request(new Float32Array(3)), [])).toEqual([]);
    await expect(model.score(new Float32Array(4), 1)).rejects.toThrow(
      "4 values are not 1 rows of 3 features",
    );
    expect((await model.score(new Float32Array(0), 0)).length).toBe(0);
    await Promise.all([model.release(), model.release()]);
    await expect(model.run(request(new Float32Array(3)))).rejects.toThrow("released");
  });

  it("leaves every other model to onnxruntime, and says why", async () => {
    const reasonFor = async (bytes: Uint8Array): Promise<string | null> => {
      const model = await loadModel(bytes, { threads: 1, compile: true });
      expect(model.evaluator).toBe("onnxruntime");
      expect((await model.run(request(new Float32Array(3))))[0]!.shape).toEqual([1]);
      await model.release();
      return model.notCompiled;
    };
    expect(await reasonFor(constantModel(description, 0.5))).toBe("there is no tree operator");
    expect(await reasonFor(changed((graph) => (graph.node[1]!.opType = "Exp")))).toBe(
      "operator Exp is not known",
    );
    await expect(loadModel(new Uint8Array([1, 2, 3]), { threads: 1, compile: true })).rejects.toThrow(
      "not an ONNX model",
    );
  });
});

describe("compileModel", () => {
  it("takes one FP32 matrix in and one FP32 tensor of rows out", async () => {
    const expectReason = async (bytes: Uint8Array, reason: string): Promise<void> =>
      expect(await compileModel(bytes, checkModel(bytes), options, [])).toMatchObject({
        notCompiled: reason,
      });
    const wrongForm = "it is not FP32 [rows, n] in and FP32 [rows] or [rows, k] out";
    await expectReason(unary("Neg", T.DOUBLE), wrongForm);
    await expectReason(graphModel([], [["x", T.FLOAT, ["n"]]], [["x", T.FLOAT, ["n"]]]), wrongForm);
    await expectReason(
      changed((graph) => {
        const shape = graph.input[0]!.type!.value;
        if (shape.case === "tensorType") shape.value.shape!.dim[0]!.value = { case: "dimValue", value: 1n };
      }),
      wrongForm,
    );
  });

  it("is not fooled: other trees, and other shapes, are found on the rows that it makes up", async () => {
    const bytes = treesBytes(0.7);
    const session = await openSession(bytes, options);
    const ends = oneInOneOut(checkModel(bytes))!;
    const differenceTo = async (other: Uint8Array, of = ends): Promise<string | null> => {
      const image = compileTrees(other);
      if ("unsupported" in image) throw new Error(image.unsupported);
      return differenceOf(startTrees(image), session, of, scatteredRows(WIDTH));
    };
    expect(await differenceTo(bytes)).toBeNull();
    expect(await differenceTo(treesBytes(0.70001))).toMatch(
      /^onnxruntime answers 0\.\d+ to row \d+, the trees/,
    );
    const output = { ...ends.output, shape: [-1, 1] };
    expect(await differenceTo(bytes, { ...ends, output })).toBe(
      "onnxruntime answers float32 [512], the trees float32 [512,1]",
    );
    await session.release();
  });
});

describe("the background", () => {
  /** The threads that are started while `use` runs. */
  async function threadsOf(use: () => Promise<unknown>): Promise<Worker[]> {
    const workers: Worker[] = [];
    const collect = (message: unknown): void => void workers.push((message as { worker: Worker }).worker);
    channel("worker_threads").subscribe(collect);
    await use().finally(() => channel("worker_threads").unsubscribe(collect));
    return workers;
  }
  const isCompiled = (outcome: Outcome): boolean => "image" in outcome;

  it("compiles side by side in one thread, and ends it when there is nothing to do", async () => {
    const { compile } = createBackground(50);
    const [worker, ...others] = await threadsOf(async () => {
      const outcomes = await Promise.all(
        [0.1, 0.2, 0.3].map((last) => compile(treesBytes(last), options, [])),
      );
      expect(outcomes.map(isCompiled)).toEqual([true, true, true]);
    });
    expect(others).toEqual([]);
    expect(await new Promise((resolve) => worker!.once("exit", resolve))).toBe(0);
    expect(isCompiled(await compile(treesBytes(), options, []))).toBe(true);
  });

  it("gives a reason when its thread dies, and starts another one", async () => {
    const { compile } = createBackground(50);
    let outcome: Promise<Outcome> | undefined;
    const [worker] = await threadsOf(async () => {
      outcome = compile(treesBytes(), options, []);
      await new Promise((resolve) => setTimeout(resolve, 20));
    });
    await worker!.terminate();
    expect(await outcome).toEqual({
      signature: null,
      notCompiled: expect.stringMatching("^the background thread ended: exit code"),
    });
    expect(isCompiled(await compile(treesBytes(), options, []))).toBe(true);
  });

  it("does not try what cannot be", async () => {
    const { compile } = createBackground();
    const workers = await threadsOf(async () => {
      const large = new Uint8Array(16 * 2 ** 20 + 1);
      expect(await compile(large, options, [])).toMatchObject({
        notCompiled: "it has more than 16777216 bytes",
      });
      const elsewhere = { ...options, providers: ["cuda", "cpu"] } as const;
      expect(await compile(treesBytes(), elsewhere, [])).toMatchObject({ notCompiled: "it is for cuda" });
    });
    expect(workers).toEqual([]);
  });

  it("inspects many trees in its thread, as quickly read models here, and says alike what it refuses", async () => {
    const { inspect } = createBackground(50);
    const many = treesBytes(0.5, 2_000);
    const workers = await threadsOf(async () => {
      expect(await inspect(treesBytes())).toEqual(checkModel(treesBytes()));
      await expect(inspect(new Uint8Array([1, 2, 3]))).rejects.toThrow(ModelRefused);
    });
    expect(workers).toEqual([]);
    const [worker] = await threadsOf(async () => {
      expect(await inspect(many)).toEqual(checkModel(many));
      await expect(inspect(many.subarray(0, many.length - 1))).rejects.toThrow("not an ONNX model");
    });
    expect(worker).toBeDefined();
  });
});

describe("where a model is loaded", () => {
  it("is another thread when loading would hold up this one", async () => {
    const placeOf = async (bytes: Uint8Array): Promise<string> => {
      const model = await loadModel(bytes, { threads: 1, place: "measure" });
      await model.release();
      return model.place;
    };
    const columns = 1_024;
    const weights = (rows: number): Uint8Array =>
      graphModel(
        [{ opType: "Gather", input: ["w", "x"], output: ["y"] }],
        [["x", T.INT64, ["n"]]],
        [["y", T.FLOAT, ["n", columns]]],
        [
          {
            name: "w",
            dataType: T.FLOAT,
            dims: [BigInt(rows), BigInt(columns)],
            rawData: new Uint8Array(rows * columns * 4),
          },
        ],
      );
    expect(await placeOf(weights(256))).toBe("here");
    expect(await placeOf(weights(1_024))).toBe("worker");
    expect(await placeOf(treesBytes(0.5, 100))).toBe("here");
    expect(await placeOf(treesBytes(0.5, 2_000))).toBe("worker");
  });
});
