import { checkLine, formatIssues, type LineDefinition } from "@millrace/lines";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileFeatures, FeatureEngine } from "./index.ts";
import { anyLine, anyMeanings, wideLine } from "./testing/any-line.ts";
import { eventsOf } from "./testing/everything.ts";
import { isWithinReach, naiveDifferences } from "./testing/naive-differences.ts";
import { type NaiveEvent, naiveVector } from "./testing/naive-vector.ts";
import { rowsOf } from "./testing/rows.ts";

type Log = readonly NaiveEvent[];

/** The vector of each event predicted on, by an engine that is exchanged for one from its snapshot now and then. */
function vectorsOf(line: LineDefinition, log: Log, restartEvery: number): (readonly number[] | null)[] {
  const plan = compileFeatures(line);
  const rowOf = rowsOf(line);
  const out = new Float64Array(plan.names.length);
  let engine = new FeatureEngine(plan, null);
  return log.map((event, i) => {
    if (i % restartEvery === restartEvery - 1) {
      engine = new FeatureEngine(plan, structuredClone(engine.snapshot()));
    }
    if (event.stream === "told") {
      engine.update(rowOf(event));
      return null;
    }
    engine.readAndUpdate(rowOf(event), out);
    return [...out];
  });
}

/** What the engine's vectors differ by from the definition written down naively. */
function differences(line: LineDefinition, log: Log, restartEvery: number): string[] {
  return vectorsOf(line, log, restartEvery).flatMap((vector, i) => {
    if (vector === null || !isWithinReach(line, log, i)) return [];
    const expected = naiveVector(line, log.slice(0, i), log[i] as NaiveEvent, anyMeanings);
    return naiveDifferences(line, vector, expected);
  });
}

const withEvents = (lines: fc.Arbitrary<LineDefinition>): fc.Arbitrary<[LineDefinition, Log]> =>
  lines.chain((line) => fc.tuple(fc.constant(line), eventsOf(line)));
const restarts = fc.integer({ min: 2, max: 300 });

describe("features of any line", () => {
  it("are what their definition says, whatever stands beside them, over any restarts (F1, F2, F3)", () => {
    fc.assert(
      fc.property(withEvents(anyLine), restarts, ([line, log], restartEvery) => {
        const checked = checkLine(line);
        if (!checked.ok) expect.fail(formatIssues(checked.issues));
        expect(differences(line, log, restartEvery)).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it("are so too where one key has more of them than one level holds (F1, F2, F3)", () => {
    fc.assert(
      fc.property(withEvents(wideLine), restarts, ([line, log], restartEvery) => {
        expect(compileFeatures(line).tables[0]?.levels.length).toBeGreaterThan(1);
        expect(differences(line, log, restartEvery)).toEqual([]);
      }),
      { numRuns: 15 },
    );
  });
});
