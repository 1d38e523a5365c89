import { Watermark } from "@millrace/events";
import {
  checkedDurationMs,
  type Duration,
  type LineDefinition,
  type StreamDefinition,
} from "@millrace/lines";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileFeatures, FeatureEngine, featuresReachMs } from "./index.ts";
import { anyLine } from "./testing/any-line.ts";
import { eventsOf, everything } from "./testing/everything.ts";
import { isWithinReach, naiveDifferences } from "./testing/naive-differences.ts";
import type { NaiveEvent } from "./testing/naive-vector.ts";
import { rowsOf } from "./testing/rows.ts";

const SECOND_MS = 1_000;

function lineOf(asked: Duration, told: Duration, ...features: readonly object[]): LineDefinition {
  const { streams } = everything;
  return {
    ...everything,
    streams: {
      asked: { ...(streams["asked"] as StreamDefinition), lateMax: asked },
      told: { ...(streams["told"] as StreamDefinition), lateMax: told },
    },
    features: features.map((feature, i) => ({ name: `f${i}`, by: ["a"], ...feature })),
  } as unknown as LineDefinition;
}

/** Vectors of the events predicted on; the engine does not see what is older. */
function vectorsOf(
  line: LineDefinition,
  log: readonly NaiveEvent[],
  sinceMs: number,
): (readonly number[] | null)[] {
  const plan = compileFeatures(line);
  const engine = new FeatureEngine(plan, null);
  const rowOf = rowsOf(line);
  const out = new Float64Array(plan.names.length);
  return log.map((event) => {
    if (event.time < sinceMs) return null;
    if (event.stream === "asked") engine.readAndUpdate(rowOf(event), out);
    else engine.update(rowOf(event));
    return event.stream === "asked" ? [...out] : null;
  });
}

describe("featuresReachMs", () => {
  it("is the longest window, a pane, and by how much events of its streams can be late", () => {
    const count = { kind: "window", aggregate: "count", from: "asked", window: "1h", pane: "5m" };
    const share = { kind: "window", aggregate: "share", from: "told", window: "30m", pane: "5m" };
    const reach = (...features: readonly object[]): number =>
      featuresReachMs(compileFeatures(lineOf("10s", "2m", ...features))) / SECOND_MS;
    expect(reach(count)).toBe(3_600 + 300 + 20);
    expect(reach(share)).toBe(1_800 + 300 + 130);
    expect(reach(share, count)).toBe(3_600 + 300 + 20);
    expect(reach({ kind: "field", field: "amount" })).toBe(0);
  });

  it("is 64 half-lives of a rate", () => {
    const rate = { kind: "rate", from: "asked", halfLife: "12s" };
    expect(featuresReachMs(compileFeatures(lineOf("10s", "2m", rate)))).toBe((64 * 12 + 1 + 20) * SECOND_MS);
  });

  it("is how far back a state has to be built from: what is older changes no vector (F4)", () => {
    const lines = anyLine.chain((line) => fc.tuple(fc.constant(line), eventsOf(line)));
    fc.assert(
      fc.property(lines, fc.nat(), ([line, log], pick) => {
        const from = pick % log.length;
        // The state is wanted from this event on, and later ones may be late.
        const watermark = new Watermark(checkedDurationMs(line.streams["asked"]?.lateMax ?? ""));
        for (const { stream, time } of log.slice(0, from)) if (stream === "asked") watermark.observe(time);
        const sinceMs = watermark.ms - featuresReachMs(compileFeatures(line));
        const whole = vectorsOf(line, log, Number.NEGATIVE_INFINITY);
        const short = vectorsOf(line, log, sinceMs);
        const names = compileFeatures(line).names;
        for (let i = from; i < log.length; i++) {
          const [vector, other] = [whole[i] ?? null, short[i] ?? null];
          if (vector === null || other === null || !isWithinReach(line, log, i)) continue;
          const expected = Object.fromEntries(names.map((name, j) => [name, other[j] as number]));
          expect(naiveDifferences(line, vector, expected)).toEqual([]);
        }
      }),
    );
  });
});
