import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Aspired,
  championOf,
  endRollout,
  NOTHING_ASPIRED,
  nextAspired,
  type Rollout,
  type RolloutChanged,
  shareOf,
  shareRollout,
  startRollout,
  type VersionFacts,
} from "./index.ts";

const facts = (version: number, more: Partial<VersionFacts> = {}): VersionFacts => ({
  version,
  recipe: version === 1 ? "baseline" : "lightgbm",
  passed: true,
  featureDigest: "f1",
  ...more,
});
const VERSIONS = [
  facts(1),
  facts(2),
  facts(3),
  facts(4),
  facts(5, { passed: false }),
  facts(6, { featureDigest: "f2" }),
];
const version = (number: number): VersionFacts => VERSIONS[number - 1] as VersionFacts;
const PLAN: Omit<Rollout, "version"> = {
  strategy: "canary",
  by: "request",
  share: 0.1,
  salt: "s",
  startedAtMs: 7,
};

const aspired = (change: RolloutChanged): Aspired => {
  if (change.outcome !== "changed") throw new Error(JSON.stringify(change));
  return change.aspired;
};
const serving = (champion: number): Aspired =>
  aspired(nextAspired(NOTHING_ASPIRED, { champion: version(champion), expectedGeneration: 0 }, VERSIONS));
const start = (current: Aspired, challenger: number, more: Partial<Rollout> = {}): RolloutChanged =>
  startRollout(
    current,
    {
      challenger: version(challenger),
      plan: { ...PLAN, ...more },
      expectedGeneration: current.generation,
    },
    VERSIONS,
  );
const roles = ({ models }: Aspired): string[] => models.map((model) => `${model.version} ${model.role}`);

describe("a rollout", () => {
  it("puts a challenger beside the champion, with a share, and keeps the first trained as a shadow", () => {
    const begun = aspired(start(serving(3), 4));
    expect(begun).toMatchObject({ generation: 2, rollout: { ...PLAN, version: 4 } });
    expect(roles(begun)).toEqual(["3 champion", "4 challenger", "2 shadow"]);
    expect([3, 4, 2, 9].map((number) => shareOf(begun, number))).toEqual([0.9, 0.1, 0, 0]);
    expect(roles(aspired(start(serving(3), 2)))).toEqual(["3 champion", "2 challenger"]);
  });

  it("changes its share and nothing else", () => {
    const begun = aspired(start(serving(3), 4));
    const more = aspired(shareRollout(begun, { share: 0.3, expectedGeneration: 2 }, VERSIONS));
    expect(more).toEqual({ ...begun, generation: 3, rollout: { ...begun.rollout, share: 0.3 } });
  });

  it("ends with the challenger as champion, or with the champion alone", () => {
    const begun = aspired(start(serving(3), 4));
    const end = (outcome: "promote" | "rollback"): Aspired =>
      aspired(endRollout(begun, { outcome, expectedGeneration: 2 }, VERSIONS));
    expect(end("promote")).toMatchObject({ generation: 3, rollout: null });
    expect(roles(end("promote"))).toEqual(["4 champion", "2 shadow"]);
    expect(roles(end("rollback"))).toEqual(["3 champion", "2 shadow"]);
  });

  it("is ended by a promotion", () => {
    const begun = aspired(start(serving(3), 4));
    const promoted = nextAspired(begun, { champion: version(2), expectedGeneration: 2 }, VERSIONS);
    expect(aspired(promoted)).toEqual({
      generation: 3,
      models: [{ version: 2, role: "champion" }],
      rollout: null,
    });
  });

  it.each<[string, RolloutChanged, RegExp]>([
    ["where nothing serves", start(NOTHING_ASPIRED, 2), /nothing serves yet/],
    ["beside another one", start(aspired(start(serving(3), 4)), 2), /version 4 is being rolled out/],
    ["of the champion", start(serving(3), 3), /is champion/],
    ["of what did not pass", start(serving(3), 5), /did not pass/],
    ["of other features", start(serving(3), 6), /other features than champion 3/],
    ["with no share", start(serving(3), 4, { share: 0 }), /share 0 .* above 0 and at most 0.5/],
    ["as a canary with most requests", start(serving(3), 4, { share: 0.51 }), /at most 0.5/],
    ["with all requests", start(serving(3), 4, { strategy: "ab", share: 1 }), /below 1/],
    ["with no number as a share", start(serving(3), 4, { share: Number.NaN }), /share NaN/],
  ])("is refused %s", (_case, change, reason) => {
    expect(change).toEqual({ outcome: "refused", reason: expect.stringMatching(reason) });
  });

  it("that does not run cannot be changed or ended", () => {
    const none = { outcome: "refused", reason: "no rollout runs: start one first" };
    for (const current of [serving(3), NOTHING_ASPIRED]) {
      const expectedGeneration = current.generation;
      expect(shareRollout(current, { share: 0.1, expectedGeneration }, VERSIONS)).toEqual(none);
      for (const outcome of ["promote", "rollback"] as const) {
        expect(endRollout(current, { outcome, expectedGeneration }, VERSIONS)).toEqual(none);
      }
    }
  });
});

describe("any series of changes (V1, V2, V3)", () => {
  const share = fc.constantFrom(0.01, 0.1, 0.5, 0.7);
  const strategy = fc.constantFrom("canary" as const, "ab" as const, "interleave" as const);
  const change = fc.record({
    kind: fc.constantFrom("start" as const, "share" as const, "end" as const, "promote" as const),
    pick: fc.integer({ min: 1, max: 6 }),
    outcome: fc.constantFrom("promote" as const, "rollback" as const),
    share,
    strategy,
    /** How many generations ago the writer has read. */
    behind: fc.constantFrom(0, 0, 0, 1),
  });

  it("has one champion, a challenger exactly while a rollout runs, and shares that are 1 together", () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        let current: Aspired = NOTHING_ASPIRED;
        for (const one of changes) {
          const expectedGeneration = current.generation - one.behind;
          const chosen = version(one.pick);
          const plan = { ...PLAN, share: one.share, strategy: one.strategy };
          const next: RolloutChanged = {
            start: () => startRollout(current, { challenger: chosen, plan, expectedGeneration }, VERSIONS),
            share: () => shareRollout(current, { share: one.share, expectedGeneration }, VERSIONS),
            end: () => endRollout(current, { outcome: one.outcome, expectedGeneration }, VERSIONS),
            promote: () => nextAspired(current, { champion: chosen, expectedGeneration }, VERSIONS),
          }[one.kind]();
          if (one.behind > 0) expect(next.outcome).toBe("moved-on");
          if (next.outcome !== "changed") continue;
          const after: Aspired = next.aspired;
          expect(after.generation).toBe(current.generation + 1);
          expect(after.models.filter(({ role }) => role === "champion")).toHaveLength(1);
          const challengers = after.models.filter(({ role }) => role === "challenger");
          expect(challengers.map((model) => model.version)).toEqual(
            after.rollout === null ? [] : [after.rollout.version],
          );
          expect(new Set(after.models.map((model) => model.version)).size).toBe(after.models.length);
          const shares = after.models.map((model) => shareOf(after, model.version));
          expect(shares.reduce((sum, part) => sum + part)).toBeCloseTo(1, 12);
          const keepsChampion = one.kind === "start" || one.kind === "share";
          if (keepsChampion) expect(championOf(after)).toBe(championOf(current));
          current = after;
        }
      }),
      { numRuns: 500 },
    );
  });
});
