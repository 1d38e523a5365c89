import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  checkAgainst,
  concatRows,
  DATATYPES,
  ELEMENT_BYTES,
  fromBfloat,
  fromHalf,
  INFER_LIMITS,
  ProtocolError,
  quoted,
  splitRows,
  type Tensor,
  type TensorSpec,
  tensorBytes,
  tensorFrom,
  toBfloat,
  toHalf,
} from "./index.ts";
import { anyTensor } from "./testing/any-message.ts";

const tensor = (shape: number[], values: number[], name = "x"): Tensor => ({
  name,
  datatype: "FP32",
  shape,
  data: Float32Array.from(values),
});

describe("16-bit floats", () => {
  it("go to numbers and back with every bit", () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const half = fromHalf(bits);
      // NaN keeps no payload.
      if (!Number.isNaN(half)) expect(toHalf(half)).toBe(bits);
      const bfloat = fromBfloat(bits);
      if (!Number.isNaN(bfloat)) expect(toBfloat(bfloat)).toBe(bits);
    }
    expect(fromHalf(toHalf(Number.NaN))).toBeNaN();
    expect(fromBfloat(toBfloat(Number.NaN))).toBeNaN();
  });

  it("are the nearest to a number, and of two as near the even one", () => {
    // A search among all finite halves, which are in the order of their bits.
    const nearest = (value: number): number => {
      let [low, high] = [0, 0x7bff];
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (fromHalf(middle) <= value) low = middle;
        else high = middle - 1;
      }
      const above = low === 0x7bff ? 65_536 : fromHalf(low + 1);
      const gap = value - fromHalf(low) - (above - value);
      return gap < 0 || (gap === 0 && low % 2 === 0) ? low : low + 1;
    };
    const magnitude = fc.oneof(
      fc.double({ min: 0, max: 70_000, noNaN: true }),
      fc.double({ min: 0, max: 1e-4, noNaN: true }),
      // Halfway between two, and a hair beside it.
      fc
        .tuple(fc.nat(0x7bfe), fc.constantFrom(-1, 0, 1))
        .map(([bits, beside]) => ((fromHalf(bits) + fromHalf(bits + 1)) / 2) * (1 + beside * 2 ** -50)),
    );
    fc.assert(
      fc.property(magnitude, fc.boolean(), (value, isNegative) => {
        expect(toHalf(isNegative ? -value : value)).toBe(nearest(value) | (isNegative ? 0x8000 : 0));
      }),
      { numRuns: 2_000 },
    );
    // 1 + 2^-8 is halfway between two bfloats; 1 is the even one.
    expect(toBfloat(1 + 2 ** -8)).toBe(0x3f80);
    expect(toBfloat(1 + 3 * 2 ** -8)).toBe(0x3f82);
    expect(toBfloat(3.4e38)).toBe(0x7f80);
  });
});

describe("raw bytes", () => {
  it("of a tensor give it back, at any alignment", () => {
    fc.assert(
      fc.property(anyTensor(), fc.nat(8), (of, by) => {
        const bytes = tensorBytes(of);
        const memory = new Uint8Array(bytes.length + by);
        memory.set(bytes, by);
        expect(tensorFrom(of, memory.subarray(by))).toEqual(of);
        if (of.datatype !== "BYTES") expect(bytes.length).toBe(of.data.length * ELEMENT_BYTES[of.datatype]);
      }),
    );
  });

  it("are little-endian, BYTES with their length in 4 bytes", () => {
    expect([...tensorBytes({ datatype: "INT32", data: Int32Array.of(258) })]).toEqual([2, 1, 0, 0]);
    const data = [Uint8Array.of(65, 66), new Uint8Array(0)];
    expect([...tensorBytes({ datatype: "BYTES", data })]).toEqual([2, 0, 0, 0, 65, 66, 0, 0, 0, 0]);
  });

  it("are refused with the tensor's name where they are not its own", () => {
    expect(() => tensorFrom({ name: "x", datatype: "INT64", shape: [2] }, new Uint8Array(15))).toThrow(
      new ProtocolError('tensor "x"', "15 bytes, expected 16 (INT64 [2])"),
    );
    const limits = { ...INFER_LIMITS, bytesElements: 1 };
    expect(() => tensorFrom({ name: "x", datatype: "BYTES", shape: [2] }, new Uint8Array(8), limits)).toThrow(
      'tensor "x": 2 BYTES elements, expected at most 1 in a message',
    );
  });
});

describe("rows", () => {
  it("put together and split again are what they were", () => {
    const rows = fc
      .tuple(anyTensor(DATATYPES), fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }))
      .filter(([{ shape }]) => shape.length > 0);
    fc.assert(
      fc.property(rows, ([of, counts]) => {
        const total = of.shape[0] as number;
        const parts = splitRows(of, [...counts.map(() => 0), total]);
        expect(parts.at(-1)).toEqual(of);
        expect(concatRows(parts)).toEqual(of);
        const one = concatRows(counts.map(() => of));
        expect(one.shape).toEqual([total * counts.length, ...of.shape.slice(1)]);
        expect(
          splitRows(
            one,
            counts.map(() => total),
          ),
        ).toEqual(counts.map(() => of));
      }),
    );
  });

  it("of different numbers keep their order", () => {
    const one = concatRows([tensor([1, 2], [1, 2]), tensor([2, 2], [3, 4, 5, 6])]);
    expect(one).toEqual(tensor([3, 2], [1, 2, 3, 4, 5, 6]));
    expect(splitRows(one, [2, 1])).toEqual([tensor([2, 2], [1, 2, 3, 4]), tensor([1, 2], [5, 6])]);
  });

  it("of different kinds are not put together, nor more taken than there are", () => {
    expect(() => concatRows([tensor([1, 2], [1, 2]), tensor([1, 1], [3])])).toThrow(
      "FP32 [1, 1] beside FP32 [1, 2], expected rows of one kind",
    );
    expect(() => concatRows([tensor([], [1])])).toThrow("FP32 []");
    expect(() => splitRows(tensor([3], [1, 2, 3]), [1, 1])).toThrow("[3] split into 2 rows");
  });
});

describe("a signature", () => {
  const specs: TensorSpec[] = [
    { name: "x", datatype: "FP32", shape: [-1, 2] },
    { name: "k", datatype: "INT32", shape: [1] },
  ];
  const x = tensor([1, 2], [1, 2]);
  const k: Tensor = { name: "k", datatype: "INT32", shape: [1], data: Int32Array.of(1) };
  const refusal = (inputs: Tensor[]): string => {
    try {
      checkAgainst(specs, inputs);
      return "taken";
    } catch (error) {
      return (error as ProtocolError).message;
    }
  };

  it("takes its inputs in any order, with any number of rows but none", () => {
    expect(refusal([x, k])).toBe("taken");
    expect(refusal([k, tensor([3, 2], [1, 2, 3, 4, 5, 6])])).toBe("taken");
    expect(refusal([tensor([0, 2], []), k])).toBe(
      'inputs[0].shape: [0, 2] for "x", expected [-1, 2], where -1 is any number from 1',
    );
  });

  it("says which input is wrong and how", () => {
    expect(refusal([x])).toBe('inputs: missing "k" (INT32 [1])');
    expect(refusal([])).toBe('inputs: missing "x" (FP32 [-1, 2]), "k" (INT32 [1])');
    expect(refusal([x, k, tensor([1], [1], "z")])).toBe('inputs[2].name: "z", expected one of "x", "k"');
    expect(refusal([x, x])).toBe('inputs[1].name: "x" a second time, expected each input once');
    expect(refusal([{ ...x, datatype: "FP64" }, k])).toBe('inputs[0].datatype: FP64 for "x", expected FP32');
    expect(refusal([x, { ...k, shape: [2] }])).toBe('inputs[1].shape: [2] for "k", expected [1]');
    expect(refusal([{ ...x, shape: [2] }, k])).toMatch(
      /^inputs\[0\]\.shape: \[2\] for "x", expected \[-1, 2\]/,
    );
  });
});

describe("a stranger's text in a message", () => {
  it("has no control characters and is short", () => {
    expect(quoted('a "b"\n\u001b[2J\u009b\u202e')).toBe('"a \\"b\\"\\n\\u001b[2J\\u009b\\u202e"');
    expect(quoted("x".repeat(100))).toBe(`"${"x".repeat(80)}…"`);
  });
});
