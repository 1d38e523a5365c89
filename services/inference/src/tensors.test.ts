import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type ModelInferRequest, ModelInferRequestSchema } from "@millrace/contracts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Refusal } from "./refusal.ts";
import { checkOutputs, decodeFeatures, encodeScores } from "./tensors.ts";

type Init = MessageInitShape<typeof ModelInferRequestSchema>;
type Input = NonNullable<Init["inputs"]>[number];

const FEATURES = 3;
const good: Input = {
  name: "features",
  datatype: "FP32",
  shape: [2n, 3n],
  contents: { fp32Contents: [1, 2, 3, 4, 5, 6] },
};
const request = (init: Init): ModelInferRequest => create(ModelInferRequestSchema, init);
const typed = (change: Partial<Input>): Init => ({ inputs: [{ ...good, ...change } as Input] });
const raw = (bytes: Uint8Array[], change: Partial<Input> = {}): Init => {
  const { contents: _, ...tensor } = good as Input & { contents?: unknown };
  return { inputs: [{ ...tensor, ...change } as Input], rawInputContents: bytes };
};
const zeros = (bytes: number): Uint8Array => new Uint8Array(bytes);

const BAD: Readonly<Record<string, readonly [Init, RegExp]>> = {
  "no input": [{}, /inputs: 0 tensors, expected one, named "features"/],
  "two inputs": [{ inputs: [good, good] }, /inputs: 2 tensors/],
  "another name": [typed({ name: "x" }), /inputs\[0\]\.name: "x", expected "features"/],
  "a name with control characters": [typed({ name: "a\u0000\nb" }), /"a\\u0000\\nb"/],
  "no datatype": [typed({ datatype: "" }), /inputs\[0\]\.datatype: "", expected FP32/],
  bytes: [typed({ datatype: "BYTES" }), /datatype: "BYTES"/],
  "half precision": [typed({ datatype: "FP16" }), /datatype: "FP16"/],
  "a datatype out of the prototype": [typed({ datatype: "constructor" }), /datatype: "constructor"/],
  "no shape": [typed({ shape: [] }), /inputs\[0\]\.shape: \[\], expected \[rows, 3\]/],
  "one dimension": [typed({ shape: [3n] }), /shape: \[3\]/],
  "three dimensions": [typed({ shape: [1n, 2n, 3n] }), /shape: \[1, 2, 3\]/],
  "a thousand dimensions": [typed({ shape: Array(1_000).fill(1n) }), /shape: 1000 dimensions/],
  "too few features": [typed({ shape: [3n, 2n] }), /shape: \[3, 2\], expected \[rows, 3\]/],
  "too many features": [typed({ shape: [2n, 4n] }), /shape: \[2, 4\]/],
  "no rows": [typed({ shape: [0n, 3n], contents: {} }), /shape\[0\]: 0 rows, expected 1 to 4096/],
  "negative rows": [typed({ shape: [-2n, 3n] }), /shape\[0\]: -2 rows/],
  "negative features": [typed({ shape: [2n, -3n] }), /shape: \[2, -3\]/],
  "4097 rows": [typed({ shape: [4_097n, 3n] }), /shape\[0\]: 4097 rows/],
  "rows beyond 2^53": [typed({ shape: [2n ** 62n, 3n] }), /4611686018427387904 rows/],
  "a product that overflows": [typed({ shape: [2n ** 62n, 2n ** 62n] }), /shape: \[4611686018427387904/],
  "fewer values": [typed({ contents: { fp32Contents: [1, 2, 3] } }), /fp32_contents: 3 values, expected 6/],
  "more values": [typed({ contents: { fp32Contents: Array(7).fill(0) } }), /7 values, expected 6/],
  "no contents": [raw([]), /fp32_contents: 0 values, expected 6/],
  "the list of another datatype": [
    typed({ contents: { fp64Contents: Array(6).fill(0) } }),
    /contents: fp64_contents/,
  ],
  "two lists": [
    typed({ contents: { fp32Contents: Array(6).fill(0), boolContents: [true] } }),
    /contents: bool_contents, expected only fp32_contents for FP32/,
  ],
  "raw and typed": [
    { inputs: [good], rawInputContents: [zeros(24)] },
    /contents: fp32_contents, expected nothing beside raw_input_contents/,
  ],
  "two raw buffers": [raw([zeros(24), zeros(24)]), /raw_input_contents: 2 buffers, expected one per input/],
  "short raw": [raw([zeros(23)]), /raw_input_contents\[0\]: 23 bytes, expected 6 x 4 bytes/],
  "long raw": [raw([zeros(28)]), /28 bytes, expected 6 x 4/],
  "empty raw": [raw([zeros(0)]), /0 bytes/],
  "FP64 said, FP32 sent": [raw([zeros(24)], { datatype: "FP64" }), /24 bytes, expected 6 x 8 bytes/],
  infinity: [
    typed({ contents: { fp32Contents: [1, 2, 3, 4, Number.POSITIVE_INFINITY, 6] } }),
    /inputs\[0\] at \[1, 1\]: an infinite FP32 value/,
  ],
  "a double too large for a float": [
    typed({ datatype: "FP64", contents: { fp64Contents: [1, 2, -1e308, 4, 5, 6] } }),
    /inputs\[0\] at \[0, 2\]/,
  ],
};

describe("tensors", () => {
  it.each(Object.entries(BAD))(
    "refuses %s, and says what came and what is expected",
    (_name, [init, message]) => {
      const call = (): unknown => decodeFeatures(request(init), FEATURES);
      expect(call).toThrow(Refusal);
      expect(call).toThrow(message);
    },
  );

  it("takes no memory for what it refuses", () => {
    const huge = request(raw([zeros(4)], { shape: [4_096n, 1_000n] }));
    expect(() => decodeFeatures(huge, 1_000)).toThrow(/4 bytes, expected 4096000 x 4/);
  });

  it.each([
    ["FP32", { fp32Contents: [1, Number.NaN, -3] }, [1, Number.NaN, -3]],
    ["FP64", { fp64Contents: [0.1, Number.NaN, 1e-300] }, [Math.fround(0.1), Number.NaN, 0]],
    ["INT32", { intContents: [1, -2, 2_147_483_647] }, [1, -2, 2_147_483_648]],
    ["INT64", { int64Contents: [1n, -2n, 2n ** 53n] }, [1, -2, 2 ** 53]],
  ])("converts typed %s", (datatype, contents, expected) => {
    const tensor = decodeFeatures(request(typed({ datatype, shape: [1n, 3n], contents })), FEATURES);
    expect(tensor).toEqual({ matrix: new Float32Array(expected), rows: 1, raw: false });
  });

  it("reads raw contents of every datatype as it reads typed ones, whatever their alignment", () => {
    const codecs = {
      FP32: [4, "fp32Contents", (view: DataView, at: number, x: number) => view.setFloat32(at, x, true)],
      FP64: [8, "fp64Contents", (view: DataView, at: number, x: number) => view.setFloat64(at, x, true)],
      INT32: [4, "intContents", (view: DataView, at: number, x: number) => view.setInt32(at, x, true)],
      INT64: [
        8,
        "int64Contents",
        (view: DataView, at: number, x: number) => view.setBigInt64(at, BigInt(x), true),
      ],
    } as const;
    fc.assert(
      fc.property(
        fc.constantFrom(...(Object.keys(codecs) as (keyof typeof codecs)[])),
        fc.array(fc.integer({ min: -1_000_000, max: 1_000_000 }), { minLength: 3, maxLength: 30 }),
        fc.integer({ min: 0, max: 7 }),
        (datatype, numbers, offset) => {
          const [bytes, list, write] = codecs[datatype];
          const rows = Math.floor(numbers.length / 3);
          const values = numbers.slice(0, rows * 3);
          const buffer = new Uint8Array(new ArrayBuffer(values.length * bytes + offset), offset);
          const view = new DataView(buffer.buffer, offset);
          values.forEach((value, i) => write(view, i * bytes, value));
          const shape = [BigInt(rows), 3n];
          const contents = { [list]: datatype === "INT64" ? values.map(BigInt) : values };
          const fromRaw = decodeFeatures(request(raw([buffer], { datatype, shape })), FEATURES);
          const fromTyped = decodeFeatures(request(typed({ datatype, shape, contents })), FEATURES);
          expect(fromRaw).toEqual({ ...fromTyped, raw: true });
        },
      ),
    );
  });

  it("does not share memory with the request", () => {
    const bytes = zeros(24);
    const { matrix } = decodeFeatures(request(raw([bytes])), FEATURES);
    bytes.fill(0x40);
    expect([...matrix]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it("answers raw to raw and typed to typed", () => {
    const scores = new Float32Array([0.25, 0.5]);
    expect(encodeScores(scores, false)).toEqual({
      outputs: [{ name: "score", datatype: "FP32", shape: [2n], contents: { fp32Contents: [0.25, 0.5] } }],
      rawOutputContents: [],
    });
    expect(encodeScores(scores, true)).toEqual({
      outputs: [{ name: "score", datatype: "FP32", shape: [2n] }],
      rawOutputContents: [new Uint8Array([0, 0, 0x80, 0x3e, 0, 0, 0, 0x3f])],
    });
  });

  it("knows one output", () => {
    const asking = (...names: string[]): ModelInferRequest =>
      request({ outputs: names.map((name) => ({ name })) });
    checkOutputs(asking());
    checkOutputs(asking("score"));
    expect(() => checkOutputs(asking("label"))).toThrow(/outputs\[0\]\.name: "label", expected "score"/);
    expect(() => checkOutputs(asking("score", "score"))).toThrow(/outputs\[1\]\.name/);
  });
});
