import fc from "fast-check";
import { expect, it } from "vitest";
import { hourOf, weekdayOf } from "./calendar.ts";

it("has the hours and weekdays of UTC, before 1970 too", () => {
  fc.assert(
    fc.property(fc.date({ noInvalidDate: true }), (date) => {
      expect(hourOf(date.getTime())).toBe(date.getUTCHours());
      expect(weekdayOf(date.getTime())).toBe(date.getUTCDay());
    }),
  );
  expect(weekdayOf(Date.UTC(2001, 0, 7))).toBe(0);
  expect([hourOf(Number.NaN), weekdayOf(Number.NaN)]).toEqual([Number.NaN, Number.NaN]);
});
