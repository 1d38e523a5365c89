import { describe, expect, it } from "vitest";
import { Saves } from "./saves.ts";

const EVERY_MS = 2_000;

describe("saves", () => {
  let nowMs = 0;
  let freed = 0;
  const create = (partitions: number, copiesNothing = false): Saves => {
    nowMs = 0;
    freed = 0;
    const store = { load: async () => null, save: async () => {} };
    const checkpoints = copiesNothing ? { ...store, copiesNothing: true as const } : store;
    return new Saves(
      { checkpointEveryMs: EVERY_MS, checkpoints },
      { now: () => nowMs },
      () => partitions,
      () => {
        freed++;
      },
    );
  };
  const saveFor = (saves: Saves, ms: number): void => {
    const turn = saves.begin();
    nowMs += 5_000; // waiting for acknowledgements is no cost
    turn.copy();
    nowMs += ms;
    turn.end();
  };

  it("come as often as asked for while they are cheap, or at once where something waits", () => {
    const saves = create(1);
    saveFor(saves, 10);
    expect(saves.dueInMs(nowMs, false)).toBe(EVERY_MS);
    expect(saves.dueInMs(nowMs, true)).toBe(500);
    expect(saves.dueInMs(nowMs - 600, true)).toBe(0);
  });

  it("take a fiftieth of the time, all partitions together, or a fifth after five seconds, but come once a minute", () => {
    const saves = create(2);
    saveFor(saves, 40);
    expect(saves.dueInMs(nowMs, false)).toBe(4_000);
    saveFor(saves, 200);
    expect(saves.dueInMs(nowMs, false)).toBe(5_000);
    saveFor(saves, 1_000);
    expect(saves.dueInMs(nowMs, false)).toBe(10_000);
    saveFor(saves, 10_000);
    expect(saves.dueInMs(nowMs, false)).toBe(60_000);
  });

  it("do not come less often where they copy nothing", () => {
    const saves = create(1, true);
    saveFor(saves, 10_000);
    expect(saves.dueInMs(nowMs, false)).toBe(EVERY_MS);
  });

  it("come one after another (S4)", () => {
    const saves = create(2);
    const turn = saves.begin();
    nowMs = 10_000;
    expect(saves.dueInMs(0, true)).toBe(Number.POSITIVE_INFINITY);
    turn.end();
    expect(freed).toBe(1);
  });
});
