import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hasEnded, isRunState, mayBecome, RUN_STATES, type RunState } from "./index.ts";

const allowed = (from: RunState): RunState[] => RUN_STATES.filter((to) => mayBecome(from, to));

describe("run states", () => {
  it("go forward, back to building only, and end once", () => {
    const ends: RunState[] = ["promoted", "rolling-out", "rejected", "failed"];
    expect(allowed("admitted")).toEqual([...RUN_STATES]);
    expect(allowed("building")).toEqual(["building", "training", "judging", ...ends]);
    expect(allowed("training")).toEqual(["building", "training", "judging", ...ends]);
    expect(allowed("judging")).toEqual(["building", "judging", ...ends]);
    for (const end of ends) expect(allowed(end)).toEqual([end]);
  });

  it("tell states from other text", () => {
    expect(RUN_STATES.every(isRunState)).toBe(true);
    expect(["", "Admitted", "done"].some(isRunState)).toBe(false);
  });

  it("an end is final, whatever is asked afterwards", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...RUN_STATES)), (asked) => {
        let state: RunState = "admitted";
        let end: RunState | null = null;
        for (const to of asked) {
          if (mayBecome(state, to)) state = to;
          if (end !== null) expect(state).toBe(end);
          if (hasEnded(state)) end = state;
        }
      }),
    );
  });
});
