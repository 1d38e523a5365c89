import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ModelInferRequestSchema, ModelInferResponseSchema } from "@millrace/contracts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeInferRequest,
  decodeInferResponse,
  elements,
  encodeInferRequest,
  encodeInferResponse,
  INFER_LIMITS,
  type InferLimits,
  type InferRequest,
  NO_PARAMETERS,
  ProtocolError,
} from "./index.ts";
import { anyRequest, anyResponse, requestMessage, responseMessage } from "./testing/any-message.ts";

const esRequest = (of: InferRequest): Uint8Array =>
  toBinary(ModelInferRequestSchema, create(ModelInferRequestSchema, requestMessage(of)));

/** The same bytes at another alignment. */
const shifted = (bytes: Uint8Array, by: number): Uint8Array => {
  const memory = new Uint8Array(bytes.length + by);
  memory.set(bytes, by);
  return memory.subarray(by);
};

const request = (input: {
  datatype: string;
  shape: number[];
  raw?: number[];
  contents?: object;
}): Uint8Array =>
  toBinary(
    ModelInferRequestSchema,
    create(ModelInferRequestSchema, {
      modelName: "flights",
      inputs: [
        {
          name: "x",
          datatype: input.datatype,
          shape: input.shape.map(BigInt),
          ...(input.contents && { contents: input.contents }),
        },
      ],
      rawInputContents: input.raw === undefined ? [] : [Uint8Array.from(input.raw)],
    }),
  );

describe("requests and responses over gRPC", () => {
  it("are read as protobuf-es writes them, at any alignment (O3)", () => {
    fc.assert(
      fc.property(anyRequest, fc.nat(8), (of, by) => {
        expect(decodeInferRequest(shifted(esRequest(of), by))).toEqual(of);
      }),
    );
    fc.assert(
      fc.property(anyResponse, ({ response, form }) => {
        const message = create(ModelInferResponseSchema, responseMessage(response, form));
        expect(decodeInferResponse(toBinary(ModelInferResponseSchema, message))).toEqual(response);
      }),
    );
  });

  it("are written so that protobuf-es reads the same, byte for byte in a usual message (O3)", () => {
    fc.assert(
      fc.property(anyRequest, (of) => {
        const read = fromBinary(ModelInferRequestSchema, encodeInferRequest(of));
        expect(read).toEqual(create(ModelInferRequestSchema, requestMessage(of)));
        expect(encodeInferRequest(of).length).toBe(esRequest(of).length);
      }),
    );
    fc.assert(
      fc.property(anyResponse, ({ response, form }) => {
        const read = fromBinary(ModelInferResponseSchema, encodeInferResponse(response, form));
        expect(read).toEqual(create(ModelInferResponseSchema, responseMessage(response, form)));
      }),
    );
    const usual = decodeInferRequest(
      request({ datatype: "FP32", shape: [2], raw: [1, 2, 3, 4, 5, 6, 7, 8] }),
    );
    expect(encodeInferRequest(usual)).toEqual(esRequest(usual));
  });

  it("are read as one where two are put together: the last text counts, lists go on", () => {
    fc.assert(
      fc.property(anyRequest, anyRequest, (a, b) => {
        fc.pre(a.raw === b.raw || a.inputs.length === 0 || b.inputs.length === 0);
        expect(decodeInferRequest(Uint8Array.from([...esRequest(a), ...esRequest(b)]))).toEqual({
          modelName: b.modelName || a.modelName,
          modelVersion: b.modelVersion || a.modelVersion,
          id: b.id || a.id,
          parameters: new Map([...a.parameters, ...b.parameters]),
          inputs: [...a.inputs, ...b.inputs],
          outputs: [...a.outputs, ...b.outputs],
          raw: a.raw || b.raw,
        });
      }),
    );
  });

  it("may come in any order, unpacked, in pieces and with unknown fields, as protobuf allows", () => {
    // 7: raw contents first; 99: unknown varint, fixed, text and group; 5: the tensor, its fields backwards.
    const packed = [0x1a, 2, 2, 1];
    const unpacked = [0x18, 2, 0x18, 1];
    for (const shape of [packed, unpacked]) {
      const tensor = [...shape, 0x12, 5, ...new TextEncoder().encode("INT16"), 0x0a, 1, 0x78];
      const bytes = [
        [0x3a, 4, 1, 0, 0xff, 0xff],
        [0x98, 0x06, 0x96, 0x01, 0x99, 0x06, 1, 2, 3, 4, 5, 6, 7, 8, 0x9d, 0x06, 1, 2, 3, 4],
        [0x9a, 0x06, 2, 1, 2, 0x9b, 0x06, 0x08, 1, 0x9b, 0x06, 0x9c, 0x06, 0x9c, 0x06],
        [0x2a, tensor.length, ...tensor],
      ];
      expect(decodeInferRequest(Uint8Array.from(bytes.flat())).inputs).toEqual([
        { name: "x", datatype: "INT16", shape: [2, 1], data: Int16Array.of(1, -1) },
      ]);
    }
    // Two contents of one tensor: 1, 2 packed and -3 (ten bytes) with a tag of its own.
    const pieces = [0x2a, 4, 0x12, 2, 1, 2].concat([0x2a, 11, 0x10, 0xfd, ...Array<number>(8).fill(0xff), 1]);
    const tensor = [0x12, 4, ...new TextEncoder().encode("INT8"), 0x1a, 1, 3, ...pieces];
    expect(decodeInferRequest(Uint8Array.from([0x2a, tensor.length, ...tensor])).inputs[0]?.data).toEqual(
      Int8Array.of(1, 2, -3),
    );
  });

  it("are views of the message where its memory is aligned", () => {
    const bytes = request({ datatype: "UINT8", shape: [2], raw: [1, 2] });
    const data = decodeInferRequest(bytes).inputs[0]?.data;
    expect(data instanceof Uint8Array && data.buffer === bytes.buffer).toBe(true);
  });

  it("never fail but with a ProtocolError, whatever the bytes (O1)", () => {
    const mutation = fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom("set", "insert", "cut", "repeat"));
    const outcomes = { read: 0, refused: 0 };
    const decode = (bytes: Uint8Array): void => {
      for (const read of [decodeInferRequest, decodeInferResponse]) {
        try {
          const message = read(bytes);
          const tensors = "inputs" in message ? message.inputs : message.outputs;
          for (const { shape, data } of tensors) expect(data.length).toBe(elements(shape));
          outcomes.read++;
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
          outcomes.refused++;
        }
      }
    };
    fc.assert(
      fc.property(anyRequest, fc.array(mutation, { minLength: 1, maxLength: 4 }), (of, mutations) => {
        let bytes = [...esRequest(of)];
        for (const [where, byte, kind] of mutations) {
          const at = where % (bytes.length + 1);
          if (kind === "set") bytes[at] = byte;
          else if (kind === "insert") bytes.splice(at, 0, byte);
          else if (kind === "cut") bytes.splice(at, 1 + (byte % 8));
          else bytes = bytes.concat(bytes.slice(at));
        }
        decode(Uint8Array.from(bytes));
      }),
      { numRuns: 1_000 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), decode), { numRuns: 1_000 });
    expect(outcomes.read).toBeGreaterThan(200);
    expect(outcomes.refused).toBeGreaterThan(200);
  });

  it("never read beyond their end: each cut of a message is refused or is a shorter message", () => {
    const whole = request({ datatype: "INT32", shape: [3], contents: { intContents: [1, 300, -5] } });
    const padded = Uint8Array.from([...whole, ...Array<number>(64).fill(1)]);
    for (let length = 1; length < whole.length; length++) {
      try {
        expect(decodeInferRequest(padded.subarray(0, length)).inputs).toEqual([]);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }
  });
});

describe("what is wrong with a request", () => {
  const limits: InferLimits = {
    messageBytes: 4_096,
    tensors: 2,
    parameters: 1,
    textBytes: 16,
    bytesElements: 3,
    elementBytes: 8,
  };
  const refusal = (bytes: Uint8Array, own: InferLimits = INFER_LIMITS): string => {
    try {
      decodeInferRequest(bytes, own);
    } catch (error) {
      if (error instanceof ProtocolError) return error.message;
      throw error;
    }
    return "read";
  };

  it.each<[string, Parameters<typeof request>[0], string | RegExp]>([
    [
      "FP32 of 7 bytes",
      { datatype: "FP32", shape: [1, 2], raw: [1, 2, 3, 4, 5, 6, 7] },
      "inputs[0].raw_input_contents: 7 bytes, expected 8 (FP32 [1, 2])",
    ],
    [
      "a negative dimension",
      { datatype: "FP32", shape: [-1, 17] },
      "inputs[0].shape: [-1, 17], expected whole numbers from 0",
    ],
    [
      "more elements than can be",
      { datatype: "UINT8", shape: [2 ** 31, 2 ** 31] },
      "inputs[0].shape: [2147483648, 2147483648] has more elements than fit in any memory",
    ],
    [
      "a large tensor that is not there",
      { datatype: "FP64", shape: [2 ** 40], raw: [] },
      "inputs[0].raw_input_contents: 0 bytes, expected 8796093022208 (FP64 [1099511627776])",
    ],
    [
      "a large typed tensor that is not there",
      { datatype: "FP64", shape: [2 ** 40] },
      "inputs[0].contents: 0 values, expected 1099511627776 (FP64 [1099511627776])",
    ],
    [
      "nine dimensions",
      { datatype: "FP32", shape: Array<number>(9).fill(1) },
      "inputs[0].shape: more than 8 dimensions",
    ],
    [
      "an unknown datatype",
      { datatype: "FP\u001b[31m8", shape: [] },
      /^inputs\[0\]\.datatype: "FP\\u001b\[31m8", expected one of BOOL, UINT8, /,
    ],
    [
      "contents of another datatype",
      { datatype: "FP32", shape: [1], contents: { intContents: [1] } },
      "inputs[0].contents: int_contents for datatype FP32, expected fp32_contents",
    ],
    [
      "FP16 in typed form",
      { datatype: "FP16", shape: [1], contents: { fp32Contents: [1] } },
      "inputs[0].contents: fp32_contents for datatype FP16, expected raw_input_contents",
    ],
    [
      "both forms",
      { datatype: "FP32", shape: [1], raw: [1, 2, 3, 4], contents: { fp32Contents: [1] } },
      "inputs[0].contents: both these and raw_input_contents, expected one form for all values",
    ],
    [
      "a value beyond the datatype",
      { datatype: "UINT8", shape: [2], contents: { uintContents: [255, 256] } },
      "inputs[0].contents: 256 at element 1, expected UINT8",
    ],
    [
      "a BOOL of 2",
      { datatype: "BOOL", shape: [2], raw: [1, 2] },
      "inputs[0].raw_input_contents: BOOL 2 at element 1, expected 0 or 1",
    ],
    [
      "BYTES that end early",
      { datatype: "BYTES", shape: [2], raw: [1, 0, 0, 0, 65, 9, 0, 0, 0, 65] },
      "inputs[0].raw_input_contents: the bytes end within element 1 of 2; each is a 4-byte length and its bytes",
    ],
    [
      "BYTES that go on",
      { datatype: "BYTES", shape: [1], raw: [0, 0, 0, 0, 1] },
      "inputs[0].raw_input_contents: 1 bytes after the last of 1 elements",
    ],
  ])("is named: %s", (_, input, message) => {
    if (typeof message === "string") expect(refusal(request(input))).toBe(message);
    else expect(refusal(request(input))).toMatch(message);
  });

  it("is named where it is in the wire format", () => {
    expect(refusal(Uint8Array.of(0x0a, 5, 65))).toBe(
      "model_name: cut off at byte 3, where what holds it ends",
    );
    expect(refusal(Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f))).toBe(
      "model_name: a tag or length of more than 32 bits",
    );
    expect(refusal(Uint8Array.of(0x0a, 1, 0xff))).toBe("model_name: bytes that are no UTF-8, expected text");
    expect(refusal(Uint8Array.of(0x08, 1))).toBe(
      "model_name: wire type 0, expected 2: the client has another .proto",
    );
    expect(refusal(Uint8Array.of(0x2a, 2, 0x08, 1))).toMatch(/^inputs\[0\]\.name: wire type 0/);
    // A packed list whose last value goes on in the next field.
    const goesOn = [0x12, 5, ...new TextEncoder().encode("INT64"), 0x1a, 1, 0x80, 0x1a, 1, 0];
    expect(refusal(Uint8Array.from([0x2a, goesOn.length, ...goesOn]))).toBe(
      "inputs[0].shape: cut off at byte 12, where what holds it ends",
    );
    const contents = [
      0x12,
      5,
      ...new TextEncoder().encode("INT64"),
      0x1a,
      1,
      0,
      0x2a,
      5,
      0x1a,
      1,
      0x80,
      0x90,
      3,
    ];
    expect(refusal(Uint8Array.from([0x2a, contents.length, ...contents]))).toMatch(/cut off|tag/);
    // Ten thousand groups, one within the other.
    const groups = Uint8Array.from({ length: 20_000 }, (__, i) => (i % 2 === 0 ? 0x9b : 0x06));
    expect(refusal(groups)).toBe("unknown field: groups nested too deeply");
  });

  it("is a limit that it is over, told before memory is taken (O2)", () => {
    const full: InferRequest = {
      modelName: "flights",
      modelVersion: "",
      id: "",
      parameters: NO_PARAMETERS,
      inputs: [],
      outputs: [],
      raw: false,
    };
    const bytes = (values: number): InferRequest["inputs"][number] => ({
      name: "t",
      datatype: "BYTES",
      shape: [values],
      data: Array.from({ length: values }, () => new Uint8Array(1)),
    });
    const over = (change: Partial<InferRequest>): string =>
      refusal(encodeInferRequest({ ...full, ...change }), limits);
    expect(over({ modelName: "a name of 17 char" })).toBe("model_name: 17 bytes, expected at most 16");
    expect(over({ inputs: [bytes(1), bytes(1), bytes(1)] })).toBe(
      "inputs: more than 2 entries, expected at most so many",
    );
    expect(over({ outputs: ["x", "y", "z"].map((name) => ({ name, parameters: NO_PARAMETERS })) })).toMatch(
      /^outputs: more/,
    );
    expect(
      over({
        parameters: new Map([
          ["a", 2n],
          ["b", 1n],
        ]),
      }),
    ).toMatch(/^parameters: more than 1 entries/);
    for (const raw of [true, false]) {
      expect(over({ raw, inputs: [bytes(2), bytes(2)] })).toBe(
        "inputs[1].shape: 4 BYTES elements, expected at most 3 in a message",
      );
      const long = { ...bytes(1), data: [new Uint8Array(9)] };
      expect(over({ raw, inputs: [long] })).toMatch(/element 0 of 9 bytes, expected at most 8$/);
    }
    const large = { ...bytes(0), datatype: "UINT8" as const, shape: [5_000], data: new Uint8Array(5_000) };
    expect(over({ inputs: [large] })).toMatch(/^message: \d+ bytes, expected at most 4096$/);
    expect(over({ parameters: new Map([["k", "x".repeat(17)]]) })).toBe(
      "parameters: 17 bytes, expected at most 16",
    );
  });

  it("is shared memory, which would leave a client waiting", () => {
    const message = create(ModelInferRequestSchema, {
      inputs: [
        {
          name: "x",
          datatype: "FP32",
          shape: [1n],
          parameters: { shared_memory_region: { parameterChoice: { case: "stringParam", value: "r" } } },
        },
      ],
    });
    expect(refusal(toBinary(ModelInferRequestSchema, message))).toBe(
      "inputs[0].parameters: shared_memory_region is not served, expected values in the message",
    );
  });

  it("moves large values within an owned message instead of copying them", () => {
    const data = Float32Array.from({ length: 5_000 }, (_, i) => i / 7);
    const inputs = [{ name: "features", datatype: "FP32", shape: [50, 100], data }] as const;
    for (const name of ["m", "mo", "mod", "mode"]) {
      const request = {
        modelName: name,
        modelVersion: "",
        id: "",
        parameters: NO_PARAMETERS,
        inputs,
        outputs: [],
        raw: true,
      };
      const bytes = encodeInferRequest(request);
      for (let offset = 0; offset < 8; offset++) {
        const message = new Uint8Array(bytes.length + offset).subarray(offset);
        message.set(bytes);
        const decoded = decodeInferRequest(message, INFER_LIMITS, "owned");
        const moved = decoded.inputs[0]?.data as Float32Array;
        expect(moved).toEqual(data);
        expect(moved.buffer).toBe(message.buffer);
      }
    }
  });
});
