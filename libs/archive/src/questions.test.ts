import { partitionOf } from "@millrace/stream";
import { describe, expect, it } from "vitest";
import { QuestionError } from "./index.ts";
import { divideQuestions, type Questions } from "./questions.ts";
import { paymentsLine } from "./testing/payments.ts";

const line = paymentsLine("category", false, 4);
const questions = (fields: Questions["fields"], times: readonly number[] = [1, 2, 3]): Questions => ({
  times: Float64Array.from(times),
  knownAt: null,
  fields,
});

describe("questions that cannot be divided", () => {
  it.each<[string, Questions, RegExp]>([
    ["without the key's column", questions({}), /lack "account", the key of stream "payments"/],
    ["of a field that there is not", questions({ account: ["a", "b", "c"], x: [] }), /has no field "x"/],
    [
      "with numbers for a text",
      questions({ account: new Float64Array(3) }),
      /"account" .* is of type category/,
    ],
    [
      "with texts for a number",
      questions({ account: ["a", "b", "c"], amount: ["1", "2", "3"] }),
      /"amount" .* is of type decimal/,
    ],
    ["with a column that is too short", questions({ account: ["a"] }), /1 values for 3 questions/],
  ])("%s", (_, wrong, message) => {
    expect(() => divideQuestions(line, wrong)).toThrow(RangeError);
    expect(() => divideQuestions(line, wrong)).toThrow(message);
  });

  it("names the first one without a key, or without a time", () => {
    const keyless = (): unknown => divideQuestions(line, questions({ account: ["a", null, null] }));
    expect(keyless).toThrow(QuestionError);
    expect(keyless).toThrow("question 2 has no account, which is its key");
    const timeless = questions({ account: ["a", "b", "c"] }, [1, 2, Number.NaN]);
    expect(() => divideQuestions(line, timeless)).toThrow("question 3 has no at");
  });
});

describe("divided questions", () => {
  it("go to the partition that a producer would choose, in their order", () => {
    const accounts = Array.from({ length: 100 }, (_, i) => `a${i % 17}`);
    const times = accounts.map((_, i) => i);
    const divided = divideQuestions(line, questions({ account: accounts }, times));
    const seen: number[] = [];
    for (const [partition, { rows, times: ours, fields }] of divided) {
      expect([...rows]).toEqual([...rows].sort((a, b) => a - b));
      rows.forEach((row, i) => {
        expect(partitionOf(accounts[row] as string, 4)).toBe(partition);
        expect(fields["account"]?.[i]).toBe(accounts[row]);
        expect(ours[i]).toBe(row);
        seen.push(row);
      });
    }
    expect(seen.sort((a, b) => a - b)).toEqual(times);
  });

  it("have numbers, decimals and booleans as JSON writes them in their keys", () => {
    const stream = line.streams["payments"] as (typeof line.streams)[string];
    const keyed = {
      ...line,
      streams: {
        payments: {
          ...stream,
          key: ["amount", "flag"],
          fields: { ...stream.fields, flag: { type: "boolean" } },
        },
      },
    } as const;
    const fields = { amount: Float64Array.of(1250, 300), flag: Float64Array.of(1, 0) };
    const divided = divideQuestions(keyed, questions(fields, [0, 0]));
    for (const [partition, { rows }] of divided) {
      for (const row of rows) expect(partitionOf(["12.5|true", "3|false"][row] as string, 4)).toBe(partition);
    }
  });
});
