import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Datatype,
  formatInferBody,
  fromBfloat,
  fromHalf,
  INFER_LIMITS,
  type InferLimits,
  type InferResponse,
  NO_PARAMETERS,
  type ParsedInferBody,
  ProtocolError,
  parseInferBody,
  type Tensor,
  type TensorData,
  type TensorSpec,
} from "./index.ts";
import { anyTensor } from "./testing/any-message.ts";

const utf8 = new TextEncoder();
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** A body of JSON and of what stands behind it. */
const parse = (
  json: unknown,
  behind: Uint8Array | null = null,
  limits: InferLimits = INFER_LIMITS,
): ParsedInferBody => {
  const head = utf8.encode(typeof json === "string" ? json : JSON.stringify(json));
  return parseInferBody(Uint8Array.from([...head, ...(behind ?? [])]), {
    modelName: "m",
    modelVersion: "3",
    headerLength: behind === null ? null : head.length,
    inputs: [],
    limits,
  });
};
const parseData = (datatype: Datatype, shape: number[], data: string): TensorData | undefined =>
  parse(`{"inputs":[{"name":"x","data":${data},"shape":${JSON.stringify(shape)},"datatype":"${datatype}"}]}`)
    .request.inputs[0]?.data;

const refusal = (read: () => unknown): string => {
  try {
    read();
  } catch (error) {
    if (error instanceof ProtocolError) return error.message;
    throw error;
  }
  return "read";
};

describe("the body of infer", () => {
  it("is read in JSON, flat or nested, with members in any order and unknown ones left out", () => {
    const { request, binary } = parse({
      model_name: "another",
      id: "42",
      parameters: { priority: 2, share: 0.5, trace: true, unit: "é\n", binary_data_output: false },
      unknown: [{ deep: [null, 1.5e3, "x", false] }],
      outputs: [{ name: "y", parameters: { binary_data: true, classification: 3 } }, { name: "z" }],
      inputs: [
        {
          name: "x",
          shape: [2, 2],
          datatype: "FP32",
          data: [
            [1, 2.5],
            [-3e-2, 4],
          ],
        },
        { data: [1, 2, 3], datatype: "INT8", shape: [3], name: "k" },
      ],
    });
    expect(request).toEqual({
      modelName: "m",
      modelVersion: "3",
      id: "42",
      parameters: new Map<string, unknown>([
        ["priority", 2n],
        ["share", 0.5],
        ["trace", true],
        ["unit", "é\n"],
      ]),
      inputs: [
        { name: "x", datatype: "FP32", shape: [2, 2], data: Float32Array.of(1, 2.5, -3e-2, 4) },
        { name: "k", datatype: "INT8", shape: [3], data: Int8Array.of(1, 2, 3) },
      ],
      outputs: [
        { name: "y", parameters: new Map([["classification", 3n]]) },
        { name: "z", parameters: NO_PARAMETERS },
      ],
      raw: false,
    });
    expect(binary).toEqual({ byDefault: false, byName: new Map([["y", true]]) });
  });

  it("has numbers as JSON.parse reads them", () => {
    const number = fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
      fc.integer().map(String),
      fc
        .tuple(
          fc.constantFrom("", "-"),
          fc.bigInt({ min: 0n, max: 10n ** 20n }),
          fc.stringMatching(/^\d{1,20}$/),
        )
        .map(([sign, whole, fraction]) => `${sign}${whole}.${fraction}`),
      fc
        .tuple(fc.integer(), fc.integer({ min: -330, max: 330 }))
        .map(([m, e]) => `${m}E${e >= 0 ? "+" : ""}${e}`),
    );
    fc.assert(
      fc.property(fc.array(number), (numbers) => {
        const data = `[${numbers.join(" ,\n")}]`;
        const expected = JSON.parse(data) as number[];
        expect(parseData("FP64", [numbers.length], data)).toEqual(Float64Array.from(expected));
        expect(parseData("FP32", [numbers.length], data)).toEqual(Float32Array.from(expected));
      }),
      { numRuns: 500 },
    );
  });

  it("has 64-bit integers exactly, as numbers or in quotes", () => {
    const data = '[9223372036854775807, -9223372036854775808, "9007199254740993", 1e3, -0]';
    expect(parseData("INT64", [5], data)).toEqual(
      BigInt64Array.of(2n ** 63n - 1n, -(2n ** 63n), 9007199254740993n, 1000n, 0n),
    );
    expect(parseData("UINT64", [1], "[18446744073709551615]")).toEqual(BigUint64Array.of(2n ** 64n - 1n));
  });

  it("has floats that JSON has not: null, and NaN and Infinity as Triton's clients write them", () => {
    expect(parseData("FP32", [5], "[null, NaN, Infinity, -Infinity, -0]")).toEqual(
      Float32Array.of(Number.NaN, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0),
    );
    expect(parseData("FP16", [2], "[1, null]")).toEqual(Uint16Array.of(0x3c00, 0x7e00));
    expect(parseData("BF16", [1], "[1]")).toEqual(Uint16Array.of(0x3f80));
  });

  it("has BYTES as text, BOOL as true and false, empty tensors, scalars", () => {
    expect(parseData("BYTES", [3], '["é", "a\\"\\u00e9", ""]')).toEqual([
      utf8.encode("é"),
      utf8.encode('a"é'),
      new Uint8Array(0),
    ]);
    expect(parseData("BOOL", [2], "[true,false]")).toEqual(Uint8Array.of(1, 0));
    expect(parseData("FP32", [0, 17], "[]")).toEqual(new Float32Array(0));
    expect(parseData("FP32", [2, 0], "[[],[]]")).toEqual(new Float32Array(0));
    expect(parseData("FP32", [], "[7]")).toEqual(Float32Array.of(7));
  });

  it("has binary tensors behind the JSON, in their order, beside others in JSON", () => {
    const { request, binary } = parse(
      {
        parameters: { binary_data_output: true },
        inputs: [
          { name: "a", shape: [2], datatype: "INT16", parameters: { binary_data_size: 4 } },
          { name: "b", shape: [1], datatype: "FP32", data: [1] },
          { name: "c", shape: [1], datatype: "BYTES", parameters: { binary_data_size: 5 } },
        ],
        outputs: [{ name: "y", parameters: { binary_data: false } }],
      },
      Uint8Array.of(1, 0, 2, 0, 1, 0, 0, 0, 65),
    );
    expect(request.inputs.map(({ data }) => data)).toEqual([
      Int16Array.of(1, 2),
      Float32Array.of(1),
      [Uint8Array.of(65)],
    ]);
    expect(request.raw).toBe(true);
    expect(request.parameters.size).toBe(0);
    expect(binary).toEqual({ byDefault: true, byName: new Map([["y", false]]) });
  });

  it("without JSON is the only input, whose free dimension follows from its size", () => {
    const raw = (body: number[], ...inputs: Omit<TensorSpec, "name">[]): Tensor | undefined =>
      parseInferBody(Uint8Array.from(body), {
        modelName: "m",
        modelVersion: "",
        headerLength: 0,
        inputs: inputs.map((input) => ({ name: "x", ...input })),
      }).request.inputs[0];
    const halves = { datatype: "FP16", shape: [-1, 2] } as const;
    expect(raw([1, 0, 2, 0], halves)?.shape).toEqual([1, 2]);
    expect(raw([1, 0, 2, 0, 3, 0, 4, 0], halves)?.data).toEqual(Uint16Array.of(1, 2, 3, 4));
    expect(raw([65, 66], { datatype: "BYTES", shape: [-1] })).toEqual({
      name: "x",
      datatype: "BYTES",
      shape: [1],
      data: [Uint8Array.of(65, 66)],
    });
    expect(refusal(() => raw([1, 2, 3], halves))).toBe(
      "body: 3 bytes for FP16 [-1, 2], expected a multiple of 4",
    );
    expect(refusal(() => raw([], halves))).toBe("body: 0 bytes for FP16 [-1, 2], expected a multiple of 4");
    expect(refusal(() => raw([1], { datatype: "INT8", shape: [2] }))).toBe(
      "body: 1 bytes for INT8 [2], expected 2",
    );
    expect(refusal(() => raw([1], { datatype: "INT8", shape: [-1, -1] }))).toBe(
      "body: without JSON for INT8 [-1, -1], expected at most one dimension -1",
    );
    expect(refusal(() => raw([1], { datatype: "BYTES", shape: [2] }))).toMatch(
      /expected only for BYTES of one/,
    );
    expect(refusal(() => raw([1], halves, halves))).toMatch(/models with one input; this one has 2$/);
  });

  it.each([
    ["", "JSON: wrong at byte 0 of 0, expected an object"],
    ["[]", "JSON: wrong at byte 0 of 2, expected an object"],
    ['{"id":"x"} {', "JSON: wrong at byte 11 of 12, expected the end"],
    ['{"id":"x",}', "JSON: wrong at byte 10 of 11, expected text in quotes"],
    ['{"id":"\n"}', "JSON: wrong at byte 7 of 10, expected no control character in text"],
    ['{"id":"\\x"}', "JSON: text before byte 10 has an escape that is no character"],
    ['{"id":"\\ud800"}', "JSON: text before byte 14 has an escape that is no character"],
    [
      '{"inputs":[{"shape":[01]}]}',
      "inputs[0].JSON: wrong at byte 23 of 27, expected no zero before other digits",
    ],
    ['{"parameters":{"a":{}}}', 'parameters["a"]: expected text, a number or a boolean'],
    [
      '{"parameters":{"binary_data_output":1}}',
      "parameters.binary_data_output: a bigint, expected true or false",
    ],
    ['{"inputs":[{"datatype":"FP8"}]}', /^inputs\[0\]\.datatype: "FP8", expected one of BOOL/],
    [
      '{"inputs":[{"datatype":"FP32","shape":[1.5],"data":[1]}]}',
      "inputs[0].shape: [1.5], expected whole numbers from 0",
    ],
    [
      '{"inputs":[{"datatype":"FP32","shape":[1,1,1,1,1,1,1,1,1]}]}',
      "inputs[0].shape: more than 8 dimensions",
    ],
    ['{"inputs":[{"datatype":"FP32","shape":[1]}]}', /^inputs\[0\]\.data: missing, expected one of data and/],
    [
      '{"inputs":[{"datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}',
      "inputs[0].parameters.binary_data_size: 4, expected at most the 0 bytes that are left behind the JSON",
    ],
    [
      '{"inputs":[{"datatype":"FP32","shape":[1],"parameters":{"binary_data_size":-4}}]}',
      /-4, expected a number of b/,
    ],
    ['{"inputs":[{"parameters":{"shared_memory_region":"r"}}]}', /shared_memory_region is not served/],
  ])("is refused with what is wrong: %s", (json, message) => {
    if (typeof message === "string") expect(refusal(() => parse(json))).toBe(message);
    else expect(refusal(() => parse(json))).toMatch(message);
  });

  it.each<[Datatype, number[], string, string]>([
    ["FP32", [2], "[1]", "inputs[0].data: 1 values, expected 2 (FP32 [2])"],
    ["FP32", [1], "[1,2]", "inputs[0].data: more values, expected 1 (FP32 [1])"],
    [
      "FP64",
      [2 ** 40],
      "[1]",
      "inputs[0].data: too few values, expected 1099511627776 (FP64 [1099511627776])",
    ],
    ["FP32", [2, 2], "[[1,2,3],[4]]", "inputs[0].data: 3 items at depth 1, expected nesting as [2, 2]"],
    ["FP32", [4], "[[1,2],[3,4]]", "inputs[0].JSON: wrong at byte 31 of 76, expected a number or null"],
    ["INT8", [1], "[128]", "inputs[0].data: 128 at element 0, expected INT8"],
    ["INT32", [2], "[1, 1.5]", "inputs[0].data: 1.5 at element 1, expected INT32"],
    ["UINT64", [1], "[-1]", "inputs[0].data: -1 at element 0, expected UINT64"],
    ["INT64", [1], "[1.5]", 'inputs[0].data: "1.5", expected a whole number'],
    ["INT64", [1], '["0x10"]', 'inputs[0].data: "0x10", expected a whole number'],
    ["BOOL", [1], "[1]", "inputs[0].JSON: wrong at byte 31 of 66, expected true or false"],
    ["BYTES", [1], "[1]", "inputs[0].JSON: wrong at byte 31 of 67, expected text in quotes"],
  ])("is refused for values that are not the tensor's: %s %j %s", (datatype, shape, data, message) => {
    expect(refusal(() => parseData(datatype, shape, data))).toBe(message);
  });

  it("is refused beyond its limits and outside its lengths (O2)", () => {
    const limits = {
      ...INFER_LIMITS,
      messageBytes: 300,
      tensors: 1,
      parameters: 1,
      textBytes: 12,
      elementBytes: 4,
    };
    const small = (json: unknown): string => refusal(() => parse(json, null, limits));
    expect(small({ id: "x".repeat(13) })).toBe("id: 13 bytes, expected at most 12");
    expect(small({ parameters: { a: 1, b: 2 } })).toMatch(/^parameters: more than 1 entries/);
    expect(small({ outputs: [{ name: "a" }, { name: "b" }] })).toMatch(/^outputs: more than 1 entries/);
    expect(small({ inputs: [{ datatype: "BYTES", shape: [1], data: ["abcde"] }] })).toBe(
      "inputs[0].data: element 0 of 5 bytes, expected at most 4",
    );
    expect(small(" ".repeat(301))).toBe("body: 301 bytes, expected at most 300");
    expect(refusal(() => parse(`{"deep":${"[".repeat(50_000)}`))).toBe("JSON: nested more than 32 deep");
    expect(refusal(() => parse({}, Uint8Array.of(1)))).toBe(
      "body: 1 bytes behind the last tensor, expected none",
    );
    for (const headerLength of [3, -1, Number.NaN, 1.5]) {
      const options = { modelName: "m", modelVersion: "", headerLength, inputs: [] };
      expect(refusal(() => parseInferBody(utf8.encode("{}"), options))).toMatch(
        /^Inference-Header-Content-Length: .*, expected the length of the JSON within a body of 2 bytes$/,
      );
    }
  });

  it("may have null for what it leaves out, as clients with typed models write it", () => {
    const input = { name: "x", shape: [1], datatype: "INT8", parameters: null, data: [1] };
    const { request } = parse({ id: null, parameters: { a: null }, outputs: null, inputs: [input] });
    expect(request).toMatchObject({ id: "", parameters: NO_PARAMETERS, outputs: [] });
    expect(request.inputs[0]?.data).toEqual(Int8Array.of(1));
  });

  it("may name a key __proto__, which is a key like any other", () => {
    const { request } = parse('{"__proto__":{"id":"1"},"parameters":{"__proto__":true}}');
    expect(request.id).toBe("");
    expect([...request.parameters]).toEqual([["__proto__", true]]);
  });

  it("never fails but with a ProtocolError, whatever the bytes (O1)", () => {
    const whole = `{"id":"1","parameters":{"a":1.5},"inputs":[{"name":"x","shape":[2,1],"datatype":"FP32",
      "data":[[1],[null]]},{"name":"b","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}}],
      "outputs":[{"name":"y","parameters":{"binary_data":true}}]}`;
    const bytes = Uint8Array.from([...utf8.encode(whole), 1, 0, 0, 0, 65]);
    const change = fc.tuple(
      fc.nat(bytes.length - 1),
      fc.oneof(fc.nat(255), fc.constantFrom(...utf8.encode('[]{}",:0-'))),
      fc.nat(2),
    );
    const read = { parsed: 0, refused: 0 };
    fc.assert(
      fc.property(fc.array(change, { maxLength: 3 }), (changes) => {
        const mutated = [...bytes];
        for (const [at, byte, removed] of changes) mutated.splice(at, removed, byte);
        const options = { modelName: "m", modelVersion: "", headerLength: whole.length, inputs: [] };
        const message = refusal(() => parseInferBody(Uint8Array.from(mutated), options));
        read[message === "read" ? "parsed" : "refused"]++;
      }),
      { numRuns: 3_000 },
    );
    expect(read.parsed).toBeGreaterThan(100);
    expect(read.refused).toBeGreaterThan(100);
  });
});

describe("the answer of infer", () => {
  const answer = (outputs: Tensor[]): InferResponse => ({
    modelName: "m",
    modelVersion: "3",
    id: "42",
    parameters: new Map<string, string | bigint>([
      ["digest", 'a"b'],
      ["rows", 2n ** 60n],
    ]),
    outputs,
  });
  const inJson = { byDefault: false, byName: new Map<string, boolean>() };
  const values = (datatype: Datatype, data: TensorData): unknown => {
    const { body } = formatInferBody(answer([{ name: "y", datatype, shape: [data.length], data }]), inJson);
    return (JSON.parse(text(body[0] as Uint8Array)) as { outputs: [{ data: unknown }] }).outputs[0].data;
  };

  it("is JSON, which any reader takes, for outputs that are not wanted in binary", () => {
    const y: Tensor = { name: "y", datatype: "FP32", shape: [1, 2], data: Float32Array.of(0.5, -2) };
    const { body, headerLength } = formatInferBody(answer([y]), inJson);
    expect(headerLength).toBeNull();
    expect(body.map(text)).toEqual([
      '{"model_name":"m","model_version":"3","id":"42","parameters":{"digest":"a\\"b","rows":1152921504606846976},' +
        '"outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[0.5,-2]}]}',
    ]);
  });

  it("has null for what JSON has no number for, and 64-bit integers exactly", () => {
    expect(
      values("FP64", Float64Array.of(1e300, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY)),
    ).toEqual([1e300, null, null, null]);
    expect(values("FP16", Uint16Array.of(0x3c00, 0x7c00))).toEqual([1, null]);
    expect(values("BF16", Uint16Array.of(0x3f80))).toEqual([1]);
    expect(values("BOOL", Uint8Array.of(1, 0))).toEqual([true, false]);
    expect(values("BYTES", [utf8.encode('é"')])).toEqual(['é"']);
    const big: Tensor = { name: "y", datatype: "INT64", shape: [1], data: BigInt64Array.of(-(2n ** 63n)) };
    expect(text(formatInferBody(answer([big]), inJson).body[0] as Uint8Array)).toContain(
      '"data":[-9223372036854775808]',
    );
  });

  it("refuses BYTES in JSON that are no text, and says how to get them", () => {
    const y: Tensor = { name: "y", datatype: "BYTES", shape: [1], data: [Uint8Array.of(0xff)] };
    expect(refusal(() => formatInferBody(answer([y]), inJson))).toBe(
      'output "y": BYTES that are no text: ask for it with binary_data true',
    );
    expect(refusal(() => formatInferBody(answer([y]), { ...inJson, byDefault: true }))).toBe("read");
  });

  it("has binary outputs behind the JSON, each as long as it says", () => {
    const y: Tensor = { name: "y", datatype: "INT16", shape: [2], data: Int16Array.of(1, 2) };
    const z: Tensor = { name: "z", datatype: "FP32", shape: [1], data: Float32Array.of(1) };
    const { body, headerLength } = formatInferBody(answer([y, z]), {
      byDefault: true,
      byName: new Map([["z", false]]),
    });
    expect(headerLength).toBe(body[0]?.length);
    expect(JSON.parse(text(body[0] as Uint8Array))).toMatchObject({
      outputs: [
        { name: "y", parameters: { binary_data_size: 4 } },
        { name: "z", data: [1] },
      ],
    });
    expect(body.slice(1).map((piece) => [...piece])).toEqual([[1, 0, 2, 0]]);
  });

  it("carries every tensor so that it reads back the same", () => {
    fc.assert(
      fc.property(fc.array(anyTensor(), { maxLength: 3 }), fc.boolean(), (outputs, isBinary) => {
        // In JSON: text, and numbers that are finite.
        const carried = isBinary ? outputs : outputs.map(jsonable);
        const { body, headerLength } = formatInferBody(answer(carried), { ...inJson, byDefault: isBinary });
        // An answer's outputs look like a request's inputs.
        const asRequest = text(body[0] as Uint8Array).replace('"outputs":', '"inputs":');
        const behind =
          headerLength === null ? null : Uint8Array.from(body.slice(1).flatMap((one) => [...one]));
        expect(parse(asRequest, behind).request.inputs).toEqual(carried);
      }),
    );
  });
});

function jsonable(of: Tensor): Tensor {
  if (of.datatype === "BYTES") {
    return {
      ...of,
      data: (of.data as readonly Uint8Array[]).map((bytes) => bytes.map((byte) => byte & 0x7f)),
    };
  }
  const data = (of.data as Float64Array).slice();
  data.forEach((value, i) => {
    const number =
      of.datatype === "FP16" ? fromHalf(value) : of.datatype === "BF16" ? fromBfloat(value) : value;
    if (typeof number === "number" && (!Number.isFinite(number) || Object.is(number, -0))) data[i] = 0;
  });
  return { ...of, data };
}
