import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { creditOf, interleave } from "./interleave.ts";

const ranking = fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 15 });
const cases = fc.record({
  champion: ranking,
  challenger: ranking,
  salt: fc.constant("s"),
  unit: fc.string(),
  length: fc.integer({ min: 1, max: 20 }),
});
const A = ["a", "b", "c", "d"];
const B = ["b", "e", "a", "f"];
const drafts = (champion: string[], challenger: string[], units: number) =>
  Array.from({ length: units }, (_, i) =>
    interleave({ champion, challenger, salt: "s", unit: `unit-${i}`, length: 4 }),
  );

describe("interleave", () => {
  it("gives each item the best of its team that was not shown yet, two teams to a round", () => {
    fc.assert(
      fc.property(cases, (rankings) => {
        const { items, teams } = interleave(rankings);
        expect(new Set(items).size).toBe(items.length);
        expect(teams.length).toBe(items.length);
        items.forEach((item, i) => {
          const left = rankings[teams[i]!].filter((one) => !items.slice(0, i).includes(one));
          expect(left[0]).toBe(item);
          if (i % 2 === 1) expect(teams[i]).not.toBe(teams[i - 1]);
        });
        const unseen = (["champion", "challenger"] as const).map((role) =>
          rankings[role].some((item) => !items.includes(item)),
        );
        if (items.length < rankings.length) expect(unseen).toContain(false);
      }),
    );
  });

  it("shows one ranking as it is when both agree", () => {
    for (const { items } of drafts(A, A, 20)) expect(items).toEqual(A);
  });

  it("R1: is the same for the same unit", () => {
    expect(drafts(A, B, 50)).toEqual(drafts(A, B, 50));
  });

  it("R3: draws each draft with its propensity", () => {
    const units = 8_000;
    const seen = new Map<string, { count: number; propensity: number }>();
    for (const { items, teams, propensity } of drafts(A, B, units)) {
      const one = seen.get(`${items} ${teams}`) ?? { count: 0, propensity };
      seen.set(`${items} ${teams}`, { ...one, count: one.count + 1 });
    }
    expect([...seen.values()].reduce((sum, { propensity }) => sum + propensity, 0)).toBe(1);
    for (const { count, propensity } of seen.values()) {
      const deviation = Math.sqrt(units * propensity * (1 - propensity));
      expect(Math.abs(count - units * propensity)).toBeLessThan(4 * deviation);
    }
  });

  it("R4: shows the same lists as often when the rankings change places", () => {
    const units = 8_000;
    const lists = (all: ReturnType<typeof drafts>) => {
      const counts = new Map<string, number>();
      for (const { items } of all) counts.set(String(items), (counts.get(String(items)) ?? 0) + 1);
      return counts;
    };
    const [one, other] = [lists(drafts(A, B, units)), lists(drafts(B, A, units))];
    expect([...one.keys()].sort()).toEqual([...other.keys()].sort());
    for (const [list, count] of one) {
      expect(Math.abs(count - other.get(list)!)).toBeLessThan(4 * Math.sqrt(2 * count));
    }
  });

  it("refuses a length that shows nothing", () => {
    for (const length of [0, 1.5, Number.NaN]) {
      expect(() => interleave({ champion: A, challenger: B, salt: "", unit: "", length })).toThrow(
        `length is ${length}: give a whole number`,
      );
    }
  });
});

describe("creditOf", () => {
  const shown = {
    items: ["a", "b", "e", "c"],
    teams: ["champion", "challenger", "challenger", "champion"],
  } as const;

  it("credits each clicked item once to the ranking that gave it", () => {
    expect(creditOf(shown, [])).toEqual({ champion: 0, challenger: 0, winner: null });
    expect(creditOf(shown, ["b", "b", "e", "c"])).toEqual({
      champion: 1,
      challenger: 2,
      winner: "challenger",
    });
    expect(creditOf(shown, ["a"]).winner).toBe("champion");
    expect(creditOf(shown, ["a", "b"]).winner).toBeNull();
  });

  it("refuses clicks on what was not shown", () => {
    expect(() => creditOf<string>(shown, ["f"])).toThrow('clicked has "f", which was not shown');
  });

  /** Wins of the challenger less those of the champion, in standard deviations of no preference. */
  const lead = (click: (items: readonly string[]) => string[]): number => {
    let wins = 0;
    let decided = 0;
    for (const draft of drafts(A, B, 4_000)) {
      const { winner } = creditOf(draft, click(draft.items));
      if (winner !== null) decided++;
      if (winner !== null) wins += winner === "challenger" ? 1 : -1;
    }
    return wins / Math.sqrt(decided);
  };

  it("prefers neither where users click by place alone", () => {
    for (const place of [0, 1, 2, 3]) expect(Math.abs(lead((items) => [items[place]!]))).toBeLessThan(4);
  });

  it("prefers the ranking that has what users want further up", () => {
    expect(lead((items) => items.filter((item) => item === "e"))).toBeGreaterThan(10);
    expect(lead((items) => items.filter((item) => item === "c" || item === "d"))).toBeLessThan(-10);
  });
});
