import { describe, expect, it } from "vitest";
import { type Payment, paymentJson, paymentNumber, payments, W1 } from "./w1.ts";

const FIRST_MS = Date.UTC(2024, 0, 1);
const RECORDS = 100_000;
const records = [...payments({ ...W1, events: RECORDS })];

describe("payments", () => {
  it("are the same for the same seed, and others for another", () => {
    const some = { ...W1, events: 1_000 };
    expect([...payments(some)]).toEqual([...payments(some)]);
    expect([...payments({ ...some, seed: 2 })]).not.toEqual([...payments(some)]);
  });

  it("are JSON of 182 bytes on average, with the amount in whole cents", () => {
    const bytes = records.reduce((sum, payment) => sum + Buffer.byteLength(paymentJson(payment)), 0);
    expect(bytes / RECORDS).toBeCloseTo(182, 0);
    const payment = { ...(records[0] as Payment), cents: 1_205 };
    expect(paymentJson(payment)).toContain('"amount":12.05,');
    expect(JSON.parse(paymentJson(payment))).toMatchObject({ id: payment.id, time: payment.timeMs });
  });

  it("give the busiest of 20,000 accounts 5.7 %, by Zipf's law with exponent 0.9", () => {
    const counts = Map.groupBy(records, ({ account }) => account);
    const share = (account: string): number => (counts.get(account)?.length ?? 0) / RECORDS;
    expect(share("acct-000000")).toBeCloseTo(0.057, 2);
    expect(share("acct-000000") / share("acct-000009")).toBeCloseTo(10 ** 0.9, 0);
  });

  it("are late in one of a hundred, by less than two minutes", () => {
    const seen = new Set<string>();
    const latenessMs: number[] = [];
    for (const [record, { id, timeMs }] of records.entries()) {
      if (!seen.has(id)) latenessMs.push(FIRST_MS + record * 20 - timeMs);
      seen.add(id);
    }
    const late = latenessMs.filter((ms) => ms > 0);
    expect(late.length / seen.size).toBeCloseTo(0.01, 2);
    expect(late.every((ms) => ms < 120_000)).toBe(true);
    expect(late.reduce((sum, ms) => sum + ms, 0) / late.length / 60_000).toBeCloseTo(1, 0);
  });

  it("come twice in one of a thousand, within 200 records, and are numbered as they come first", () => {
    const delivered = new Map<string, number>();
    const distances: number[] = [];
    const numbers: number[] = [];
    for (const [record, { id }] of records.entries()) {
      const before = delivered.get(id);
      if (before === undefined) numbers.push(paymentNumber(id));
      else distances.push(record - before);
      delivered.set(id, record);
    }
    expect(distances.length).toBeGreaterThan(0.0007 * RECORDS);
    expect(distances.length).toBeLessThan(0.0013 * RECORDS);
    expect(Math.max(...distances)).toBeLessThanOrEqual(200);
    expect(numbers.every((number, at) => number === at)).toBe(true);
  });

  it("meet about 779,000 different pairs of account and merchant in a million", () => {
    const pairs = new Set<string>();
    for (const { account, merchant } of payments(W1)) pairs.add(`${account} ${merchant}`);
    expect(pairs.size / 779_000).toBeCloseTo(1, 2);
  });

  it("refuse accounts that have no name", () => {
    expect(() => payments({ ...W1, accounts: 1_000_001 }).next()).toThrow(RangeError);
  });
});
