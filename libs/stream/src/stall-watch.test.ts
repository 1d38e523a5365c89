import { describe, expect, it } from "vitest";
import { StallWatch } from "./stall-watch.ts";

const partition = (stalledMs: number, hasProgressed = false) => ({
  stalledMs: () => stalledMs,
  hasProgressed: () => hasProgressed,
});

describe("stall watch", () => {
  it("has the consumption started anew first, and gives up when that did not help", () => {
    const watch = new StallWatch();
    const fine = partition(59_000);
    expect(watch.look(new Map([[0, fine]]))).toBeNull();
    const stalled = new Map([
      [0, fine],
      [1, partition(61_000)],
    ]);
    expect(watch.look(stalled)).toEqual({ partition: 1, stalledMs: 61_000, again: false });
    expect(watch.look(new Map([[1, partition(0)]]))).toBeNull();
    expect(watch.look(stalled)).toMatchObject({ partition: 1, again: true });
  });

  it("tries again after progress", () => {
    const watch = new StallWatch();
    watch.look(new Map([[1, partition(61_000)]]));
    watch.look(new Map([[1, partition(0, true)]]));
    expect(watch.look(new Map([[1, partition(61_000, true)]]))).toMatchObject({ again: false });
  });
});
