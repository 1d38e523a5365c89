import { describe, expect, it } from "vitest";
import { bar, count, durationText, power, printable, table, timeText } from "./text.ts";

describe("text for people", () => {
  it("aligns numbers to the right and words to the left", () => {
    expect(
      table(
        ["NAME", "ROWS"],
        [
          ["a", "1,200"],
          ["long", "7"],
        ],
      ),
    ).toBe("NAME   ROWS\na     1,200\nlong      7");
  });

  it("groups digits", () => {
    expect([0, 999, 1_000, 1_234_567].map(count)).toEqual(["0", "999", "1,000", "1,234,567"]);
  });

  it("speaks of durations in fitting units", () => {
    expect([0, 999, 1_000, 59_949, 59_950, 190_000, 7_500_000, Number.NaN].map(durationText)).toEqual([
      "0 ms",
      "999 ms",
      "1.0 s",
      "59.9 s",
      "1 min 0 s",
      "3 min 10 s",
      "2 h 5 min",
      "-",
    ]);
  });

  it("shows powers briefly, and no time for zero", () => {
    expect([0, 3.21, 870.4, 412_345].map(power)).toEqual(["0.0", "3.2", "870", "4.1e5"]);
    expect(timeText(0)).toBe("-");
    expect(timeText(Date.UTC(2001, 0, 5, 14, 20))).toBe("2001-01-05 14:20");
  });

  it("draws bars of constant width", () => {
    for (const share of [-1, 0, 0.01, 0.5, 0.999, 1, 2, Number.NaN]) expect(bar(share, 10)).toHaveLength(10);
    expect(bar(0.5, 4)).toBe("██  ");
  });

  it("takes control characters out of the text of others", () => {
    expect(printable("a\u001b[2Jb\nc\u0007")).toBe("a\ufffd[2Jb c\ufffd");
  });
});
