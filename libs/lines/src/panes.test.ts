import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkedDurationMs, type Duration } from "./duration.ts";
import { PANES_MIN, ratePaneMs, windowPaneMs } from "./panes.ts";

const duration: fc.Arbitrary<Duration> = fc
  .tuple(fc.integer({ min: 1, max: 500 }), fc.constantFrom("s", "m", "h", "d"))
  .map(([count, unit]) => `${count}${unit}` as Duration);

describe("windowPaneMs", () => {
  it.each<[Duration, Duration]>([
    ["5s", "1s"],
    ["12s", "1s"],
    ["1m", "5s"],
    ["10m", "30s"],
    ["1h", "5m"],
    ["4h", "10m"],
    ["24h", "1h"],
    ["7d", "12h"],
    ["30d", "1d"],
    ["90m", "5m"],
    ["61s", "1s"],
  ])("cuts a window of %s into panes of %s", (window, pane) => {
    expect(windowPaneMs({ window })).toBe(checkedDurationMs(pane));
  });

  it("takes the author's pane", () => {
    expect(windowPaneMs({ window: "24h", pane: "24h" })).toBe(86_400_000);
  });

  it("always divides the window, into twelve panes or more unless they would be shorter than a second", () => {
    fc.assert(
      fc.property(duration, (window) => {
        const windowMs = checkedDurationMs(window);
        const panes = windowMs / windowPaneMs({ window });
        expect(Number.isInteger(panes)).toBe(true);
        expect(panes).toBeGreaterThanOrEqual(Math.min(PANES_MIN, windowMs / 1_000));
      }),
    );
  });
});

describe("ratePaneMs", () => {
  it.each<[Duration, Duration]>([
    ["1s", "1s"],
    ["12s", "1s"],
    ["1m", "5s"],
    ["10m", "30s"],
    ["1h", "5m"],
    ["1d", "1h"],
    ["30d", "1d"],
  ])("counts a rate with a half-life of %s in panes of %s", (halfLife, pane) => {
    expect(ratePaneMs({ halfLife })).toBe(checkedDurationMs(pane));
  });

  it("fits twelve times into the half-life, unless it would be shorter than a second", () => {
    fc.assert(
      fc.property(duration, (halfLife) => {
        const halfLifeMs = checkedDurationMs(halfLife);
        const paneMs = ratePaneMs({ halfLife });
        expect(halfLifeMs / paneMs).toBeGreaterThanOrEqual(Math.min(PANES_MIN, halfLifeMs / 1_000));
      }),
    );
  });
});
