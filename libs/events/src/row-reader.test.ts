import type { LineDefinition } from "@millrace/lines";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  createAcceptedWriter,
  createEventReader,
  createEventRow,
  createRowReader,
  type EventRow,
  fillRow,
} from "./index.ts";

const NOW_MS = Date.parse("2026-01-05T06:00:00Z");
const stream = {
  topic: "cards.payments",
  format: "json",
  id: "id",
  time: "at",
  key: ["account"],
  lateMax: "1h",
  fields: {
    id: { type: "text", maxLength: 20 },
    at: { type: "time" },
    account: { type: "category", maxLength: 12 },
    channel: { type: "category", values: ["web", "köln", "app"], optional: true },
    amount: { type: "decimal", scale: 2, min: -1_000_000, optional: true },
    rate: { type: "number", min: -1e9, max: 1e9, optional: true },
    items: { type: "integer", min: 0, max: 1e12, optional: true },
    gift: { type: "boolean", optional: true },
    sent: { type: "time", optional: true },
    note: { type: "text", maxLength: 40, claimAbove: 30, optional: true },
    photo: { type: "blob", mediaType: "image/png", bytesMax: 100, optional: true },
  },
} as const;
const line = {
  name: "cards",
  partitions: 1,
  streams: {
    payments: stream,
    numbered: {
      ...stream,
      topic: "cards.numbered",
      id: "n",
      fields: { n: { type: "integer" }, at: { type: "time" }, account: { type: "category" } },
    },
  },
  limits: { eventBytesMax: 2_000, aheadMax: "1h" },
} as unknown as LineDefinition;
const fields = Object.entries(line.streams["payments"]?.fields ?? {});

const slow = createEventReader(line, "payments");
const write = createAcceptedWriter(line, "payments");
const utf8 = new TextEncoder();
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Reads a value in the midst of others, as it lies in a fetched batch. */
function readFast(value: Uint8Array, row: EventRow, reader = createRowReader(line, "payments")): boolean {
  const around = utf8.encode('"}]1e5,{"id":"x"}');
  const bytes = new Uint8Array(value.length + 2 * around.length);
  bytes.set(around);
  bytes.set(value, around.length);
  bytes.set(around, around.length + value.length);
  return reader.read(bytes, around.length, around.length + value.length, NOW_MS, row);
}

/** What of a row counts: the places of its texts are its own affair. */
function contentOf(row: EventRow): unknown {
  return {
    time: row.time,
    acceptedAtMs: row.acceptedAtMs,
    numbers: [...row.numbers],
    texts: fields.map((_, i) =>
      row.starts[i] === -1 ? null : text(row.bytes.subarray(row.starts[i], row.ends[i])),
    ),
  };
}

/** E2 for one value: fast acceptance means slow acceptance with the same row, and the same text when written. */
function checkAgainstSlow(value: Uint8Array): boolean {
  const row = createEventRow("payments", stream);
  if (!readFast(value, row)) return false;
  const outcome = slow({ key: null, value, headers: {}, timestampMs: NOW_MS });
  if (outcome.kind !== "accepted") throw new Error(`refused by the slow reader: ${outcome.detail}`);
  const { event, deposits } = outcome;
  expect(deposits).toEqual([]);
  const expected = createEventRow("payments", stream);
  fillRow(expected, fields, event.data, event.time, NOW_MS);
  expect(contentOf(row)).toEqual(contentOf(expected));
  expect(text(write(row))).toBe(JSON.stringify(event));
  return true;
}

const good = { id: "p-1", at: "2026-01-05T05:59:59.5Z", account: "rome" };
const json = (value: unknown): Uint8Array =>
  utf8.encode(typeof value === "string" ? value : JSON.stringify(value));

/** Texts of numbers that a producer may write, right and wrong ones. */
const numberText = fc.oneof(
  fc.integer().map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc
    .tuple(fc.bigInt({ min: -(10n ** 18n), max: 10n ** 18n }), fc.integer({ min: 0, max: 24 }))
    .map(([n, places]) => {
      const digits = String(n < 0n ? -n : n).padStart(places + 1, "0");
      const at = digits.length - places;
      return `${n < 0n ? "-" : ""}${digits.slice(0, at)}${places === 0 ? "" : `.${digits.slice(at)}`}`;
    }),
  fc.integer({ min: -(10 ** 9), max: 10 ** 9 }).map((cents) => (cents / 100).toFixed(2)),
  fc.constantFrom(
    "-0",
    "0",
    "0.0",
    "-0.00",
    "00",
    "1.",
    ".5",
    "1e3",
    "1E-7",
    "+1",
    "9007199254740993",
    "-",
    "1e999",
  ),
);
const anyText = fc.oneof(
  fc.string({ maxLength: 45 }),
  fc.string({ unit: "binary", maxLength: 15 }),
  fc.constantFrom("web", "köln", "app", "kölnx", "x".repeat(41), "é".repeat(21), "", "😀".repeat(10), "\\"),
);
const time = fc.oneof(
  fc.date({ min: new Date(0), max: new Date(NOW_MS), noInvalidDate: true }).map((date) => date.toISOString()),
  fc.integer({ min: -1, max: NOW_MS + 4_000_000 }),
  fc.constantFrom(
    "2026-02-30T00:00:00Z",
    "2026-01-05t05:00:00+01:00",
    "2026-01-05T05:00Z",
    "yesterday",
    1.5,
    9e15,
  ),
);
const quoted = (value: fc.Arbitrary<unknown>): fc.Arbitrary<string> =>
  value.map((one) => JSON.stringify(one));
const undeclared = fc
  .tuple(fc.constantFrom("scheme", "extra", "__proto__", "Id", "id ", "é"), fc.jsonValue({ maxDepth: 3 }))
  .map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
const member = (name: string, value: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.oneof({ weight: 6, arbitrary: value }, fc.constant("null")).map((one) => `"${name}":${one}`);
const optionalMember = fc.oneof(
  member("channel", quoted(anyText)),
  member("amount", numberText),
  member("rate", numberText),
  member("items", numberText),
  member("gift", fc.constantFrom("true", "false", "tru", "1")),
  member("sent", quoted(time)),
  member("note", quoted(anyText)),
  member("photo", fc.constantFrom('"aGk="', '"?"', "{}")),
  undeclared,
);
/** Objects of a producer: members in any order, some twice, blanks here and there. */
const object = fc
  .tuple(
    fc.shuffledSubarray(
      [
        quoted(anyText).map((id) => `"id":${id}`),
        quoted(time).map((at) => `"at":${at}`),
        quoted(anyText).map((account) => `"account":${account}`),
      ],
      { minLength: 2 },
    ),
    fc.array(optionalMember, { maxLength: 7 }),
    fc.infiniteStream(fc.constantFrom("", "", "", " ", "\n\t")),
  )
  .chain(([required, optional, blanks]) =>
    fc.tuple(fc.tuple(...required), fc.constant(optional), fc.constant(blanks)).chain(([some, more, blank]) =>
      fc.shuffledSubarray([...some, ...more], { minLength: some.length + more.length }).map((members) => {
        const next = (): string => blank.next().value as string;
        const spaced = members.map((one) => `${next()}${one.replace(":", `${next()}:${next()}`)}${next()}`);
        return `${next()}{${spaced.join(",")}}${next()}`;
      }),
    ),
  );

describe("the fast reader", () => {
  it("accepts only what the slow one accepts, with the same values and the same text", () => {
    let fast = 0;
    const runs = 4_000;
    fc.assert(
      fc.property(object, (value) => {
        if (checkAgainstSlow(utf8.encode(value))) fast++;
      }),
      { numRuns: runs },
    );
    expect(fast).toBeGreaterThan(runs / 50);
  });

  it("accepts only what the slow one accepts, whatever a byte is changed to", () => {
    const base = json({
      ...good,
      amount: 12.34,
      rate: -0.25,
      items: 7,
      gift: true,
      sent: 5,
      note: "grüße",
      channel: "köln",
      photo: null,
      extra: { a: [1, "x", { b: null }] },
    });
    expect(checkAgainstSlow(base)).toBe(true);
    const change = fc.record({
      at: fc.nat({ max: base.length - 1 }),
      cut: fc.integer({ min: 0, max: 3 }),
      bytes: fc.oneof(
        fc.uint8Array({ maxLength: 3 }),
        fc
          .constantFrom('"', "\\", "}", "{", ",", ":", "0", "-", ".", "e", "n", " ", "]")
          .map((one) => utf8.encode(one)),
      ),
    });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        let value = base;
        for (const { at, cut, bytes } of changes) {
          value = Uint8Array.of(...value.subarray(0, at), ...bytes, ...value.subarray(at + cut));
        }
        checkAgainstSlow(value);
      }),
      { numRuns: 4_000 },
    );
  });

  it("never takes bytes behind the value for a part of it, wherever the value is cut", () => {
    const whole = json({ ...good, note: "a", items: 12, extra: [1, 2] });
    for (let length = 0; length < whole.length; length++) {
      expect(readFast(whole.subarray(0, length), createEventRow("payments", stream))).toBe(false);
    }
  });

  it("reads plain events in any order of their fields, and what it does not know besides", () => {
    const reader = createRowReader(line, "payments");
    const row = createEventRow("payments", stream);
    const objects = [
      { ...good, amount: 1.5 },
      { account: "rome", amount: 1.5, at: good.at, id: "p-1" },
      { scheme: "visa", ...good, more: { deep: [[1], { x: "y" }] }, amount: 1.5 },
      { id: "p-1", amount: 1.5, at: good.at, gift: null, account: "rome" },
    ];
    for (const value of [...objects, ...objects.toReversed()]) {
      expect(readFast(json(value), row, reader)).toBe(true);
      expect(row.time).toBe(NOW_MS - 500);
      expect(row.numbers[4]).toBe(150);
      expect(row.numbers[7]).toBeNaN();
      expect(text(row.bytes.subarray(row.starts[reader.idField], row.ends[reader.idField]))).toBe("p-1");
    }
  });

  it.each([
    ["an escape", '{"id":"p\\u002d1","at":5,"account":"rome"}'],
    ["a name with an escape", '{"i\\u0064":"p-1","at":5,"account":"rome"}'],
    ["an exponent", '{"id":"p-1","at":5e3,"account":"rome"}'],
    ["a field twice", '{"id":"p-1","at":5,"at":5,"account":"rome"}'],
    ["deep nesting", `{"id":"p-1","at":5,"account":"rome","x":${"[".repeat(20)}${"]".repeat(20)}}`],
    ["a blob", '{"id":"p-1","at":5,"account":"rome","photo":"aGk="}'],
    ["a text that becomes a claim", `{"id":"p-1","at":5,"account":"rome","note":"${"x".repeat(31)}"}`],
  ])("leaves %s to the slow one, which accepts it", (_, value) => {
    expect(readFast(utf8.encode(value), createEventRow("payments", stream))).toBe(false);
    expect(slow({ key: null, value: utf8.encode(value), headers: {}, timestampMs: NOW_MS }).kind).toBe(
      "accepted",
    );
  });

  it("has the number that JSON.parse gives, bit for bit", () => {
    const row = createEventRow("payments", stream);
    const index = fields.findIndex(([name]) => name === "rate");
    fc.assert(
      fc.property(numberText, (number) => {
        const value = utf8.encode(`{"id":"p","at":5,"account":"a","rate":${number}}`);
        if (readFast(value, row)) expect(row.numbers[index]).toBe(JSON.parse(number) + 0);
      }),
      { numRuns: 3_000 },
    );
  });

  it("knows an id that is a number", () => {
    const reader = createRowReader(line, "numbered");
    const row = createEventRow("numbered", { fields: line.streams["numbered"]?.fields ?? {} });
    expect(readFast(json({ n: 12, at: 5, account: "a" }), row, reader)).toBe(true);
    expect(row.numbers[reader.idField]).toBe(12);
    expect(text(createAcceptedWriter(line, "numbered")(row))).toBe(
      '{"id":"12","stream":"numbered","time":5,"data":{"n":12,"at":5,"account":"a"}}',
    );
  });
});
