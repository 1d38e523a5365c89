import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Code, MillraceError } from "./error.ts";
import { callPolicy, pauseMs, runCall } from "./retry.ts";

const failure = (code: Code, retryAfterMs: number | null = null): MillraceError =>
  new MillraceError(code, "no", { retryAfterMs });

describe("pauseMs", () => {
  it("makes UNAVAILABLE wait longer each time, spread over the upper half", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (failures, chance) => {
          const pause = pauseMs(failure("UNAVAILABLE"), failures, chance) ?? Number.NaN;
          expect(pause).toBeGreaterThanOrEqual(50 * 2 ** (failures - 1));
          expect(pause).toBeLessThanOrEqual(100 * 2 ** (failures - 1));
        },
      ),
    );
  });

  it("waits as long as the server asks, and up to a fifth more", () => {
    for (const code of ["UNAVAILABLE", "RESOURCE_EXHAUSTED"] as const) {
      expect(pauseMs(failure(code, 500), 3, 0)).toBe(500);
      expect(pauseMs(failure(code, 500), 3, 1)).toBe(600);
    }
  });

  it("never makes a call again that the server refuses, is too full for, or forbids to repeat", () => {
    expect(pauseMs(failure("RESOURCE_EXHAUSTED"), 1, 0)).toBeNull();
    expect(pauseMs(failure("UNAVAILABLE", -1), 1, 0)).toBeNull();
    for (const code of ["INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "INTERNAL", "CANCELLED"] as const) {
      expect(pauseMs(failure(code, 1), 1, 0)).toBeNull();
    }
  });
});

describe("runCall", () => {
  const policy = callPolicy({ attemptsMax: 3 });

  /** Fails so many times with the error, then answers with the number of attempts. */
  const failing = (times: number, error: MillraceError) => {
    let attempts = 0;
    const attempt = async (): Promise<number> => {
      if (++attempts <= times) throw error;
      return attempts;
    };
    return { attempt, attempts: () => attempts };
  };

  it("tries again until it succeeds, or has tried as often as it may", async () => {
    const enough = failing(2, failure("UNAVAILABLE", 1));
    expect(await runCall(enough.attempt, {}, policy)).toBe(3);
    const down = failing(9, failure("UNAVAILABLE", 1));
    await expect(runCall(down.attempt, {}, policy)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(down.attempts()).toBe(3);
  });

  it("does not try again when it is switched off", async () => {
    const once = failing(1, failure("UNAVAILABLE", 1));
    await expect(runCall(once.attempt, {}, callPolicy({ attemptsMax: 1 }))).rejects.toThrow("no");
    expect(once.attempts()).toBe(1);
  });

  it("does not wait for a pause that would pass the deadline", async () => {
    const busy = failing(9, failure("RESOURCE_EXHAUSTED", 60_000));
    await expect(runCall(busy.attempt, { timeoutMs: 5_000 }, policy)).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      retryAfterMs: 60_000,
    });
  });

  it("ends while it waits for its next attempt when the caller says so", async () => {
    const ended = new AbortController();
    const busy = failing(9, failure("UNAVAILABLE", 60_000));
    const call = runCall(busy.attempt, { timeoutMs: 100_000, signal: ended.signal }, policy);
    setImmediate(() => ended.abort(new Error("changed my mind")));
    await expect(call).rejects.toMatchObject({ code: "CANCELLED", cause: { message: "changed my mind" } });
  });

  it("does not begin for a caller that has ended it", async () => {
    const never = failing(0, failure("UNAVAILABLE"));
    const call = runCall(never.attempt, { signal: AbortSignal.abort() }, policy);
    await expect(call).rejects.toMatchObject({ code: "CANCELLED" });
    expect(never.attempts()).toBe(0);
  });

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31])(
    "refuses a time-out of %d",
    async (timeoutMs) => {
      const call = runCall(async () => 1, { timeoutMs }, policy);
      await expect(call).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: /^timeoutMs: / });
    },
  );

  it("refuses a number of attempts that is none", () => {
    expect(() => callPolicy({ attemptsMax: 0 })).toThrow(/attemptsMax: 0/);
  });
});
