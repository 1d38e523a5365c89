import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { categoryCoder } from "./index.ts";

function codeOf(values: readonly string[] | undefined, text: string): number {
  const bytes = new TextEncoder().encode(`x${text}y`);
  const coder = categoryCoder({ type: "category", ...(values === undefined ? {} : { values }) });
  return coder(bytes, 1, bytes.length - 1);
}

describe("categoryCoder", () => {
  it("gives a declared value its place, and none to others", () => {
    const values = ["red", "grün", "", "red-ish"];
    expect(values.map((value) => codeOf(values, value))).toEqual([0, 1, 2, 3]);
    expect(codeOf(values, "re")).toBeNaN();
    expect(codeOf(values, "blue")).toBeNaN();
  });

  it("gives values that are not declared 24 bits of their hash, for ever the same", () => {
    expect(["ORD", "LGA", "", "grün"].map((text) => codeOf(undefined, text))).toEqual([
      8_410_517, 12_467_395, 0, 16_089_286,
    ]);
  });

  it("gives numbers that a model's FP32 inputs hold exactly", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const code = codeOf(undefined, text);
        expect(Math.fround(code)).toBe(code);
        expect(code).toBeGreaterThanOrEqual(0);
        expect(code).toBeLessThan(2 ** 24);
        expect(Number.isInteger(code)).toBe(true);
      }),
    );
  });
});
