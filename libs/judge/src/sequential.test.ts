import { random } from "@millrace/testkit";
import { describe, expect, it } from "vitest";
import { type FailureOdds, mergedFailures, startFailures, withFailure } from "./failure-odds.ts";
import {
  type ArmLosses,
  type DecisionPolicy,
  decide,
  mergedArms,
  type PairedLosses,
  startArms,
  startPairs,
  withPair,
  withUnit,
} from "./sequential.ts";

type Draw = () => number;
type Losses = PairedLosses | ArmLosses;
const normal = (next: Draw): number => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());

const ALPHA = 0.05;
const POLICY: DecisionPolicy = { alpha: ALPHA, minRows: 0, margin: 0, harm: 0 };

/** Looks after each row that changes the state, until the first decision; `rows` is then where it fell. */
function trial<State>(
  rows: number,
  start: State,
  step: (state: State, row: number) => State,
  look: (state: State) => string,
): { outcome: string; rows: number } {
  let state = start;
  for (let row = 0; row < rows; row++) {
    const before = state;
    state = step(before, row);
    const outcome = state === before ? "undecided" : look(state);
    if (outcome !== "undecided") return { outcome, rows: row + 1 };
  }
  return { outcome: "undecided", rows };
}

/** Within an open block the evidence stays as it is. */
const losses =
  (policy: DecisionPolicy) =>
  (loss: Losses): string =>
    loss.open.rows > 0 ? "undecided" : decide({ loss, failures: {} }, policy).outcome;
const failures = (odds: FailureOdds): string =>
  decide({ loss: startPairs({ differenceMax: 1, blockRows: 1 }), failures: { errors: odds } }, POLICY)
    .outcome;

function summed(runs: number, one: (next: Draw) => { outcome: string; rows: number }) {
  const all = Array.from({ length: runs }, (_, run) => one(random(1_000 + run)));
  const share = (outcome: string): number => all.filter((t) => t.outcome === outcome).length / runs;
  const sorted = all.map((t) => t.rows).sort((a, b) => a - b);
  return { promote: share("promote"), rollback: share("rollback"), medianRows: sorted[runs >> 1] as number };
}

/** Pairs whose difference has the given distribution. */
const pairs =
  (rows: number, differenceMax: number, difference: (next: Draw) => number, policy = POLICY) =>
  (next: Draw) =>
    trial(
      rows,
      startPairs({ differenceMax, blockRows: 1 }),
      (state) => withPair(state, { champion: 1, challenger: 1 + difference(next) }),
      losses(policy),
    );

/** Units drawn into arms, with each arm's loss and the challenger's share at a row. */
const arms =
  (
    rows: number,
    lossOf: (next: Draw, challenger: boolean, row: number) => number,
    shareAt: (row: number) => number = () => 0.2,
  ) =>
  (next: Draw) =>
    trial(
      rows,
      startArms({ lossMax: 2, propensityMin: 0.1, blockRows: 1 }),
      (state, row) => {
        const share = shareAt(row);
        const challenger = next() < share;
        return withUnit(state, {
          role: challenger ? "challenger" : "champion",
          propensity: challenger ? share : 1 - share,
          loss: lossOf(next, challenger, row),
        });
      },
      losses(POLICY),
    );

/** Rows that fail or not, with each arm's rate and the challenger's share at a row. */
const rates =
  (
    rows: number,
    rateOf: (challenger: boolean, row: number) => number,
    shareAt: (row: number) => number = () => 0.1,
    allowedRatio = 1,
  ) =>
  (next: Draw) =>
    trial(
      rows,
      startFailures(allowedRatio),
      (state, row) => {
        const challenger = next() < shareAt(row);
        if (next() >= rateOf(challenger, row)) return state;
        const role = challenger ? "challenger" : "champion";
        return withFailure(state, { role, challengerShare: shareAt(row) });
      },
      failures,
    );

describe("error under the null, looking after every row", () => {
  const RUNS = 2_000;

  it.each<[string, number, (next: Draw) => number]>([
    ["small differences", 0.5, (next) => 0.1 * normal(next)],
    ["rare and large ones on one side", 1, (next) => (next() < 0.1 ? 0.9 : -0.1)],
    ["-1 or 1, as of interleaving", 1, (next) => (next() < 0.5 ? 1 : -1)],
  ])("pairs with %s", (_, differenceMax, difference) => {
    const { promote, rollback } = summed(RUNS, pairs(120, differenceMax, difference));
    expect(promote).toBeLessThanOrEqual(ALPHA);
    expect(rollback).toBeLessThanOrEqual(ALPHA);
    expect(promote + rollback).toBeGreaterThan(0);
  });

  it("is kept exactly at the margin and at the harm", () => {
    const policy = { ...POLICY, margin: 0.05, harm: 0.1 };
    const at = (mean: number) => pairs(100, 0.6, (next) => mean + 0.1 * normal(next), policy);
    expect(summed(RUNS, at(-0.05)).promote).toBeLessThanOrEqual(ALPHA);
    expect(summed(RUNS, at(0.1)).rollback).toBeLessThanOrEqual(ALPHA);
  });

  it("arms whose losses come in waves, while the share grows", () => {
    const waves = (next: Draw, _: boolean, row: number): number =>
      0.5 + 0.4 * Math.sin(row / 20) + 0.2 * normal(next);
    const { promote, rollback } = summed(
      RUNS,
      arms(120, waves, (row) => (row < 60 ? 0.1 : 0.5)),
    );
    expect(promote).toBeLessThanOrEqual(ALPHA);
    expect(rollback).toBeLessThanOrEqual(ALPHA);
  });

  it("failures that come in outages of both arms, while the share grows", () => {
    const outages = (_: boolean, row: number): number => (row % 100 < 30 ? 0.5 : 0.01);
    const growing = (row: number): number => (row < 200 ? 0.1 : 0.5);
    expect(summed(RUNS, rates(400, outages, growing)).rollback).toBeLessThanOrEqual(ALPHA);
  });

  it("failures as much more frequent as is allowed", () => {
    const { rollback } = summed(
      RUNS,
      rates(300, (challenger) => (challenger ? 0.4 : 0.2), undefined, 2),
    );
    expect(rollback).toBeLessThanOrEqual(ALPHA);
  });

  it("is broken by a t-test that is repeated after every row", () => {
    const naive = (next: Draw) => {
      let [sum, squares] = [0, 0];
      return trial(
        200,
        0,
        (n) => {
          const x = 0.1 * normal(next);
          sum += x;
          squares += x * x;
          return n + 1;
        },
        (n) => {
          const error = Math.sqrt((squares / n - (sum / n) ** 2) / (n - 1));
          return n >= 10 && sum / n < -1.66 * error ? "promote" : "undecided";
        },
      );
    };
    expect(summed(RUNS, naive).promote).toBeGreaterThan(4 * ALPHA);
  });
});

describe("dependent rows", () => {
  /** Stretches of 20 rows share a shift of mean 0, as weather would make them. */
  const weather = (blockRows: number) => (next: Draw) => {
    let shift = 0;
    return trial(
      1_000,
      startPairs({ differenceMax: 0.5, blockRows }),
      (state, row) => {
        if (row % 20 === 0) shift = 0.1 * normal(next);
        return withPair(state, { champion: 0.5, challenger: 0.5 + shift + 0.05 * normal(next) });
      },
      losses(POLICY),
    );
  };

  it("fool a test of single rows about the long run, not one of blocks", () => {
    expect(summed(200, weather(1)).promote).toBeGreaterThan(2 * ALPHA);
    const blocks = summed(500, weather(20));
    expect(blocks.promote).toBeLessThanOrEqual(ALPHA);
    expect(blocks.rollback).toBeLessThanOrEqual(ALPHA);
  });
});

describe("power: rows until half of the trials are decided, as the README has them", () => {
  const RUNS = 100;

  it.each<[string, (next: Draw) => { outcome: string; rows: number }, "promote" | "rollback", number]>([
    ["pairs, lower by 0.1 deviations", pairs(4_000, 0.5, (n) => -0.01 + 0.1 * normal(n)), "promote", 1_000],
    ["pairs, lower by 0.3 deviations", pairs(4_000, 0.5, (n) => -0.03 + 0.1 * normal(n)), "promote", 150],
    ["pairs, higher by 1 deviation", pairs(4_000, 0.5, (n) => 0.1 + 0.1 * normal(n)), "rollback", 40],
    ["interleaving, 55 % of wins", pairs(4_000, 1, (n) => (n() < 0.55 ? -1 : 1)), "promote", 1_000],
    ["arms, loss 0.9 for 1", arms(8_000, (n, c) => (c ? 0.8 : 1) + 0.2 * normal(n)), "promote", 900],
    ["failures, 1 % to 3 %", rates(12_000, (c) => (c ? 0.03 : 0.01)), "rollback", 5_000],
    ["failures, 0.1 % to all", rates(12_000, (c) => (c ? 1 : 0.001)), "rollback", 40],
  ])("%s", (_, one, outcome, rowsMost) => {
    const found = summed(RUNS, one);
    expect(found[outcome]).toBeGreaterThanOrEqual(0.95);
    expect(found.medianRows).toBeLessThanOrEqual(rowsMost);
  });
});

describe("decide", () => {
  const better = (rows: number): PairedLosses => {
    let state = startPairs({ differenceMax: 0.5, blockRows: 1 });
    for (let i = 0; i < rows; i++)
      state = withPair(state, { champion: 0.3, challenger: 0.28 + 0.05 * Math.sin(i) });
    return state;
  };
  const failing = (challenger: number, champion: number): FailureOdds => {
    let odds = startFailures(1);
    for (let i = 0; i < challenger; i++)
      odds = withFailure(odds, { role: "challenger", challengerShare: 0.1 });
    for (let i = 0; i < champion; i++) odds = withFailure(odds, { role: "champion", challengerShare: 0.1 });
    return odds;
  };

  it("says why, with the figures", () => {
    const policy = { ...POLICY, margin: 0.005 };
    expect(decide({ loss: better(2_000), failures: {} }, policy)).toEqual({
      outcome: "promote",
      reason:
        "the challenger's loss is lower by 0.02 on average over 2000 rows, by more than 0.005 with 95 % confidence",
    });
    expect(decide({ loss: better(50), failures: {} }, policy)).toMatchObject({
      outcome: "undecided",
      reason: expect.stringMatching(
        /lower by 0\.0\d+ on average over 50 rows: evidence [\d.]+ of 20 that it is lower/,
      ),
    });
    expect(decide({ loss: better(2_000), failures: {} }, { ...policy, minRows: 3_000 })).toMatchObject({
      outcome: "undecided",
      reason: expect.stringContaining("but 3000 rows are asked for"),
    });
  });

  it("rolls back for failures although the loss is lower, and does not wait for rows", () => {
    const evidence = { loss: better(2_000), failures: { errors: failing(0, 0), "time-outs": failing(5, 1) } };
    expect(decide(evidence, { ...POLICY, minRows: 3_000 })).toEqual({
      outcome: "rollback",
      reason:
        "time-outs: 5 of the challenger, 1 of the champion: more than 1 times as frequent with 98.3 % confidence",
    });
  });

  it("is undecided about nothing", () => {
    const loss = startPairs({ differenceMax: 1, blockRows: 1 });
    expect(decide({ loss, failures: { errors: failing(0, 0) } }, POLICY).outcome).toBe("undecided");
  });

  it("refuses policies, losses, units and failures that make no sense", () => {
    const evidence = { loss: better(1), failures: {} };
    expect(() => decide(evidence, { ...POLICY, alpha: 0 })).toThrow("alpha is 0: give");
    expect(() => decide(evidence, { ...POLICY, margin: -1 })).toThrow("margin is -1: give 0 or more");
    expect(() => withPair(evidence.loss, { champion: 0.1, challenger: Number.NaN })).toThrow(
      "the losses are 0.1 and NaN",
    );
    const options = { lossMax: 1, propensityMin: 0.1, blockRows: 1 };
    expect(() => startArms({ ...options, lossMax: 0 })).toThrow("lossMax is 0");
    expect(() => startArms({ ...options, propensityMin: 0.6 })).toThrow("propensityMin is 0.6");
    const unit = { role: "champion", propensity: 0.9, loss: 0.3 } as const;
    expect(() => withUnit(startArms(options), { ...unit, propensity: 0.01 })).toThrow("propensity is 0.01");
    expect(() => withUnit(startArms(options), { ...unit, loss: Number.NaN })).toThrow("loss is NaN");
    expect(() => startFailures(0.5)).toThrow("allowedRatio is 0.5");
    expect(() => withFailure(startFailures(1), { role: "champion", challengerShare: 1 })).toThrow(
      "challengerShare is 1",
    );
  });
});

describe("states", () => {
  it("of arms estimate the difference, go on from JSON and merge", () => {
    const next = random(5);
    const seen = (units: number, from: ArmLosses): ArmLosses => {
      let state = from;
      for (let i = 0; i < units; i++) {
        const challenger = next() < 0.2;
        state = withUnit(state, {
          role: challenger ? "challenger" : "champion",
          propensity: challenger ? 0.2 : 0.8,
          loss: (challenger ? 0.4 : 0.6) + 0.2 * next(),
        });
      }
      return state;
    };
    const start = startArms({ lossMax: 2, propensityMin: 0.2, blockRows: 1 });
    const left = seen(2_000, JSON.parse(JSON.stringify(seen(2_000, start))));
    const merged = mergedArms(left, seen(4_000, start));
    expect(merged.rows).toBe(8_000);
    expect(merged.lossSum / merged.rows).toBeCloseTo(0.66, 1);
    expect((merged.range * merged.sums[1]) / merged.sums[0]).toBeCloseTo(-0.2, 1);
    expect(() => mergedArms(start, { ...start, lossMax: 3 })).toThrow("lossMax is 2 and 3");
  });

  it("of failures merge", () => {
    const one = withFailure(startFailures(2), { role: "champion", challengerShare: 0.1 });
    const other = withFailure(startFailures(2), { role: "challenger", challengerShare: 0.3 });
    const both = withFailure(one, { role: "challenger", challengerShare: 0.3 });
    expect(mergedFailures(one, other)).toEqual(both);
    expect(() => mergedFailures(one, startFailures(1))).toThrow("allowedRatio is 2 and 1");
  });
});
