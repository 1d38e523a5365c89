import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createBudgets } from "./budget.ts";

describe("budgets", () => {
  it("let a burst pass, then so many a second, each caller for itself", () => {
    const budgets = createBudgets({ perSecond: 10, burst: 5, callersMax: 10 });
    for (let i = 0; i < 5; i++) expect(budgets.spend("a", 1, 0)).toBe(0);
    expect(budgets.spend("a", 1, 0)).toBe(100);
    expect(budgets.spend("b", 1, 0)).toBe(0);
    expect(budgets.spend("a", 1, 100)).toBe(0);
  });

  it("let a request larger than the burst pass once the budget is full, and have it paid off", () => {
    const budgets = createBudgets({ perSecond: 10, burst: 5, callersMax: 10 });
    expect(budgets.spend("a", 20, 0)).toBe(0);
    expect(budgets.spend("a", 1, 1_000)).toBe(600);
    expect(budgets.spend("a", 1, 1_600)).toBe(0);
  });

  it("never give more than burst and rate allow, whatever the calls", () => {
    const call = fc.record({ units: fc.integer({ min: 1, max: 8 }), afterMs: fc.nat(500) });
    fc.assert(
      fc.property(fc.array(call, { maxLength: 200 }), (calls) => {
        const budgets = createBudgets({ perSecond: 20, burst: 8, callersMax: 4 });
        let nowMs = 0;
        let spent = 0;
        for (const { units, afterMs } of calls) {
          nowMs += afterMs;
          if (budgets.spend("a", units, nowMs) === 0) spent += units;
          expect(spent).toBeLessThanOrEqual(8 + (nowMs / 1_000) * 20 + 1e-6);
        }
      }),
    );
  });

  it("remember no more callers than they may", () => {
    const budgets = createBudgets({ perSecond: 1, burst: 1, callersMax: 2 });
    for (const caller of ["a", "b", "c"]) budgets.spend(caller, 1, 0);
    expect(budgets.spend("c", 1, 0)).toBeGreaterThan(0);
    expect(budgets.spend("a", 1, 0)).toBe(0);
  });
});
