import { describe, expect, it } from "vitest";
import { compareModels } from "./compare-models.ts";
import type { LoadedModel } from "./mesh.ts";

/** A model that answers each row of `x` [rows] with these outputs of the row's value. */
const model = (...outputs: ((x: number) => number)[]): LoadedModel => ({
  run: ([x]) => {
    const values = x?.data as Float32Array;
    const data = Float64Array.from(
      values.length === 0 ? [] : [...values].flatMap((v) => outputs.map((f) => f(v))),
    );
    return [{ name: "y", datatype: "FP64", shape: [values.length, outputs.length], data }];
  },
  score: () => Promise.reject(new Error("not a line's")),
  release: async () => {},
});
const request = (...values: number[]) => ({
  inputs: [{ name: "x", datatype: "FP32" as const, shape: [values.length], data: Float32Array.from(values) }],
  rows: values.length,
});
const same = (x: number): number => x;

describe("compareModels", () => {
  it("takes the largest difference of each row", async () => {
    const other = model(same, (x) => x + (x > 2 ? 0.5 : 0.25));
    const compared = await compareModels(model(same, same), other, [request(1, 2), request(3, 4)], 0.25);
    expect(compared).toMatchObject({
      rows: 4,
      meanDifference: 0.375,
      maxDifference: 0.5,
      shareBeyond: 0.5,
    });
    expect(compared.microsPerRow.before).toBeGreaterThan(0);
    expect(compared.microsPerRow.after).toBeGreaterThan(0);
  });

  it("counts what is no number in one answer only, and outputs of other sizes", async () => {
    const unknown = model((x) => (x > 1 ? Number.NaN : x));
    const one = { rows: 2, meanDifference: null, maxDifference: null, shareBeyond: 0.5 };
    expect(await compareModels(model(same), unknown, [request(1, 2)], 1)).toMatchObject(one);
    expect(await compareModels(unknown, model(same), [request(1, 2)], 1)).toMatchObject(one);
    expect(await compareModels(unknown, unknown, [request(1, 2)], 1)).toMatchObject({ maxDifference: 0 });
    const wider = await compareModels(model(same), model(same, same), [request(1, 2)], 1);
    expect(wider).toMatchObject({ maxDifference: null, shareBeyond: 1 });
  });
});
