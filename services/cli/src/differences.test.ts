import { describe, expect, it } from "vitest";
import { differences, differenceText } from "./differences.ts";

describe("differences", () => {
  it("names each changed leaf by its path", () => {
    const before = { a: 1, list: [{ w: "1h" }, { w: "4h" }], gone: true };
    const after = { a: 1, list: [{ w: "2h" }, { w: "4h" }, { w: "7d" }], fresh: null };
    expect(differences(before, after).map(differenceText)).toEqual([
      '~ list[0].w: "1h" -> "2h"',
      '+ list[2] = {"w":"7d"}',
      "- gone (was true)",
      "+ fresh = null",
    ]);
  });

  it("finds none between equal values", () => {
    expect(differences({ a: [1, { b: 2 }] }, { a: [1, { b: 2 }] })).toEqual([]);
  });
});
