import type { LineDefinition } from "@millrace/lines";
import { describe, expect, it } from "vitest";
import { type QuestionTable, readQuestions } from "./index.ts";
import { paymentsLine } from "./testing/payments.ts";

const base = paymentsLine("category", false);
const payments = base.streams["payments"] as LineDefinition["streams"][string];
const line = {
  ...base,
  streams: {
    payments: {
      ...payments,
      fields: {
        ...payments.fields,
        flag: { type: "boolean" },
        day: { type: "time" },
        photo: { type: "blob", mediaType: "image/png", bytesMax: 1_000 },
        note: { type: "text", claimAbove: 4 },
        size: { type: "integer", max: 10 },
      },
    },
  },
} as const;

type Columns = Readonly<
  Record<string, readonly [kind: string, values: Float64Array | readonly (string | null)[]]>
>;

const table = (columns: Columns): QuestionTable => ({
  columns: Object.entries(columns).map(([name, [kind]]) => ({
    name,
    kind: kind as QuestionTable["columns"][number]["kind"],
    type: kind.toUpperCase(),
  })),
  read: async (names) => Object.fromEntries(names.map((name) => [name, columns[name]?.[1] as Float64Array])),
});
const AT = ["time", Float64Array.of(1_000, 2_000)] as const;
const ACCOUNT = ["text", ["a", "b"]] as const;

describe("a table of questions", () => {
  it("gives the fields of the stream predicted on, as an event's row has them", async () => {
    const read = await readQuestions(
      line,
      table({
        at: AT,
        account: ACCOUNT,
        merchant: ["text", [null, "m"]],
        amount: ["number", Float64Array.of(12.34, Number.NaN)],
        flag: ["boolean", Float64Array.of(1, 0)],
        day: ["text", ["2024-01-01T00:00:00Z", "2024-01-01T01:00:00+01:00"]],
        note: ["text", ["long text", "txt"]],
        known_at: ["time", Float64Array.of(5, 6)],
        photo: ["text", ["x", "y"]],
        label: ["number", Float64Array.of(0, 1)],
      }),
    );
    expect(read).toEqual({
      times: Float64Array.of(1_000, 2_000),
      knownAt: Float64Array.of(5, 6),
      fields: {
        at: Float64Array.of(1_000, 2_000),
        account: ["a", "b"],
        merchant: [null, "m"],
        amount: Float64Array.of(1_234, Number.NaN),
        flag: Float64Array.of(1, 0),
        day: Float64Array.of(1_704_067_200_000, 1_704_067_200_000),
        // What belongs into the object store is not known.
        note: [null, "txt"],
      },
    });
    expect((await readQuestions(line, table({ at: AT, account: ACCOUNT }))).knownAt).toBeNull();
  });

  it.each<[string, Columns, RegExp]>([
    ["no time", { account: ACCOUNT }, /no column "at", the event time of stream "payments"/],
    ["no key", { at: AT }, /no column "account", a key field/],
    [
      "a key of another type",
      { at: AT, account: ["number", Float64Array.of(1, 2)] },
      /"account" is NUMBER, declared as category/,
    ],
    ["a list", { at: AT, account: ACCOUNT, size: ["other", []] }, /"size" is OTHER, declared as integer/],
    [
      "a known_at that is none",
      { at: AT, account: ACCOUNT, known_at: ["boolean", Float64Array.of(1, 1)] },
      /"known_at" is BOOLEAN/,
    ],
  ])("is refused with %s", async (_, columns, message) => {
    await expect(readQuestions(line, table(columns))).rejects.toThrow(RangeError);
    await expect(readQuestions(line, table(columns))).rejects.toThrow(message);
  });

  it.each<[string, Columns, RegExp]>([
    [
      "a number with too many places",
      { amount: ["number", Float64Array.of(1, 0.125)] },
      /question 2 .*"amount" is 0.125/,
    ],
    [
      "a number out of range",
      { size: ["number", Float64Array.of(11, 1)] },
      /question 1 .*"size" is 11, outside/,
    ],
    ["a time without zone", { day: ["text", ["2024-01-01T00:00:00", null]] }, /question 1 .*"day"/],
  ])("is refused with %s, as the stream would", async (_, columns, message) => {
    const reading = readQuestions(line, table({ at: AT, account: ACCOUNT, ...columns }));
    await expect(reading).rejects.toMatchObject({ name: "QuestionError" });
    await expect(reading).rejects.toThrow(message);
  });
});
