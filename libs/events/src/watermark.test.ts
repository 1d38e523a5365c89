import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Watermark } from "./index.ts";

describe("Watermark", () => {
  it("is the 8th newest time less the lateness, also across snapshots at any moment", () => {
    const step = fc.record({ time: fc.integer({ min: 0, max: 30 }), restart: fc.boolean() });
    fc.assert(
      fc.property(fc.nat({ max: 10 }), fc.array(step, { maxLength: 60 }), (lateMax, steps) => {
        const times: number[] = [];
        let watermark = new Watermark(lateMax);
        for (const { time, restart } of steps) {
          const expected = (times.toSorted((a, b) => b - a)[7] ?? Number.NEGATIVE_INFINITY) - lateMax;
          expect(watermark.ms).toBe(expected);
          expect(watermark.isLate(time)).toBe(time < expected);
          watermark.observe(time);
          times.push(time);
          expect(watermark.newestMs).toBe(Math.max(...times));
          if (restart) watermark = new Watermark(lateMax, structuredClone(watermark.snapshot()));
        }
      }),
    );
  });

  it("is not moved by seven events with a clock that is ahead", () => {
    const watermark = new Watermark(0);
    for (let i = 0; i < 20; i++) watermark.observe(1_000 + i);
    for (let i = 0; i < 7; i++) watermark.observe(9_000_000 + i);
    expect(watermark.ms).toBe(1_019);
    watermark.observe(9_000_000);
    expect(watermark.ms).toBe(9_000_000);
  });
});
