import type { LineDefinition } from "@millrace/lines";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isPositive, isPositiveRow } from "./index.ts";
import { everything } from "./testing/everything.ts";
import { rowsOf } from "./testing/rows.ts";

const at = Date.UTC(2026, 0, 1);
const told = (value: number) => ({
  stream: "told",
  time: at,
  data: { id: "1", a: "x", at, shop: null, value },
});

/** The same line with a label that is read from an amount of money. */
const charged: LineDefinition = {
  ...everything,
  label: {
    ...(everything.label as NonNullable<typeof everything.label>),
    from: "asked",
    positive: { field: "amount", above: 10.5 },
  },
};
const asked = (amount: number) => ({
  stream: "asked",
  time: at,
  data: { id: "1", at, a: "x", amount, colour: "red" },
});

describe("isPositive", () => {
  it("is an event of the label's stream whose value is above the bound, as data and as a row", () => {
    const rowOf = rowsOf(everything);
    const ofRow = isPositiveRow(everything);
    for (const [value, positive] of [
      [5, false],
      [6, true],
      [-7, false],
    ] as const) {
      expect(isPositive(everything, told(value))).toBe(positive);
      expect(ofRow(rowOf(told(value)))).toBe(positive);
    }
    expect(isPositive(everything, asked(100))).toBe(false);
    expect(ofRow(rowOf(asked(100)))).toBe(false);
  });

  it("holds decimals against the bound in the same way as data and in minor units", () => {
    const rowOf = rowsOf(charged);
    const ofRow = isPositiveRow(charged);
    fc.assert(
      fc.property(fc.integer({ min: 1_000, max: 1_100 }), (cents) => {
        const event = asked(cents / 100);
        expect(isPositive(charged, event)).toBe(cents > 1_050);
        expect(ofRow(rowOf(event))).toBe(cents > 1_050);
      }),
    );
  });

  it("is nothing without a label, and nothing that is null", () => {
    const featuresOnly = { ...everything, label: null };
    expect(isPositive(featuresOnly, told(6))).toBe(false);
    expect(isPositiveRow(featuresOnly)(rowsOf(everything)(told(6)))).toBe(false);
    const unknown = { stream: "told", time: at, data: { ...told(6).data, value: null } };
    expect(isPositive(everything, unknown)).toBe(false);
    expect(isPositiveRow(everything)(rowsOf(everything)(unknown))).toBe(false);
  });
});
