import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assign, type Member } from "./assign.ts";

const member = (
  id: string,
  holds: readonly number[] = [],
  toldAtMs = 1,
  knows: readonly number[] = [],
): Member => ({
  id,
  holds,
  toldAtMs,
  knows,
});

const given = (members: readonly Member[], partitions: number): Record<string, readonly number[]> =>
  Object.fromEntries(assign(members, partitions));

/** A group over its rounds: after each one its members let go of what they were not given. */
class Group {
  members: Member[] = [];
  readonly partitions: number;
  nowMs = 0;
  moves = 0;
  rounds = 0;

  constructor(partitions: number) {
    this.partitions = partitions;
  }

  settle(): void {
    for (let changed = true; changed; ) {
      if (this.rounds++ > 1_000) throw new Error("the group does not settle");
      this.nowMs++;
      const assigned = assign(this.members, this.partitions);
      changed = false;
      this.members = this.members.map((one) => {
        const partitions = assigned.get(one.id) ?? [];
        this.moves += partitions.filter((partition) => !one.holds.includes(partition)).length;
        changed ||= one.holds.some((partition) => !partitions.includes(partition));
        return member(one.id, partitions, this.nowMs, partitions);
      });
    }
  }

  holds(): number[] {
    return this.members.flatMap((one) => [...one.holds]).toSorted((a, b) => a - b);
  }
}

describe("assign", () => {
  it("shares what is free equally", () => {
    expect(given([member("a"), member("b")], 5)).toEqual({ a: [0, 1, 2], b: [3, 4] });
    expect(given([member("a"), member("b"), member("c")], 2)).toEqual({ a: [0], b: [1], c: [] });
    expect(given([member("a")], 0)).toEqual({ a: [] });
  });

  it("takes from nobody before it is let go of", () => {
    const full = member("a", [0, 1, 2, 3]);
    expect(given([full, member("b")], 4)).toEqual({ a: [0, 1], b: [] });
    expect(given([member("a", [0, 1]), member("b")], 4)).toEqual({ a: [0, 1], b: [2, 3] });
    // Still busy with letting go of 2.
    expect(given([member("a", [0, 1, 2]), member("b")], 4)).toEqual({ a: [0, 1], b: [3] });
  });

  it("gives a process that was killed and is back what it had, as long as nobody has it", () => {
    const back = member("new", [], 0, [1, 4]);
    expect(given([member("a", [0, 2]), back, member("c", [3, 5])], 6)).toEqual({
      a: [0, 2],
      c: [3, 5],
      new: [1, 4],
    });
  });

  it("gives all their own after all were killed", () => {
    const members = [member("x", [], 0, [3, 4, 5]), member("y", [], 0, [0, 1, 2])];
    expect(given(members, 6)).toEqual({ x: [3, 4, 5], y: [0, 1, 2] });
  });

  it("believes the newer of two who hold the same, and takes it from the other", () => {
    const late = member("a", [0, 1], 3);
    expect(given([late, member("b", [1], 7)], 2)).toEqual({ a: [0], b: [1] });
  });

  it("passes over numbers that there are not (any more)", () => {
    expect(given([member("a", [7], 1, [9])], 2)).toEqual({ a: [0, 1] });
  });

  it("settles after any joins and leaves: equal, complete, nobody twice, and with few moves", () => {
    const changes = fc.array(fc.tuple(fc.constantFrom("join", "leave", "kill and restart"), fc.nat(9)), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), changes, (partitions, log) => {
        const group = new Group(partitions);
        group.members = [member("m0")];
        group.settle();
        let names = 1;
        for (const [change, which] of log) {
          const one = group.members[which % group.members.length] as Member;
          const before = group.members.length;
          const movesBefore = group.moves;
          if (change === "join") group.members = [...group.members, member(`m${names++}`, [], 0)];
          else {
            group.members = group.members.filter((other) => other !== one);
            if (change === "kill and restart") {
              group.members = [...group.members, member(`m${names++}`, [], 0, one.holds)];
            }
          }
          if (group.members.length === 0) return;
          group.settle();
          expect(group.holds()).toEqual(Array.from({ length: partitions }, (_, i) => i));
          const sizes = group.members.map((other) => other.holds.length);
          expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
          // A joining member is given its share and no more moves; of a leaving one, what it had.
          const bound = {
            join: Math.ceil(partitions / group.members.length),
            leave: one.holds.length,
            "kill and restart": one.holds.length,
          }[change];
          expect(group.moves - movesBefore).toBeLessThanOrEqual(bound);
          expect(before).toBeGreaterThan(0);
          if (change === "kill and restart") expect(group.members.at(-1)?.holds).toEqual(one.holds);
        }
      }),
    );
  });

  it("gives one number to one member in each round, whatever they claim", () => {
    const members = fc.uniqueArray(
      fc.record({
        id: fc.string({ minLength: 1 }),
        holds: fc.array(fc.nat(30)),
        toldAtMs: fc.integer({ min: 0, max: 5 }),
        knows: fc.array(fc.nat(30)),
      }),
      { minLength: 1, maxLength: 8, selector: (one) => one.id },
    );
    fc.assert(
      fc.property(members, fc.nat(30), (claims, partitions) => {
        const all = [...assign(claims, partitions).values()].flat();
        expect(new Set(all).size).toBe(all.length);
        expect(all.every((partition) => partition < partitions)).toBe(true);
      }),
    );
  });
});
