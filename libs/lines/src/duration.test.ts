import { expect, it } from "vitest";
import { checkedDurationMs, durationMs } from "./duration.ts";

it.each([
  ["1s", 1_000],
  ["90s", 90_000],
  ["10m", 600_000],
  ["24h", 86_400_000],
  ["7d", 604_800_000],
  ["9999999d", 9_999_999 * 86_400_000],
])("reads %s", (text, ms) => {
  expect(durationMs(text)).toBe(ms);
  expect(checkedDurationMs(text)).toBe(ms);
});

it.each(["", "s", "0s", "01s", "-1s", "1.5h", "1e3s", "1w", "1 d", "1d ", "24H", "10000000d", "1h30m"])(
  "does not take %j for a duration",
  (text) => {
    expect(durationMs(text)).toBe(null);
    expect(() => checkedDurationMs(text)).toThrow(RangeError);
  },
);
