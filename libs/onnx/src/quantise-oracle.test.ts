import { quantiseModel } from "@millrace/onnx-graph";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadModel } from "./load.ts";
import { graphModel, T } from "./testing/graph.ts";

const RUNS = 60;

/** [rows, columns], row-major. */
interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float32Array;
}

const floats = (name: string, dims: readonly number[], values: Float32Array) => ({
  name,
  dataType: T.FLOAT,
  dims: dims.map(BigInt),
  rawData: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
});

/** `y` = `x` times the weights. */
const product = ({ rows, columns, values }: Matrix): Uint8Array =>
  graphModel(
    [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
    [["x", T.FLOAT, ["n", rows]]],
    [["y", T.FLOAT, ["n", columns]]],
    [floats("w", [rows, columns], values)],
  );

function quantised(bytes: Uint8Array): Uint8Array {
  const result = quantiseModel(bytes, "");
  if ("unsupported" in result) throw new Error(result.unsupported);
  return result.model;
}

async function answer(bytes: Uint8Array, x: Matrix, shape = [x.rows, x.columns]): Promise<Float32Array> {
  const model = await loadModel(bytes, { threads: 1 });
  try {
    const input = { name: "x", datatype: "FP32" as const, shape, data: x.values };
    const [y] = await model.run([input]);
    return y?.data as Float32Array;
  } finally {
    await model.release();
  }
}

const sum = (count: number, term: (i: number) => number): number => {
  let total = 0;
  for (let i = 0; i < count; i++) total += term(i);
  return total;
};

/**
 * How far x.w may be away when an activation a is off by up to one of its steps s (a half for its own rounding, a half
 * for that of the zero point) and a weight v by half of its own, t: |a v - (a + s)(v + t / 2)| summed up, and FP32.
 */
function bound(x: Matrix, w: Matrix, row: number, column: number): number {
  const s = (Math.max(0, ...x.values) - Math.min(0, ...x.values)) / 255;
  const weight = (k: number): number => Math.abs(w.values[k * w.columns + column] as number);
  const t = Math.max(...Array.from({ length: w.rows }, (_, k) => weight(k))) / 64;
  const activation = (k: number): number => Math.abs(x.values[row * x.columns + k] as number);
  return sum(w.rows, (k) => (activation(k) * t) / 2 + s * weight(k) + (s * t) / 2) * 1.001 + 1e-6;
}

/** What a matrix is drawn with: its numbers are about that size, and shifted by so many sizes. */
const draws = fc.record({
  seed: fc.integer({ min: 1, max: 2 ** 31 - 2 }),
  size: fc.constantFrom(0.001, 1, 100),
  offset: fc.constantFrom(0, 1, -3),
});

/** Many small numbers and some large, as weights and activations are (Park and Miller's generator, cubed). */
function drawn(
  rows: number,
  columns: number,
  { seed, size, offset }: { seed: number; size: number; offset: number },
): Matrix {
  let state = seed;
  const values = Float32Array.from({ length: rows * columns }, () => {
    state = (state * 48_271) % (2 ** 31 - 1);
    return size * ((2 * (state / (2 ** 31 - 1)) - 1) ** 3 + offset);
  });
  return { rows, columns, values };
}

describe("quantised models in onnxruntime", () => {
  it("are as far from the original as their steps allow, whatever the shapes and sizes", async () => {
    const cases = fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 8, max: 70 }), draws, draws);
    await fc.assert(
      fc.asyncProperty(cases, async ([rows, k, inputs, weights]) => {
        const [x, w] = [drawn(rows, k, inputs), drawn(k, 65, weights)];
        const bytes = product(w);
        const [exact, near] = [await answer(bytes, x), await answer(quantised(bytes), x)];
        for (const [i, value] of exact.entries()) {
          const allowed = bound(x, w, Math.floor(i / w.columns), i % w.columns);
          expect(Math.abs((near[i] as number) - value)).toBeLessThanOrEqual(allowed);
        }
      }),
      { numRuns: RUNS },
    );
  });

  it("do not overflow where products are added in 16 bits: the largest values, all of one sign", async () => {
    const k = 64;
    const x = { rows: 2, columns: k, values: new Float32Array(2 * k).fill(1) };
    const w = { rows: k, columns: 16, values: new Float32Array(k * 16).fill(0.5) };
    for (const value of await answer(quantised(product(w)), x)) expect(value).toBeCloseTo(k * 0.5, 3);
  });

  it("answer the same to rows in three dimensions, as token models have, as to rows in two", async () => {
    const w = drawn(24, 32, { seed: 1, size: 1, offset: 0 });
    const x = drawn(6, 24, { seed: 2, size: 1, offset: 0 });
    const tokens = graphModel(
      [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
      [["x", T.FLOAT, ["n", 3, 24]]],
      [["y", T.FLOAT, ["n", 3, 32]]],
      [floats("w", [24, 32], w.values)],
    );
    const flat = await answer(quantised(product(w)), x);
    expect(await answer(quantised(tokens), x, [2, 3, 24])).toEqual(flat);
  });

  it("answer the same with a Gemm of either form as with MatMul and Add", async () => {
    const [rows, columns] = [24, 32];
    const values = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i));
    const turned = Float32Array.from({ length: rows * columns }, (_, i) => {
      return values[(i % rows) * columns + Math.floor(i / rows)] as number;
    });
    const bias = floats(
      "b",
      [columns],
      Float32Array.from({ length: columns }, (_, i) => Math.cos(i)),
    );
    const gemm = (transB: bigint, dims: readonly number[], stored: Float32Array): Uint8Array =>
      graphModel(
        [
          {
            opType: "Gemm",
            input: ["x", "w", "b"],
            output: ["y"],
            attribute: [{ name: "transB", type: 2, i: transB }],
          },
        ],
        [["x", T.FLOAT, ["n", rows]]],
        [["y", T.FLOAT, ["n", columns]]],
        [floats("w", dims, stored), bias],
      );
    const plain = graphModel(
      [
        { opType: "MatMul", input: ["x", "w"], output: ["p"] },
        { opType: "Add", input: ["p", "b"], output: ["y"] },
      ],
      [["x", T.FLOAT, ["n", rows]]],
      [["y", T.FLOAT, ["n", columns]]],
      [floats("w", [rows, columns], values), bias],
    );
    const x = {
      rows: 3,
      columns: rows,
      values: Float32Array.from({ length: 3 * rows }, (_, i) => Math.sin(i / 7)),
    };
    const expected = await answer(quantised(plain), x);
    expect(await answer(quantised(gemm(0n, [rows, columns], values)), x)).toEqual(expected);
    expect(await answer(quantised(gemm(1n, [columns, rows], turned)), x)).toEqual(expected);
  });

  it("give a row another answer beside a larger one, within the larger one's steps", async () => {
    const w = { rows: 32, columns: 16, values: Float32Array.from({ length: 512 }, (_, i) => Math.sin(i)) };
    const row = Float32Array.from({ length: 32 }, (_, i) => Math.cos(i));
    const beside = Float32Array.from([...row, ...row.map((value) => 100 * value)]);
    const bytes = quantised(product(w));
    const alone = await answer(bytes, { rows: 1, columns: 32, values: row });
    const both = { rows: 2, columns: 32, values: beside };
    const together = (await answer(bytes, both)).subarray(0, 16);
    expect(together).not.toEqual(alone);
    for (const [i, value] of together.entries()) {
      expect(Math.abs(value - (alone[i] as number))).toBeLessThan(2 * bound(both, w, 0, i));
    }
  });
});
