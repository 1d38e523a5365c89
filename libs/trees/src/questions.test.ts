import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Mode } from "./ensemble.ts";
import { HIGHEST, LOWEST, MEMBER, NO_MEMBER, orderKey, Slots } from "./questions.ts";

const float = fc.oneof(
  fc.constantFrom(0, -0, 1, Infinity, -Infinity, Number.NaN, 2 ** -149, -(2 ** -149)),
  fc.float(),
);

/** A comparison as C makes it, which is how onnxruntime does. */
const HOLDS: Readonly<Record<Mode, (value: number, threshold: number) => boolean>> = {
  LEQ: (value, threshold) => value <= threshold,
  LT: (value, threshold) => value < threshold,
  GTE: (value, threshold) => value >= threshold,
  GT: (value, threshold) => value > threshold,
  EQ: (value, threshold) => value === threshold,
  NEQ: (value, threshold) => value !== threshold,
};

describe("orderKey", () => {
  it("has the order of the values, and room for unknown ones below and above", () => {
    fc.assert(
      fc.property(float, float, (a, b) => {
        fc.pre(!Number.isNaN(a) && !Number.isNaN(b));
        expect(Math.sign(orderKey(a) - orderKey(b)) + 0).toBe(a === b ? 0 : a < b ? -1 : 1);
        expect(orderKey(a)).toBeGreaterThan(LOWEST + 1);
        expect(orderKey(a)).toBeLessThan(HIGHEST - 1);
      }),
    );
  });
});

describe("questions", () => {
  it("send every value to the side that the mode says", () => {
    const mode = fc.constantFrom(...(Object.keys(HOLDS) as Mode[]));
    fc.assert(
      fc.property(mode, float, float, fc.boolean(), (mode, value, threshold, unknownTrue) => {
        const slots = new Slots();
        const [whenTrue, whenFalse] = [1, 2];
        const { slot, unknown, key, left, right } = slots.question({
          kind: "split",
          feature: 0,
          mode,
          values: [threshold],
          unknownTrue,
          whenTrue,
          whenFalse,
        });
        const { members } = slots.list[slot]!;
        const known = members === null ? value : members.has(value) ? MEMBER : NO_MEMBER;
        const column = Number.isNaN(value) ? unknown : orderKey(known);
        const isTrue = HOLDS[mode](value, threshold) || (unknownTrue && Number.isNaN(value));
        expect(column <= key ? left : right).toBe(isTrue ? whenTrue : whenFalse);
      }),
      { numRuns: 2_000 },
    );
  });

  it("share a slot where they can", () => {
    const slots = new Slots();
    const rest = { kind: "split", feature: 3, unknownTrue: false, whenTrue: 1, whenFalse: 2 } as const;
    const slot = (mode: Mode, ...values: number[]): number => slots.question({ ...rest, mode, values }).slot;
    expect(slot("LEQ", 1)).toBe(slot("GT", 7));
    expect(slot("EQ", 1, 2)).toBe(slot("NEQ", 2, 1));
    expect(slot("EQ", 1)).not.toBe(slot("EQ", 2));
    expect(slot("EQ")).not.toBe(slot("LEQ", 1));
  });
});
