import { channel } from "node:diagnostics_channel";
import type { Worker } from "node:worker_threads";
import { constantModel } from "@millrace/onnx-graph";
import type { Datatype, Tensor, TensorData } from "@millrace/open-inference";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { ModelRefused } from "./check-model.ts";
import { type LoadOptions, loadModel } from "./load.ts";
import type { Model } from "./model.ts";
import { availableProviders } from "./provider.ts";
import { graphModel, SLOW_WIDTH, slow, T, unary } from "./testing/graph.ts";
import { InputRefused } from "./value.ts";
import { ModelFailed } from "./worker-session.ts";

const threads = 1;
const text = new TextEncoder();
const matrix = (values: number[]): Tensor => ({
  name: "x",
  datatype: "FP32",
  shape: [values.length / 2, 2],
  data: Float32Array.from(values),
});

async function withModel<R>(
  bytes: Uint8Array,
  use: (model: Model) => Promise<R> | R,
  options: Partial<LoadOptions> = {},
): Promise<R> {
  const model = await loadModel(bytes, { threads, ...options });
  try {
    return await use(model);
  } finally {
    await model.release();
  }
}

const PLACES = ["here", "worker"] as const;
const VALUES: [Exclude<Datatype, "BF16">, number, TensorData][] = [
  ["BOOL", T.BOOL, Uint8Array.of(1, 0)],
  ["UINT8", T.UINT8, Uint8Array.of(0, 255)],
  ["UINT16", T.UINT16, Uint16Array.of(0, 65_535)],
  ["UINT32", T.UINT32, Uint32Array.of(0, 2 ** 32 - 1)],
  ["UINT64", T.UINT64, BigUint64Array.of(0n, 2n ** 64n - 1n)],
  ["INT8", T.INT8, Int8Array.of(-128, 127)],
  ["INT16", T.INT16, Int16Array.of(-32_768, 32_767)],
  ["INT32", T.INT32, Int32Array.of(-(2 ** 31), 2 ** 31 - 1)],
  ["INT64", T.INT64, BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n)],
  // The smallest number and a NaN with a payload: bits, not numbers.
  ["FP16", T.FLOAT16, Uint16Array.of(0x0001, 0x7e01)],
  ["FP32", T.FLOAT, Float32Array.of(-0, Number.NaN)],
  ["FP64", T.DOUBLE, Float64Array.of(Number.MIN_VALUE, Infinity)],
  ["BYTES", T.STRING, [text.encode("\ufeffé"), text.encode("")]],
];

describe.each(PLACES)("run %s", (place) => {
  it.each(VALUES)(
    "gives %s back bit for bit, from a view and in an answer of no rows",
    async (datatype, type, data) => {
      await withModel(
        unary("Identity", type),
        async (model) => {
          const [answer] = await model.run([{ name: "x", datatype, shape: [1, 2], data }]);
          expect(answer).toEqual({ name: "y", datatype, shape: [1, 2], data });
          const none = await model.run([{ name: "x", datatype, shape: [0, 2], data: data.slice(0, 0) }]);
          expect(none[0]).toEqual({ name: "y", datatype, shape: [0, 2], data: data.slice(0, 0) });
          if (!ArrayBuffer.isView(data)) return;
          const larger = new Uint8Array(data.byteLength + 16);
          larger.set(new Uint8Array(data.buffer), 8);
          const view = new (data.constructor as Uint8ArrayConstructor)(larger.buffer, 8, 2);
          const [fromView] = await model.run([{ name: "x", datatype, shape: [1, 2], data: view }]);
          expect(fromView?.data).toEqual(data);
          expect(larger.byteLength).toBe(data.byteLength + 16);
        },
        { place },
      );
    },
  );

  it("matches inputs by name and answers the outputs asked for, in that order, numbers for names included", async () => {
    const bytes = graphModel(
      [
        { opType: "Sub", input: ["a", "b"], output: ["9"] },
        { opType: "Add", input: ["a", "b"], output: ["1"] },
      ],
      [
        ["a", T.FLOAT, ["n"]],
        ["b", T.FLOAT, ["n"]],
      ],
      [
        ["9", T.FLOAT, ["n"]],
        ["1", T.FLOAT, ["n"]],
      ],
    );
    const input = (name: string, value: number): Tensor => ({
      name,
      datatype: "FP32",
      shape: [1],
      data: Float32Array.of(value),
    });
    await withModel(
      bytes,
      async (model) => {
        const inputs = [input("b", 2), input("a", 5)];
        const named = (tensors: Tensor[]): unknown => tensors.map(({ name, data }) => [name, data[0]]);
        expect(named(await model.run(inputs))).toEqual([
          ["9", 3],
          ["1", 7],
        ]);
        expect(named(await model.run(inputs, ["1"]))).toEqual([["1", 7]]);
        await expect(model.run(inputs, ["z"])).rejects.toThrow(RangeError);
        await expect(model.run([input("a", 1)])).rejects.toThrow('input "b" is missing: FP32 [-1]');
        await expect(model.run([...inputs, input("c", 1)])).rejects.toThrow(
          "is not one of the model's: a, b",
        );
        await expect(model.run([...inputs, input("a", 1)])).rejects.toThrow("came twice");
      },
      { place },
    );
  });

  it("rejects what the model fails on, and goes on", async () => {
    const gather = graphModel(
      [{ opType: "Gather", input: ["table", "x"], output: ["y"] }],
      [["x", T.INT64, ["n"]]],
      [["y", T.FLOAT, ["n"]]],
      [{ name: "table", dataType: T.FLOAT, dims: [2n], floatData: [10, 20] }],
    );
    const at = (index: bigint): Tensor[] => [
      { name: "x", datatype: "INT64", shape: [1], data: BigInt64Array.of(index) },
    ];
    await withModel(
      gather,
      async (model) => {
        await expect(model.run(at(5n))).rejects.toThrow("Gather");
        expect((await model.run(at(1n)))[0]?.data).toEqual(Float32Array.of(20));
      },
      { place },
    );
  });

  it("lets a caller change the input once the promise has settled, and many runs overlap", async () => {
    await withModel(
      unary("Neg"),
      async (model) => {
        const answers = await Promise.all(
          Array.from({ length: 50 }, async (_, i) => {
            const input = matrix([i, -i]);
            const [answer] = await model.run([input]);
            (input.data as Float32Array).fill(7);
            return answer?.data;
          }),
        );
        answers.forEach((data, i) => expect(data).toEqual(Float32Array.of(-i, i)));
      },
      { place },
    );
  });

  it("scores a line's model, and refuses to score another", async () => {
    const line = constantModel({ features: ["a", "b"], featureDigest: "d", recipe: "r" }, 0.25);
    await withModel(
      line,
      async (model) => {
        expect([model.features, model.signature.features, model.place]).toEqual([2, 2, place]);
        const larger = new Float32Array(100);
        expect(await model.score(larger.subarray(3, 7), 2)).toEqual(Float32Array.of(0.25, 0.25));
        expect(larger.length).toBe(100);
      },
      { place },
    );
    await withModel(
      unary("Neg"),
      async (model) => {
        expect(model.features).toBe(0);
        await expect(model.score(new Float32Array(2), 1)).rejects.toThrow("it cannot score rows");
      },
      { place },
    );
  });

  it("release waits for the runs in flight, and ends the model", async () => {
    const model = await loadModel(unary("Neg"), { threads, place });
    const answers = Array.from({ length: 10 }, () => model.run([matrix([1, 2])]));
    await Promise.all([model.release(), model.release()]);
    for (const answer of answers) expect((await answer)[0]?.data).toEqual(Float32Array.of(-1, -2));
    await expect(model.run([matrix([1, 2])])).rejects.toThrow("released");
  });

  it("refuses what onnxruntime cannot load", async () => {
    await expect(loadModel(unary("NoSuchOperator"), { threads, place })).rejects.toThrow(ModelRefused);
  });
});

describe("inputs that a model does not take", () => {
  let numbers: Model;
  let texts: Model;
  beforeAll(async () => {
    numbers = await loadModel(unary("Neg"), { threads });
    texts = await loadModel(unary("Identity", T.STRING), { threads });
  });
  afterAll(() => Promise.all([numbers.release(), texts.release()]));

  const good = matrix([1, 2]);
  it.each<[string, Partial<Tensor>, string]>([
    [
      "another datatype",
      { datatype: "FP64", data: new Float64Array(2) },
      "is FP64, the model takes FP32 [-1, 2]",
    ],
    ["another rank", { shape: [2] }, "has the shape [2], the model takes FP32 [-1, 2]"],
    ["another size", { shape: [2, 1] }, "has the shape [2, 1]"],
    ["a size below zero", { shape: [-1, 2] }, "has the shape [-1, 2]"],
    ["too few values", { data: new Float32Array(1) }, "has 1 values, its shape [1, 2] 2"],
    [
      "values of another kind",
      { data: new Uint8Array(2) },
      "has Uint8Array for its values, not Float32Array",
    ],
  ])("%s", async (_what, change, reason) => {
    const run = numbers.run([{ ...good, ...change }]);
    await expect(run).rejects.toThrow(InputRefused);
    await expect(run).rejects.toThrow(`input "x" ${reason}`);
  });

  it("texts that onnxruntime-node would change", async () => {
    const run = async (element: Uint8Array): Promise<Tensor[]> =>
      texts.run([{ name: "x", datatype: "BYTES", shape: [1, 2], data: [text.encode("a"), element] }]);
    await expect(run(text.encode("a\0b"))).rejects.toThrow("has a NUL in element 1");
    await expect(run(Uint8Array.of(255))).rejects.toThrow("is not UTF-8 in element 1");
  });
});

describe("loading", () => {
  it("refuses BF16, which onnxruntime-node cannot pass", async () => {
    await expect(loadModel(unary("Identity", T.BFLOAT16), { threads })).rejects.toThrow('"x" is BF16');
  });

  it("tries providers in turn and says why the first were not used", async () => {
    expect(availableProviders()).toContain("cpu");
    await withModel(
      unary("Neg"),
      async (model) => {
        expect(model.provider).toBe("cpu");
        expect(model.providersFailed).toEqual([
          expect.stringMatching(/^dml: /),
          expect.stringMatching(/^coreml: /),
        ]);
      },
      { providers: ["dml", "coreml", "cpu"] },
    );
    await expect(loadModel(unary("Neg"), { threads, providers: ["dml"] })).rejects.toThrow("dml: this build");
  });

  it.each(["all", "extended", "basic", "none"] as const)("optimises: %s", (optimisation) =>
    withModel(
      unary("Neg"),
      async (model) => expect((await model.run([matrix([1, 2])]))[0]?.data).toEqual(Float32Array.of(-1, -2)),
      { optimisation },
    ),
  );

  it("measures where a model belongs", async () => {
    await withModel(unary("Neg"), async ({ place }) => expect(place).toBe("here"), { place: "measure" });
    await withModel(slow(), async ({ place }) => expect(place).toBe("worker"), { place: "measure" });
  });

  it("loads a model from bytes that stay the caller's", async () => {
    const bytes = unary("Neg");
    const before = bytes.slice();
    await withModel(bytes, async () => undefined, { place: "worker" });
    expect(bytes).toEqual(before);
  });
});

describe("a model in a worker", () => {
  /** The threads that are started while `use` runs. */
  async function threadsOf<R>(use: () => Promise<R>): Promise<{ result: R; workers: Worker[] }> {
    const workers: Worker[] = [];
    const collect = (message: unknown): void => void workers.push((message as { worker: Worker }).worker);
    channel("worker_threads").subscribe(collect);
    try {
      return { result: await use(), workers };
    } finally {
      channel("worker_threads").unsubscribe(collect);
    }
  }

  it("rejects the runs in flight and all later ones when its thread dies, and says so once", async () => {
    const onFailed = vi.fn();
    const { result: model, workers } = await threadsOf(() =>
      loadModel(unary("Neg"), { threads, place: "worker", onFailed }),
    );
    const run = model.run([matrix([1, 2])]);
    await Promise.all([workers[0]?.terminate(), expect(run).rejects.toThrow(ModelFailed)]);
    await expect(model.run([matrix([1, 2])])).rejects.toThrow("the model's thread ended: exit code 1");
    expect(onFailed.mock.calls).toEqual([[expect.any(ModelFailed)]]);
    await model.release();
  });

  it("leaves this thread free while it runs", async () => {
    await withModel(
      slow(),
      async (model) => {
        const rows = 10;
        const input: Tensor = {
          name: "x",
          datatype: "FP32",
          shape: [rows, SLOW_WIDTH],
          data: new Float32Array(rows * SLOW_WIDTH),
        };
        let turns = 0;
        const ticking = setInterval(() => (turns += 1), 1);
        await model.run([input]);
        clearInterval(ticking);
        expect(turns).toBeGreaterThan(20);
      },
      { place: "worker" },
    );
  });

  it("two at a time, loaded and released again and again, do not harm the process (onnxruntime#24486)", async () => {
    const cycle = (): Promise<unknown> =>
      withModel(unary("Neg"), (model) => model.run([matrix([1, 2])]), { place: "worker" });
    for (let i = 0; i < 10; i++) await Promise.all([cycle(), cycle()]);
  });
});
