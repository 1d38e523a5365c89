import { describe, expect, it } from "vitest";
import { facts, quality, verdict } from "./fixtures.ts";
import { type Counts, equations, loopReport, reportLines } from "./summary.ts";
import { timeline } from "./timeline.ts";

const counts: Counts = {
  sent: { departures: 100, arrivals: 90 },
  accepted: { departures: 98, arrivals: 90 },
  rejected: 2,
  featured: 98,
  predicted: 98,
  labelled: 88,
  matched: 88,
};

describe("the equations", () => {
  it("hold when every event is accounted for", () => {
    expect(equations(counts, "departures").map(({ holds }) => holds)).toEqual([true, true, true, true]);
  });

  it.each([
    ["sent", { ...counts, sent: { departures: 101, arrivals: 90 } }, 0],
    ["a lost rejection", { ...counts, rejected: 1 }, 0],
    ["a vector too many", { ...counts, featured: 99, predicted: 99 }, 1],
    ["a prediction too few", { ...counts, predicted: 97 }, 2],
    ["a label twice", { ...counts, labelled: 89 }, 3],
  ])("do not hold with %s", (_name, wrong, index) => {
    const failed = equations(wrong, "departures").map(({ holds }) => holds);
    expect(failed.indexOf(false)).toBe(index);
  });
});

describe("the report of a loop", () => {
  const live = {
    rows: 3_100,
    positives: 800,
    serving: quality(3_100, 0.6, 0.83, 0.4),
    first: quality(3_100, 0.41, 0.7, 0.5),
    baseRate: { averagePrecision: 0.26 },
  };
  const report = loopReport({
    loop: timeline(facts),
    stages: { startMs: 4_000 },
    counts,
    before: null,
    after: live,
    facts,
    versions: [
      {
        version: 3,
        recipe: "lightgbm",
        digest: "d".repeat(64),
        features: "f".repeat(64),
        runId: "run-2",
        registeredAtMs: 1,
        trainedUntilMs: 2,
        passed: true,
        verdict,
      },
    ],
    aliases: { champion: 3 },
    lineDigest: "l".repeat(64),
    equations: equations(counts, "departures"),
  });

  it("holds stage times, counts, quality and digests", () => {
    expect(report).toMatchObject({
      complete: true,
      stages: {
        startMs: 4_000,
        shockToDriftMs: 12_800,
        trainMs: 3_900,
        swapMs: 400,
        shockToBetterMs: 19_400,
      },
      counts: { sent: 190, accepted: 188, rejected: 2, featured: 98, predicted: 98, labelled: 88 },
      quality: { before: null, after: { serving: { ap: 0.6 }, first: { ap: 0.41 }, baseRate: { ap: 0.26 } } },
      digests: { line: "l".repeat(64), features: "f".repeat(64), champion: "d".repeat(64) },
    });
  });

  it("reads well", () => {
    const text = reportLines(report).join("\n");
    expect(text).toContain("✓ sent = accepted + rejected");
    expect(text).toContain(
      "AP 0.600 AUC 0.830 · first model never retrained AP 0.410 AUC 0.700 · base rate AP 0.260",
    );
  });
});
