import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { acquire, admits, type Lease } from "./index.ts";

const lease: Lease = { holder: "a", epoch: 4, expiresAtMs: 1_000 };

describe("lease", () => {
  it("goes to the first who asks", () => {
    expect(acquire(null, "a", 0, 100)).toEqual({
      outcome: "granted",
      lease: { holder: "a", epoch: 1, expiresAtMs: 100 },
    });
  });

  it("is renewed by its holder under the same epoch, also late", () => {
    for (const nowMs of [500, 1_000, 5_000]) {
      expect(acquire(lease, "a", nowMs, 100)).toEqual({
        outcome: "granted",
        lease: { holder: "a", epoch: 4, expiresAtMs: nowMs + 100 },
      });
    }
  });

  it("is held against others until it runs out, then goes on under the next epoch", () => {
    expect(acquire(lease, "b", 999, 100)).toEqual({ outcome: "held", lease });
    expect(acquire(lease, "b", 1_000, 100)).toMatchObject({ outcome: "granted", lease: { epoch: 5 } });
  });

  it("admits its own epoch only; without a lease, none", () => {
    expect([3, 4, 5].map((epoch) => admits(lease, epoch))).toEqual([false, true, false]);
    expect(admits(null, 0)).toBe(false);
  });

  it("one epoch has one holder, epochs never decrease, and an old one is refused (V4)", () => {
    const ask = fc.record({
      holder: fc.constantFrom("a", "b", "c"),
      afterMs: fc.nat(80),
      ttlMs: fc.integer({ min: 1, max: 100 }),
    });
    fc.assert(
      fc.property(fc.array(ask, { maxLength: 60 }), (asks) => {
        let current: Lease | null = null;
        let nowMs = 0;
        const holders = new Map<number, string>();
        for (const { holder, afterMs, ttlMs } of asks) {
          nowMs += afterMs;
          const before: Lease | null = current;
          const answer = acquire(current, holder, nowMs, ttlMs);
          if (answer.outcome === "held") {
            expect(answer.lease).toBe(before);
            expect(nowMs).toBeLessThan(answer.lease.expiresAtMs);
            expect(answer.lease.holder).not.toBe(holder);
            continue;
          }
          current = answer.lease;
          expect(current.epoch).toBeGreaterThanOrEqual(before?.epoch ?? 1);
          expect(holders.get(current.epoch) ?? holder).toBe(holder);
          holders.set(current.epoch, holder);
          for (const epoch of holders.keys()) expect(admits(current, epoch)).toBe(epoch === current.epoch);
        }
      }),
    );
  });
});
