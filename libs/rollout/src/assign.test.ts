import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Arm, assign, BUCKETS, bucketOf, checkPlan, type Plan } from "./assign.ts";
import { murmur3 } from "./murmur3.ts";

const planOf = (share: number, salt = "flights/7"): Plan => ({
  salt,
  arms: [
    { version: 1, role: "champion", share: 1 - share },
    { version: 2, role: "challenger", share },
  ],
});
const share = fc.integer({ min: 0, max: BUCKETS }).map((buckets) => buckets / BUCKETS);
/** How far the sum of (observed - expected)^2 / expected lies from its mean, in standard deviations. */
const chiSquare = (counts: ArrayLike<number>): number => {
  const cells = Array.from(counts);
  const expected = cells.reduce((sum, count) => sum + count, 0) / cells.length;
  const statistic = cells.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  return (statistic - (cells.length - 1)) / Math.sqrt(2 * (cells.length - 1));
};

describe("murmur3", () => {
  it.each([
    ["", 0],
    ["test", 0xba6bd213],
    ["hello", 0x248bfa47],
    ["hello, world", 0x149bbb7f],
    ["Hello, world!", 0xc0363e43],
    ["The quick brown fox jumps over the lazy dog", 0x2e4ff723],
    ["Zürich", 0x29695951],
    ["東京 ✈ 👩‍✈️", 0x459958b2],
    ["\ud800", 0xb69ca6c1],
  ])("%j, as mmh3 for Python has it", (text, hash) => {
    expect(murmur3(text, 0)).toBe(hash);
  });
});

describe("bucketOf", () => {
  const KEYS = 100_000;

  it.each([
    ["consecutive numbers", (i: number) => String(i)],
    ["names with a number", (i: number) => `customer-${i}@example.org`],
    ["long ids that differ in front", (i: number) => `${i}-6f1c2a9e-0b7d-4c55-9d0e-3a5b8f7c6d21`],
  ])("spreads %s evenly", (_, unitOf) => {
    const counts = new Uint32Array(BUCKETS);
    for (let i = 0; i < KEYS; i++) counts[bucketOf("flights/7", unitOf(i))]!++;
    expect(Math.abs(chiSquare(counts))).toBeLessThan(4);
  });

  it("draws anew for another salt", () => {
    const tenths = 10;
    const counts = new Uint32Array(tenths * tenths);
    for (let i = 0; i < KEYS; i++) {
      const [a, b] = ["flights/7", "flights/8"].map((salt) =>
        Math.floor((bucketOf(salt, `unit-${i}`) * tenths) / BUCKETS),
      ) as [number, number];
      counts[a * tenths + b]!++;
    }
    expect(Math.abs(chiSquare(counts))).toBeLessThan(4);
  });
});

describe("assign", () => {
  it("R1: gives a unit the same arm each time, whatever the order of the arms", () => {
    fc.assert(
      fc.property(share, fc.string(), fc.string({ unit: "binary" }), (s, salt, unit) => {
        const plan = planOf(s, salt);
        const once = assign(plan, unit);
        expect(assign(plan, unit)).toEqual(once);
        expect(assign({ ...plan, arms: plan.arms.toReversed() }, unit)).toEqual(once);
      }),
    );
  });

  it("R2: a growing share moves units from the champion to the challenger only", () => {
    fc.assert(
      fc.property(share, share, fc.string(), (a, b, unit) => {
        const [before, after] = [Math.min(a, b), Math.max(a, b)].map((s) => assign(planOf(s), unit).arm.role);
        if (before === "challenger") expect(after).toBe("challenger");
        if (after === "champion") expect(before).toBe("champion");
      }),
    );
  });

  it("R3: states the propensity with which arms are drawn", () => {
    for (const s of [0, 0.0001, 0.05, 1 / 3, 0.5, 1]) {
      const units = 5_000;
      let challengers = 0;
      for (let i = 0; i < units; i++) {
        const { arm, propensity } = assign(planOf(s), `unit-${i}`);
        if (arm.role === "challenger") challengers++;
        expect(propensity).toBeCloseTo(arm.role === "challenger" ? s : 1 - s, 4);
      }
      expect(Math.abs(challengers - s * units)).toBeLessThanOrEqual(
        4 * Math.sqrt(units * s * (1 - s)) + 1e-9,
      );
    }
  });

  it("gives everything to a champion alone, and nothing to nobody", () => {
    const champion: Arm = { version: 1, role: "champion", share: 1 };
    expect(assign({ salt: "", arms: [champion] }, "")).toEqual({ arm: champion, propensity: 1 });
    expect(() => assign({ salt: "", arms: [] }, "")).toThrow("arms has no champion");
  });
});

describe("checkPlan", () => {
  const check = (...arms: [Arm["role"], number][]) =>
    checkPlan({ salt: "s", arms: arms.map(([role, s], i) => ({ version: i + 1, role, share: s })) });

  it("takes a champion, alone or with a challenger of any share that holds a bucket", () => {
    check(["champion", 1]);
    check(["champion", 0.9], ["challenger", 0.1]);
    check(["champion", 1], ["challenger", 0]);
    check(["champion", 0.9999], ["challenger", 0.0001]);
  });

  it("names what is wrong and the remedy", () => {
    expect(() => check()).toThrow("arms has 0 champions: name");
    expect(() => check(["champion", 0.5], ["champion", 0.5])).toThrow("arms has 2 champions");
    expect(() => check(["champion", 0.8], ["challenger", 0.1], ["challenger", 0.1])).toThrow(
      "arms has 2 challengers: try them one after another",
    );
    expect(() => check(["champion", 0.9], ["challenger", 0.2])).toThrow("sum to 1.1");
    expect(() => check(["champion", 1.5], ["challenger", -0.5])).toThrow("arms[0].share is 1.5");
    expect(() => check(["champion", 1], ["challenger", Number.NaN])).toThrow("arms[1].share is NaN");
    expect(() => check(["champion", 0.99999], ["challenger", 0.00001])).toThrow("at least 0.0001");
  });
});
