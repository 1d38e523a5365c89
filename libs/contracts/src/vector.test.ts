import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  NUMBER_BYTES_MAX,
  readVector,
  VectorWriter,
  writeDecimal,
  writeDouble,
  writeInteger,
  writeNumber,
} from "./index.ts";

const decode = (bytes: Uint8Array, end: number): string => new TextDecoder().decode(bytes.subarray(0, end));
const idOf = (id: string): { bytes: Uint8Array; start: number; end: number } => {
  const bytes = new TextEncoder().encode(`--${id}--`);
  return { bytes, start: 2, end: bytes.length - 2 };
};

describe("number text", () => {
  it("writes safe integers as JavaScript does", () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        const bytes = new Uint8Array(NUMBER_BYTES_MAX);
        expect(decode(bytes, writeInteger(bytes, 0, value))).toBe(String(value));
      }),
    );
  });

  it("writes rounded values so that they read back as the same double", () => {
    fc.assert(
      fc.property(
        fc.double({ noNaN: true, min: -1e12, max: 1e12 }),
        fc.integer({ min: 0, max: 9 }),
        (raw, places) => {
          const value = Math.round(raw * 10 ** places) / 10 ** places;
          const bytes = new Uint8Array(NUMBER_BYTES_MAX);
          const written = decode(bytes, writeDecimal(bytes, 0, value, places));
          // -0 is written as 0.
          expect(JSON.parse(written) + 0).toBe(value + 0);
          if (Math.abs(value) < 1e15 && (value === 0 || Math.abs(value) >= 1e-6))
            expect(written).toBe(String(value + 0));
        },
      ),
    );
  });

  it("writes doubles fast so that they read back: short decimals as they are, others with 18 digits", () => {
    const written = (value: number): string => {
      const bytes = new Uint8Array(NUMBER_BYTES_MAX).fill(0x39);
      return decode(bytes, writeDouble(bytes, 0, value));
    };
    expect(written(12.34)).toBe("12.34");
    expect(written(-0.001)).toBe("-0.001");
    expect(written(123456789012.345)).toBe("123456789012.345");
    expect(written(0.1 + 0.2)).toBe("0.300000000000000044");
    expect(written(1 / 3)).toBe("0.333333333333333314");
    fc.assert(
      fc.property(
        fc.oneof(
          fc.double({ noNaN: true, noDefaultInfinity: true }),
          fc.double({ noNaN: true, min: -1e4, max: 1e4 }),
          fc.double({ noNaN: true, min: 1e-3, max: 1 }),
          fc
            .tuple(fc.integer({ min: 0, max: 2 ** 40 }), fc.integer({ min: 1, max: 2 ** 20 }))
            .map(([a, b]) => a / b),
        ),
        (value) => {
          expect(JSON.parse(written(value)) + 0).toBe(value + 0);
          expect(written(value).length).toBeLessThan(NUMBER_BYTES_MAX);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it("writes any finite double so that it reads back", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const bytes = new Uint8Array(NUMBER_BYTES_MAX);
        expect(JSON.parse(decode(bytes, writeNumber(bytes, 0, value))) + 0).toBe(value + 0);
      }),
    );
  });
});

describe("feature vectors on their topic", () => {
  const shape = { names: ["a", "b", 'quo"ted'], decimals: [2, "full", 12], digest: "0a".repeat(32) } as const;

  it("come back from either form as they were written", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme", minLength: 1, maxLength: 400 }),
        fc.nat({ max: 4e12 }),
        fc.tuple(
          fc.integer({ min: -1e9, max: 1e9 }),
          fc.double({ noDefaultInfinity: true }),
          fc.constant(Number.NaN),
        ),
        (id, time, [cents, any, unknown]) => {
          const values = Float64Array.of(cents / 100, any, unknown);
          for (const format of ["json", "binary"] as const) {
            const written = new VectorWriter({ ...shape, format }).write(idOf(id), time, values);
            expect(readVector(written)).toEqual({
              id,
              time,
              features: shape.digest,
              values: Array.from(values, (value) => (Number.isNaN(value) ? null : value + 0)),
            });
          }
        },
      ),
    );
  });

  it("are read from what a stranger wrote only when they are vectors", () => {
    const reads = (value: string): unknown => readVector(new TextEncoder().encode(value));
    expect(reads('{"id":"x","time":1,"values":{"a":"b"},"features":"d"}')).toBeNull();
    expect(reads('{"id":"x"')).toBeNull();
    expect(reads("\u0001\u0002")).toBeNull();
    expect(readVector(null)).toBeNull();
    expect(reads('{"id":"x","time":1,"values":{"a":null},"features":"d"}')).not.toBeNull();
  });
});
