import type { RetrainPolicy } from "@millrace/lines";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decide,
  firstCause,
  type GovernedRun,
  type GovernorState,
  type RetrainTrigger,
  staleCause,
} from "./index.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const policy: RetrainPolicy = {
  firstAfter: 1_000,
  minChange: 500,
  cooldown: "12h",
  staleAfter: "14d",
  maxRunsPerDay: 2,
  learnFrom: "42d",
};
const base: GovernorState = {
  streamTimeMs: 100 * DAY_MS,
  examples: 50_000,
  runs: [],
  champion: { version: 2, trained: true, trainedUntilMs: 95 * DAY_MS },
};
const run = (id: string, streamTimeMs: number, rest: Partial<GovernedRun> = {}): GovernedRun => ({
  id,
  cause: id,
  trigger: "drift",
  inFlight: false,
  streamTimeMs,
  ...rest,
});
const drift = (
  cause: string,
  examplesSinceChange = 5_000,
  report: Partial<Extract<RetrainTrigger, { trigger: "drift" }>["report"]> = {},
): RetrainTrigger => ({
  trigger: "drift",
  cause,
  examplesSinceChange,
  report: { kind: "harm", changeTime: 99 * DAY_MS, version: 2, ...report },
});

describe("decide", () => {
  it.each<[string, RetrainTrigger, Partial<GovernorState>, string, RegExp]>([
    ["harm with enough examples", drift("a"), {}, "admitted", /5,000 examples since the change/],
    ["harm with too few examples", drift("a", 499), {}, "delayed", /499 examples.*500/],
    ["inputs without harm", drift("a", 5_000, { kind: "inputs" }), {}, "delayed", /labels do not confirm/],
    [
      "a report about a version of the past",
      drift("a", 5_000, { version: 1 }),
      {},
      "refused",
      /version 1; version 2/,
    ],
    ["a cause seen before", drift("a"), { runs: [run("a", 0)] }, "refused", /Run a/],
    ["a run in flight", drift("b"), { runs: [run("a", 0, { inFlight: true })] }, "merged", /Run a/],
    [
      "cooldown",
      drift("b"),
      { runs: [run("a", base.streamTimeMs - 2 * HOUR_MS)] },
      "delayed",
      /2\.0 hours.*12h/,
    ],
    [
      "budget",
      drift("c"),
      { runs: [run("a", base.streamTimeMs - 23 * HOUR_MS), run("b", base.streamTimeMs - 12 * HOUR_MS)] },
      "delayed",
      /2 runs.*allows 2/,
    ],
    [
      "a baseline run does not start the cooldown",
      drift("c"),
      { runs: [run("a", base.streamTimeMs, { trigger: "bootstrap" })] },
      "admitted",
      /worse/,
    ],
    ["no version", { trigger: "bootstrap", cause: "bootstrap" }, { champion: null }, "admitted", /baseline/],
    ["bootstrap of a line that serves", { trigger: "bootstrap", cause: "b" }, {}, "refused", /Version 2/],
    [
      "the first training",
      { trigger: "first", cause: "first/1000" },
      { champion: { version: 1, trained: false, trainedUntilMs: 0 } },
      "admitted",
      /50,000 examples/,
    ],
    [
      "the first training, too early",
      { trigger: "first", cause: "first/1000" },
      { champion: { version: 1, trained: false, trainedUntilMs: 0 }, examples: 999 },
      "delayed",
      /999 examples.*1,000/,
    ],
    ["a champion that is not stale", { trigger: "stale", cause: "s" }, {}, "refused", /5\.0 days.*14d/],
    [
      "manual",
      { trigger: "manual", cause: "m" },
      { runs: [run("a", base.streamTimeMs)] },
      "admitted",
      /person/,
    ],
  ])("%s", (_name, trigger, state, outcome, reason) => {
    const ruling = decide(trigger, { ...base, ...state }, policy);
    expect(ruling.outcome).toBe(outcome);
    expect(ruling.reason).toMatch(reason);
    expect(ruling.reason).toMatch(/^[A-Z0-9].*\.$/);
  });

  it("a storm of 1,000 alarms leads to one run", () => {
    let state: GovernorState = base;
    const outcomes = Array.from({ length: 1_000 }, (_, i) => {
      const { outcome } = decide(drift(`report-${i}`), state, policy);
      const runs = state.runs.map((known) => ({ ...known, inFlight: i < 300 }));
      if (outcome === "admitted") runs.push(run(`report-${i}`, state.streamTimeMs, { inFlight: true }));
      state = { ...state, runs, streamTimeMs: state.streamTimeMs + 30_000 };
      return outcome;
    });
    expect(outcomes.filter((outcome) => outcome === "admitted")).toHaveLength(1);
    expect(outcomes.slice(1, 300).every((outcome) => outcome === "merged")).toBe(true);
  });

  it("keeps G1, G2, G3 and G4 in any life of a line", () => {
    const happening = fc.oneof(
      fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 0, max: 2 * DAY_MS }) }),
      fc.record({ kind: fc.constant("alarm" as const), id: fc.nat(30), examples: fc.nat(2_000) }),
      fc.record({ kind: fc.constant("end" as const), promoted: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 300 }), (happenings) => {
        let state = base;
        let version = 2;
        const admit = (trigger: RetrainTrigger): void => {
          if (decide(trigger, state, policy).outcome !== "admitted") return;
          const admittedRun = run(trigger.cause, state.streamTimeMs, {
            trigger: trigger.trigger,
            inFlight: true,
          });
          state = { ...state, runs: [...state.runs, admittedRun] };
        };
        const end = (promoted: boolean): void => {
          if (promoted && state.runs.some((known) => known.inFlight)) {
            version++;
            state = { ...state, champion: { version, trained: true, trainedUntilMs: state.streamTimeMs } };
          }
          state = { ...state, runs: state.runs.map((known) => ({ ...known, inFlight: false })) };
        };
        const checkStale = (): void => {
          const cause = staleCause(state.champion!, state.streamTimeMs, policy);
          if (cause !== null) admit({ trigger: "stale", cause });
        };
        for (const happened of happenings) {
          if (happened.kind === "pass") state = { ...state, streamTimeMs: state.streamTimeMs + happened.ms };
          else if (happened.kind === "end") end(happened.promoted);
          else admit(drift(`report-${happened.id}`, happened.examples, { version }));
          checkStale();
          expect(state.runs.filter((known) => known.inFlight).length).toBeLessThanOrEqual(1);
        }
        expect(new Set(state.runs.map((known) => known.cause)).size).toBe(state.runs.length);
        const drifts = state.runs.filter((known) => known.trigger === "drift");
        for (const { streamTimeMs } of drifts) {
          const ofDay = drifts.filter(
            (other) => other.streamTimeMs <= streamTimeMs && other.streamTimeMs > streamTimeMs - DAY_MS,
          );
          expect(ofDay.length).toBeLessThanOrEqual(policy.maxRunsPerDay);
        }
        // G4: whatever happened, a stale champion is taken up as soon as nothing is in flight.
        end(false);
        const before = state.runs.length;
        state = { ...state, streamTimeMs: state.streamTimeMs + 14 * DAY_MS };
        checkStale();
        expect(state.runs.length).toBe(before + 1);
        expect(state.runs.at(-1)).toMatchObject({ trigger: "stale", inFlight: true });
      }),
      { numRuns: 300 },
    );
  });
});

describe("causes", () => {
  it("the first training is tried again when the examples have doubled", () => {
    expect([999, 1_000, 1_999, 2_000, 4_001].map((examples) => firstCause(examples, policy))).toEqual([
      null,
      "first/1000",
      "first/1000",
      "first/2000",
      "first/4000",
    ]);
  });

  it("a stale champion is a new cause with each further staleAfter", () => {
    const champion = { version: 7, trainedUntilMs: 0 };
    expect([13, 14, 27, 28].map((days) => staleCause(champion, days * DAY_MS, policy))).toEqual([
      null,
      "stale/7/1",
      "stale/7/1",
      "stale/7/2",
    ]);
  });
});
