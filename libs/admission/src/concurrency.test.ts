import { describe, expect, it } from "vitest";
import { type ConcurrencyLimit, createConcurrencyLimit } from "./concurrency.ts";

const OPTIONS = { initial: 20, min: 4, max: 1_000, tolerance: 1.5, quickMs: 5 };

/** A server of `workers`, 1 ms of work per call, kept at its limit by callers: each call takes its turn. */
function saturate(limit: ConcurrencyLimit, workers: number, calls: number): void {
  for (let i = 0; i < calls; i++) limit.observe(Math.max(1, limit.limit / workers), limit.limit);
}

describe("the concurrency limit", () => {
  it("grows while calls take no longer", () => {
    const limit = createConcurrencyLimit(OPTIONS);
    for (let i = 0; i < 2_000; i++) limit.observe(1, limit.limit);
    expect(limit.limit).toBeGreaterThan(100);
  });

  it("shrinks when calls take much longer, not below its least", () => {
    const limit = createConcurrencyLimit(OPTIONS);
    for (let i = 0; i < 500; i++) limit.observe(1, limit.limit);
    const before = limit.limit;
    for (let i = 0; i < 200; i++) limit.observe(20, limit.limit);
    expect(limit.limit).toBeLessThan(before / 3);
    expect(limit.limit).toBeGreaterThanOrEqual(OPTIONS.min);
  });

  it("leaves calls that are quick enough alone, however much quicker they were", () => {
    const limit = createConcurrencyLimit(OPTIONS);
    for (let i = 0; i < 500; i++) limit.observe(0.1, limit.limit);
    const before = limit.limit;
    for (let i = 0; i < 500; i++) limit.observe(4, limit.limit);
    expect(limit.limit).toBeGreaterThanOrEqual(before);
  });

  it("recovers after an overload", () => {
    const limit = createConcurrencyLimit(OPTIONS);
    for (let i = 0; i < 500; i++) limit.observe(1, limit.limit);
    for (let i = 0; i < 500; i++) limit.observe(50, limit.limit);
    const low = limit.limit;
    for (let i = 0; i < 5_000; i++) limit.observe(1, limit.limit);
    expect(limit.limit).toBeGreaterThan(3 * low);
  });

  it("stays bounded where calls take their turn", () => {
    const limit = createConcurrencyLimit(OPTIONS);
    saturate(limit, 16, 50_000);
    expect(limit.limit).toBeLessThanOrEqual(OPTIONS.max);
  });

  it("learns nothing from idle times", () => {
    const limit = createConcurrencyLimit(OPTIONS);
    for (let i = 0; i < 2_000; i++) limit.observe(1, 1);
    expect(limit.limit).toBe(OPTIONS.initial);
  });
});
