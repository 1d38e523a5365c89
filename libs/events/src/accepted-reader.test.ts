import type { AcceptedEvent } from "@millrace/contracts";
import type { LineDefinition } from "@millrace/lines";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AcceptedRow, createAcceptedReader, createEventRow, fillRow } from "./index.ts";

const line = {
  name: "cards",
  partitions: 1,
  streams: {
    payments: {
      topic: "cards.payments",
      format: "json",
      id: "id",
      time: "at",
      key: ["id"],
      lateMax: "1h",
      fields: {
        id: { type: "text", maxLength: 5 },
        at: { type: "time" },
        shop: { type: "category", values: ["a"] },
        amount: { type: "decimal", scale: 2, max: 1 },
        rate: { type: "number", max: 1 },
        gift: { type: "boolean" },
        note: { type: "text", claimAbove: 1 },
        photo: { type: "blob", mediaType: "image/png", bytesMax: 1 },
      },
    },
    refunds: {
      topic: "cards.refunds",
      format: "json",
      id: "n",
      time: "at",
      key: ["n"],
      lateMax: "1h",
      fields: { n: { type: "integer" }, at: { type: "time" } },
    },
  },
  limits: { eventBytesMax: 2_000, aheadMax: "1h" },
} as unknown as LineDefinition;
const fields = Object.entries(line.streams["payments"]?.fields ?? {});
const claim = { sha256: "ab".repeat(32), bytes: 7, mediaType: "image/png" };
const NOW_MS = 1_800_000_000_000;

const utf8 = new TextEncoder();
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

function read(value: string, reader = createAcceptedReader(line)): AcceptedRow | null {
  const bytes = utf8.encode(`}${value}}"`);
  return reader.read(bytes, 1, bytes.length - 2, NOW_MS);
}

function contentOf({ row }: AcceptedRow): unknown {
  return {
    ...row,
    bytes: undefined,
    starts: undefined,
    ends: undefined,
    texts: [...row.starts].map((start, i) =>
      start === -1 ? null : text(row.bytes.subarray(start, row.ends[i])),
    ),
  };
}

describe("the reader of a line's event log", () => {
  const value = fc.record({
    id: fc.oneof(fc.string({ minLength: 1 }), fc.string({ unit: "binary", minLength: 1 })),
    time: fc.nat({ max: NOW_MS }),
    shop: fc.oneof(fc.string(), fc.constant(null)),
    amount: fc.oneof(
      fc.integer().map((cents) => cents / 100),
      fc.constant(null),
    ),
    rate: fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constant(null)),
    gift: fc.oneof(fc.boolean(), fc.constant(null)),
    note: fc.oneof(fc.string({ unit: "grapheme" }), fc.constant(null), fc.constant(claim)),
    photo: fc.constantFrom(null, claim),
  });

  it("fills the row that the event's data make, without the checks it had to pass", () => {
    const reader = createAcceptedReader(line);
    fc.assert(
      fc.property(value, ({ id, time, ...rest }) => {
        const event: AcceptedEvent = { id, stream: "payments", time, data: { id, at: time, ...rest } };
        const accepted = read(JSON.stringify(event), reader) as AcceptedRow;
        const row = createEventRow("payments", { fields: line.streams["payments"]?.fields ?? {} });
        fillRow(row, fields, JSON.parse(JSON.stringify(event)).data, time, NOW_MS);
        expect(contentOf(accepted)).toEqual(contentOf({ ...accepted, row }));
        expect(accepted).toMatchObject({ streamIndex: 0, idField: 0 });
      }),
      { numRuns: 2_000 },
    );
  });

  it("finds the stream of each event, and an id that is a number", () => {
    const reader = createAcceptedReader(line);
    for (let i = 0; i < 4; i++) {
      expect(read('{"id":"7","stream":"refunds","time":5,"data":{"n":7,"at":5}}', reader)).toMatchObject({
        streamIndex: 1,
        row: { stream: "refunds", time: 5, acceptedAtMs: NOW_MS },
      });
      expect(reader.rows[1]?.numbers[0]).toBe(7);
      expect(
        read('{"id":"p","stream":"payments","time":5,"data":{"id":"p","at":5}}', reader)?.streamIndex,
      ).toBe(0);
    }
  });

  it("takes fields that an older definition lacked, or had otherwise, for null", () => {
    const data = { id: "p", at: 5, shop: 1, amount: "1", gift: 1, photo: "aGk=", note: ["x"], gone: "y" };
    const accepted = read(JSON.stringify({ id: "p", stream: "payments", time: 5, data })) as AcceptedRow;
    expect([...accepted.row.starts]).toEqual([0, -1, -1, -1, -1, -1, -1, -1]);
    expect([...accepted.row.numbers]).toEqual([Number.NaN, 5, ...new Array<number>(6).fill(Number.NaN)]);
  });

  it.each([
    ["nothing", ""],
    ["no JSON", "{"],
    ["a list", "[]"],
    ["null", "null"],
    ["no data", '{"id":"p","stream":"payments","time":5,"data":null}'],
    ["no id", '{"id":"p","stream":"payments","time":5,"data":{"at":5}}'],
    ["another stream", '{"id":"p","stream":"lost","time":5,"data":{"id":"p","at":5}}'],
    ["a time that is none", '{"id":"p","stream":"payments","time":"5","data":{"id":"p","at":5}}'],
  ])("says that %s is no event", (_, bytes) => expect(read(bytes)).toBeNull());
});
