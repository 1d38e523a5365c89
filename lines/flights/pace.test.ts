import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Pace } from "./pace.ts";

describe("Pace", () => {
  it("lets event time pass at its speed", () => {
    const pace = new Pace(1_000, null, 0, 5_000);
    expect(pace.step(20)).toEqual({ eventTimeMs: 25_000, eventsMax: Number.POSITIVE_INFINITY });
    pace.sent(3, null);
    expect(pace.step(50).eventTimeMs).toBe(55_000);
    expect(pace.clockOf(55_000)).toBe(50);
    expect(pace.clockOf(45_000)).toBe(40);
  });

  it("catches nothing up after a long wait", () => {
    const pace = new Pace(10, null, 0, 0);
    expect(pace.step(60_000).eventTimeMs).toBe(2_000);
  });

  it("goes on from where a send was cut", () => {
    const pace = new Pace(10, null, 0, 0);
    pace.step(100);
    pace.sent(5_000, 400);
    expect(pace.step(110).eventTimeMs).toBe(500);
  });

  it("never lets more pass than the rate, whatever the steps", () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 500 }), fc.integer({ min: 0, max: 50 })), {
      maxLength: 100,
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2_000 }), steps, (rate, all) => {
        const pace = new Pace(1, rate, 0, 0);
        let nowMs = 0;
        let events = 0;
        for (const [stepMs, wanted] of all) {
          nowMs += stepMs;
          const { eventsMax } = pace.step(nowMs);
          const count = Math.min(wanted, eventsMax);
          pace.sent(count, null);
          events += count;
          expect(events).toBeLessThanOrEqual((nowMs * rate) / 1000);
        }
      }),
    );
  });

  it("stamps events in their order", () => {
    const pace = new Pace(10_000, null, 0, 0);
    const stamps: number[] = [];
    for (let nowMs = 20; nowMs <= 200; nowMs += 20) {
      const { eventTimeMs } = pace.step(nowMs);
      for (let time = eventTimeMs - 180_000; time <= eventTimeMs; time += 60_000)
        stamps.push(pace.clockOf(time));
      pace.sent(4, null);
    }
    expect(stamps).toEqual([...stamps].sort((a, b) => a - b));
  });
});
