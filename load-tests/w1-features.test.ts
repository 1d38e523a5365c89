import { describe, expect, it } from "vitest";
import { compareOutputs, oracleOutputs } from "./outputs.ts";
import { type Payment, W1 } from "./w1.ts";
import { type Decimals, naiveOutputs, type Output } from "./w1-features.ts";

const START_MS = Date.UTC(2024, 0, 2);
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

let numbered = 0;

/** A payment of the one account, so many ms after the start. */
function payment(afterMs: number, cents: number, merchant = "shop"): Payment {
  const id = `pay-${String(numbered++).padStart(12, "0")}`;
  const other = { currency: "EUR", country: "DE", channel: "chip" };
  return { id, account: "acct", merchant, cents, timeMs: START_MS + afterMs, ...other };
}

const last = (deliveries: readonly Payment[], decimals: Decimals = "full"): Output =>
  [...naiveOutputs(deliveries, decimals)].at(-1) as Output;

describe("naiveOutputs", () => {
  it("has 22 features after id, account and time; a first payment has no previous one", () => {
    const first = payment(0, 250);
    const output = last([first]);
    expect(Object.keys(output)).toHaveLength(25);
    expect(output).toMatchObject({ id: first.id, account: "acct", time: START_MS });
    expect(output).toMatchObject({ count_1m: 1, sum_1m: 2.5, mean_1m: 2.5, max_1m: 2.5, stddev_1m: 0 });
    expect(output).toMatchObject({ merchants_24h: 1, seconds_since_previous: null });
  });

  it("aggregates exactly, with the deviation of the population", () => {
    const output = last([payment(0, 200), payment(1_000, 400), payment(2_500, 900)]);
    expect(output).toMatchObject({ count_1m: 3, sum_1m: 15, mean_1m: 5, max_1m: 9 });
    expect(output["stddev_1m"]).toBe(Math.sqrt(3 * (200 ** 2 + 400 ** 2 + 900 ** 2) - 1_500 ** 2) / 3 / 100);
    expect(output["seconds_since_previous"]).toBe(1.5);
  });

  it("counts whole panes: what is in the first pane of a window stays until that pane leaves it", () => {
    const old = payment(0, 100);
    expect(last([old, payment(12 * 5_000 - 1, 100)])["count_1m"]).toBe(2);
    expect(last([old, payment(12 * 5_000, 100)])).toMatchObject({ count_1m: 1, count_10m: 2 });
    expect(last([old, payment(10 * MINUTE_MS, 100)])).toMatchObject({ count_10m: 1, count_1h: 2 });
    expect(last([old, payment(HOUR_MS, 100)])).toMatchObject({ count_1h: 1, count_24h: 2 });
    expect(last([old, payment(24 * HOUR_MS, 100)])).toMatchObject({ count_24h: 1, merchants_24h: 1 });
  });

  it("lets the window of a late payment end with its own pane", () => {
    const before = payment(0, 100, "before");
    const after = payment(10 * MINUTE_MS, 100, "after");
    const late = payment(10 * MINUTE_MS - 1_000, 100, "late");
    expect(last([before, after, late])).toMatchObject({
      count_1m: 1,
      count_24h: 2,
      merchants_24h: 2,
      seconds_since_previous: 599,
    });
    expect(last([before, after, late, payment(10 * MINUTE_MS + 500, 100)])).toMatchObject({
      count_1m: 3,
      merchants_24h: 4,
      seconds_since_previous: 0.5,
    });
  });

  it("leaves duplicates out, and other accounts", () => {
    const one = payment(0, 100);
    const other = { ...payment(1, 100), account: "other" };
    const outputs = [...naiveOutputs([one, one, other, payment(2, 100)], "full")];
    expect(outputs.map((output) => output["count_24h"])).toEqual([1, 1, 2]);
  });

  it("rounds to declared decimals", () => {
    const output = last([payment(0, 100), payment(0, 100), payment(1_234, 101)], "declared");
    expect(output).toMatchObject({ mean_1m: 1.0033, stddev_1m: 0.0047, seconds_since_previous: 1.234 });
  });
});

describe("compareOutputs", () => {
  it("compares every 20th payment field by field, and counts what is missing as different", () => {
    const outputs = oracleOutputs({ ...W1, events: 100 }, "full");
    expect(outputs.sampled.size).toBe(5);
    expect(compareOutputs(outputs, outputs)).toEqual({ compared: 120, different: 0 });
    const [id, output] = [...outputs.sampled][0] as [string, Output];
    const changed = new Map([...outputs.sampled, [id, { ...output, sum_1m: 0 }]]);
    expect(compareOutputs(outputs, { ...outputs, sampled: changed }).different).toBe(1);
    const fewer = new Map([...outputs.sampled].slice(1));
    expect(compareOutputs(outputs, { ...outputs, sampled: fewer }).different).toBe(24);
  });
});
