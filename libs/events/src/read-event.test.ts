import { defineLine, type LineDefinition } from "@millrace/lines";
import { CloudEvent, Kafka } from "cloudevents";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  createDecodedReader,
  createEventReader,
  ExactDecimal,
  type IncomingRecord,
  REASONS,
  type ReasonCode,
  rejection,
  withClaims,
} from "./index.ts";

const line: LineDefinition = defineLine({
  name: "orders",
  title: "A line with a field of every type",
  streams: {
    placed: {
      topic: "orders.placed",
      format: "json",
      lateMax: "1d",
      id: "order",
      time: "at",
      key: ["shop"],
      fields: {
        order: { type: "text", maxLength: 16 },
        at: { type: "time" },
        shop: { type: "category", maxLength: 8 },
        channel: { type: "category", values: ["web", "app"], optional: true },
        items: { type: "integer", min: 0, max: 1000 },
        price: { type: "number", min: 0, optional: true },
        gift: { type: "boolean", optional: true },
        sentAt: { type: "time", optional: true },
        constructor: { type: "text", optional: true },
        total: { type: "decimal", scale: 2, min: -100, optional: true },
        receipt: { type: "text", claimAbove: 100, optional: true },
        label_photo: { type: "blob", mediaType: "image/png", bytesMax: 100, optional: true },
      },
    },
    returned: {
      topic: "orders.returned",
      format: "json",
      lateMax: "1d",
      id: "number",
      time: "at",
      key: ["shop"],
      fields: {
        number: { type: "integer" },
        at: { type: "time" },
        shop: { type: "category" },
        items: { type: "integer" },
      },
    },
  },
  predict: { on: "placed" },
  label: {
    name: "back",
    from: "returned",
    match: "number",
    positive: { field: "items", above: 0 },
    waitFor: "30d",
  },
  features: { items: { kind: "field", field: "items" } },
  recipes: [{ recipe: "logistic", windows: ["all"] }],
  retrain: {
    firstAfter: 1000,
    minChange: 1000,
    cooldown: "1d",
    staleAfter: "30d",
    maxRunsPerDay: 1,
    learnFrom: "90d",
  },
  limits: { eventBytesMax: 2_000, aheadMax: "1h" },
});

const NOW_MS = Date.parse("2001-01-05T06:00:00Z");
const good = { order: "o-1", at: "2001-01-05T06:00:00Z", shop: "rome", items: 2 };
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

function record(value: unknown, headers: Record<string, string | Uint8Array> = {}): IncomingRecord {
  const bytes =
    value === null || value instanceof Uint8Array
      ? value
      : encode(typeof value === "string" ? value : JSON.stringify(value));
  return {
    key: encode("rome"),
    value: bytes,
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, text]) => [name, typeof text === "string" ? encode(text) : text]),
    ),
    timestampMs: NOW_MS,
  };
}

const read = createEventReader(line, "placed");
const binary = { ce_specversion: "1.0", ce_id: "ce-1", ce_source: "/till/7", ce_type: "placed" };
const structuredType = { "content-type": "application/cloudevents+json; charset=UTF-8" };
const structured = { specversion: "1.0", id: "ce-1", source: "/till/7", type: "orders.placed", data: good };

describe("an accepted event", () => {
  it("has the declared fields, times as ms, and null for what is missing", () => {
    expect(read(record({ ...good, price: 9.5, sentAt: NOW_MS, note: "dropped" }))).toEqual({
      kind: "accepted",
      event: {
        id: "o-1",
        stream: "placed",
        time: NOW_MS,
        data: {
          order: "o-1",
          at: NOW_MS,
          shop: "rome",
          channel: null,
          items: 2,
          price: 9.5,
          gift: null,
          sentAt: NOW_MS,
          constructor: null,
          total: null,
          receipt: null,
          label_photo: null,
        },
      },
      deposits: [],
    });
  });

  it("takes the id of a number field as text", () => {
    const outcome = createEventReader(
      line,
      "returned",
    )(record({ number: 12, at: 0, shop: "rome", items: 1 }));
    expect(outcome).toMatchObject({ kind: "accepted", event: { id: "12", stream: "returned", time: 0 } });
  });

  it.each([0, 12.34, 0.1, 1e-2, -19.99, 22517998136852.47, 1e11])("has the exact decimal %d", (total) => {
    expect(read(record({ ...good, total }))).toMatchObject({ event: { data: { total } } });
  });

  it("has one zero", () => {
    const outcome = read(record(JSON.stringify({ ...good, total: 9, price: 9 }).replaceAll(":9", ":-0.0")));
    expect(outcome).toMatchObject({ event: { data: { total: 0, price: 0 } } });
  });

  it("leaves bytes and long texts to the object store, and takes a claim of what is there", () => {
    const receipt = "é".repeat(51);
    const outcome = read(record({ ...good, receipt, label_photo: "AAEC/w==" }));
    if (outcome.kind !== "accepted") throw new Error(outcome.detail);
    expect(outcome.event.data).toMatchObject({ receipt: null, label_photo: null });
    expect(outcome.deposits).toEqual([
      { kind: "bytes", field: "receipt", bytes: encode(receipt), mediaType: "text/plain; charset=utf-8" },
      { kind: "bytes", field: "label_photo", bytes: bytes(0, 1, 2, 255), mediaType: "image/png" },
    ]);
    const claims = ["1", "2"].map((digit) => ({
      sha256: digit.repeat(64),
      bytes: 4,
      mediaType: "image/png",
    }));
    expect(withClaims(outcome, claims).data).toEqual({
      ...outcome.event.data,
      receipt: claims[0],
      label_photo: claims[1],
    });

    const claim = { sha256: "0a".repeat(32), bytes: 100, mediaType: "image/png" };
    expect(read(record({ ...good, receipt: "é".repeat(50), label_photo: claim }))).toMatchObject({
      event: { data: { receipt: "é".repeat(50), label_photo: claim } },
      deposits: [{ kind: "claim", field: "label_photo", claim }],
    });
  });

  it("is not disturbed by keys that JavaScript knows", () => {
    const text = JSON.stringify(good).replace(
      "{",
      '{"__proto__":{"items":"x"},"toString":1,"constructor":"c",',
    );
    expect(read(record(text))).toMatchObject({
      kind: "accepted",
      event: { data: { items: 2, constructor: "c" } },
    });
    expect(Object.hasOwn(Object.prototype, "items")).toBe(false);
  });

  it("cannot be taken for a refusal by what it says", () => {
    expect(read(record({ ...good, kind: "rejected", reason: "not-json", detail: "" })).kind).toBe("accepted");
  });

  it("may be deeply nested where nobody looks, up to the limit, with brackets in texts", () => {
    const nested = (depth: number): string =>
      JSON.stringify(good).replace("{", `{"extra":${"[".repeat(depth)}${"]".repeat(depth)},`);
    expect(read(record(nested(31))).kind).toBe("accepted");
    expect(read(record(nested(32)))).toMatchObject({ reason: "too-deep" });
    expect(read(record({ ...good, note: `\\"${"[{".repeat(100)}` })).kind).toBe("accepted");
  });

  it.each([
    ["2001-01-05T06:00:00Z", NOW_MS],
    ["2001-01-05T06:00Z", NOW_MS],
    ["2001-01-05t07:30:00.5+01:30", NOW_MS + 500],
    ["2001-01-05T05:00:00.1234567-0100", NOW_MS + 123],
    ["2000-02-29T00:00:00Z", Date.UTC(2000, 1, 29)],
  ])("reads the time %s", (text, ms) => {
    expect(read(record({ ...good, at: text }))).toMatchObject({ kind: "accepted", event: { time: ms } });
  });

  it("has the time that Date reads, for every moment", () => {
    const day = { min: new Date("0001-01-01T00:00:00Z"), max: new Date(NOW_MS), noInvalidDate: true };
    fc.assert(
      fc.property(fc.date(day), (date) => {
        const outcome = read(record({ ...good, sentAt: date.toISOString() }));
        expect(outcome).toMatchObject({ kind: "accepted", event: { data: { sentAt: date.getTime() } } });
      }),
    );
  });
});

describe("a CloudEvent", () => {
  it("may be binary, with short or full type", () => {
    for (const type of ["placed", "orders.placed"]) {
      expect(read(record(good, { ...binary, ce_type: type, "content-type": "application/json" })).kind).toBe(
        "accepted",
      );
    }
  });

  it("may be structured, in any case of the content type, with data as object or base64", () => {
    expect(read(record(structured, { "Content-Type": "Application/CloudEvents+JSON" })).kind).toBe(
      "accepted",
    );
    const { data: _, ...envelope } = structured;
    const encoded = { ...envelope, data_base64: btoa(JSON.stringify(good)) };
    expect(read(record(encoded, structuredType)).kind).toBe("accepted");
  });

  it("may have a blob as its data, and its other fields as extension attributes", () => {
    const png = bytes(0x89, 0x50, 0x4e, 0x47);
    const headers = {
      ...binary,
      ce_time: good.at,
      ce_shop: "rome",
      ce_items: "2",
      ce_gift: "true",
      ce_sentat: good.at,
      ce_labelphoto: "not this",
      "content-type": "Image/PNG; q=1",
    };
    const outcome = read(record(png, headers));
    expect(outcome).toMatchObject({
      event: {
        id: "ce-1",
        time: NOW_MS,
        data: { shop: "rome", items: 2, gift: true, sentAt: NOW_MS, label_photo: null },
      },
      deposits: [{ kind: "bytes", field: "label_photo", bytes: png, mediaType: "image/png" }],
    });
    expect(read(record(png, { ...headers, ce_items: "0x2" }))).toMatchObject({ reason: "wrong-type" });
    expect(read(record(png, { ...headers, ce_gift: "yes" }))).toMatchObject({ reason: "wrong-type" });
    expect(read(record(png, { "content-type": "image/png" }))).toMatchObject({
      reason: "unsupported-content-type",
    });
    expect(read(record(png, { ...headers, "content-type": "image/gif" }))).toMatchObject({
      reason: "unsupported-content-type",
    });
  });

  it("lends id and time where the data has none; the data wins where it has", () => {
    const { order: _, at: __, ...rest } = good;
    const headers = { ...binary, ce_time: "2001-01-05T05:00:00Z" };
    expect(read(record(rest, headers))).toMatchObject({
      event: { id: "ce-1", time: NOW_MS - 3_600_000, data: { order: "ce-1", at: NOW_MS - 3_600_000 } },
    });
    expect(read(record(good, headers))).toMatchObject({ event: { id: "o-1", time: NOW_MS } });
    const number = createEventReader(line, "returned");
    const returned = { at: NOW_MS, shop: "rome", items: 1 };
    expect(number(record(returned, { ...binary, ce_type: "returned", ce_id: "77" }))).toMatchObject({
      event: { id: "77", data: { number: 77 } },
    });
    expect(number(record(returned, { ...binary, ce_type: "returned", ce_id: "x" }))).toMatchObject({
      reason: "wrong-type",
    });
  });
});

describe("a CloudEvent of the JavaScript SDK", () => {
  const cloudEvent = new CloudEvent({
    id: "ce-9",
    source: "/till/7",
    type: "orders.placed",
    time: "2001-01-05T05:00:00.000Z",
    datacontenttype: "application/json",
    partitionkey: "rome",
    data: good,
  });
  /** What the SDK hands to a Kafka client, as it arrives on the other side. */
  const arrived = (message: { headers: object; value?: unknown }): IncomingRecord =>
    record(
      message.value,
      Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, String(value)])),
    );

  it("is accepted in binary mode", () => {
    const message = Kafka.binary(cloudEvent);
    expect(Object.keys(message.headers)).toContain("ce_specversion");
    expect(read(arrived(message))).toMatchObject({ kind: "accepted", event: { id: "o-1", time: NOW_MS } });
  });

  it("is accepted in structured mode", () => {
    const message = Kafka.structured(cloudEvent);
    expect(String(message.headers["content-type"])).toMatch(/^application\/cloudevents\+json/);
    expect(read(arrived(message))).toMatchObject({ kind: "accepted", event: { id: "o-1", time: NOW_MS } });
  });

  it("lends its id and time in both modes", () => {
    const bare = cloudEvent.cloneWith({ data: { shop: "rome", items: 2 } });
    for (const message of [Kafka.binary(bare), Kafka.structured(bare)]) {
      expect(read(arrived(message))).toMatchObject({ event: { id: "ce-9", time: NOW_MS - 3_600_000 } });
    }
  });
});

const without = (name: string): unknown =>
  Object.fromEntries(Object.entries(good).filter(([key]) => key !== name));
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

const REFUSED: readonly (readonly [ReasonCode, string, IncomingRecord])[] = [
  ["empty-value", "null value", record(null)],
  ["empty-value", "no bytes", record("")],
  ["empty-value", "binary CloudEvent without data", record(null, binary)],
  ["too-large", "3,000 bytes", record({ ...good, note: "x".repeat(3_000) })],
  ["key-too-large", "a key of 5,000 bytes", { ...record(good), key: new Uint8Array(5_000) }],
  ["headers-too-large", "70,000 bytes", record(good, { note: new Uint8Array(70_000) })],
  ["not-utf8", "Latin-1", record(bytes(0x7b, 0x22, 0xe9, 0x22, 0x7d))],
  ["not-utf8", "a header that is not text", record(good, { ...binary, ce_subject: bytes(0xff) })],
  ["not-json", "cut off", record('{"order":"o-1"')],
  ["not-json", "NaN", record(JSON.stringify(good).replace("2}", "NaN}"))],
  ["not-json", "blank", record("   ")],
  ["not-json", "an Avro frame", record(bytes(0, 0, 0, 0, 7, 2, 4))],
  ["not-an-object", "a list", record([good])],
  ["not-an-object", "a text", record('"order"')],
  ["not-an-object", "null", record("null")],
  ["too-deep", "100 lists", record(`${"[".repeat(100)}${"]".repeat(100)}`)],
  ["unsupported-content-type", "Avro", record(good, { "content-type": "application/avro" })],
  [
    "unsupported-content-type",
    "UTF-16",
    record(good, { "content-type": "application/json; charset=utf-16" }),
  ],
  [
    "unsupported-content-type",
    "CloudEvents batch",
    record([], { "content-type": "application/cloudevents-batch+json" }),
  ],
  [
    "unsupported-content-type",
    "CloudEvents in Avro",
    record("x", { "content-type": "application/cloudevents+avro" }),
  ],
  [
    "unsupported-content-type",
    "XML as data",
    record({ ...structured, datacontenttype: "text/xml" }, structuredType),
  ],
  ["ce-missing-attribute", "no ce_id", record(good, { ...binary, ce_id: "" })],
  ["ce-missing-attribute", "only one header", record(good, { ce_type: "placed" })],
  ["ce-missing-attribute", "no source", record({ ...structured, source: null }, structuredType)],
  ["ce-bad-attribute", "id is a number", record({ ...structured, id: 7 }, structuredType)],
  ["ce-bad-specversion", "0.3", record(good, { ...binary, ce_specversion: "0.3" })],
  ["ce-bad-time", "a date", record(good, { ...binary, ce_time: "2001-01-05" })],
  ["ce-bad-time", "a number", record({ ...structured, time: 5 }, structuredType)],
  ["ce-bad-data", "neither", record({ ...structured, data: undefined }, structuredType)],
  ["ce-bad-data", "both", record({ ...structured, data_base64: "e30=" }, structuredType)],
  ["ce-bad-data", "data is text", record({ ...structured, data: JSON.stringify(good) }, structuredType)],
  ["ce-bad-data", "not base64", record({ ...structured, data: undefined, data_base64: "%" }, structuredType)],
  [
    "not-json",
    "base64 of nonsense",
    record({ ...structured, data: undefined, data_base64: "eA==" }, structuredType),
  ],
  ["unknown-line", "another line", record(good, { ...binary, ce_type: "refunds.placed" })],
  ["unknown-stream", "no such stream", record(good, { ...binary, ce_type: "orders.lost" })],
  ["unknown-stream", "an inherited name", record(good, { ...binary, ce_type: "toString" })],
  ["wrong-topic", "a stream of another topic", record(good, { ...binary, ce_type: "orders.returned" })],
  ["missing-field", "no id", record(without("order"))],
  ["missing-field", "null time", record({ ...good, at: null })],
  ["empty-id", "empty text", record({ ...good, order: "" })],
  ["wrong-type", "a number in quotes", record({ ...good, items: "2" })],
  ["wrong-type", "a number for text", record({ ...good, order: 1 })],
  ["wrong-type", "a list for a category", record({ ...good, shop: ["rome"] })],
  ["wrong-type", "1 for true", record({ ...good, gift: 1 })],
  ["wrong-type", "an object for a time", record({ ...good, at: { ms: 1 } })],
  ["not-an-integer", "2.5", record({ ...good, items: 2.5 })],
  ["not-finite", "1e999", record(JSON.stringify(good).replace("2}", "1e999}"))],
  ["not-finite", "1e999 as time", record(`{"order":"o","at":1e999,"shop":"rome","items":1}`)],
  ["out-of-range", "below", record({ ...good, items: -1 })],
  ["out-of-range", "above", record({ ...good, items: 1001 })],
  ["out-of-range", "2^53", record(JSON.stringify(good).replace("2}", "9007199254740993}"))],
  ["too-precise", "a tenth of a cent", record({ ...good, total: 1.001 })],
  ["too-precise", "the sum of 0.1 and 0.2", record({ ...good, total: 0.1 + 0.2 })],
  ["out-of-range", "a decimal of 2^51 minor units", record({ ...good, total: 22517998136852.48 })],
  ["out-of-range", "a decimal below its range", record({ ...good, total: -100.01 })],
  ["wrong-type", "a decimal in quotes", record({ ...good, total: "1.00" })],
  ["bad-blob", "not base64", record({ ...good, label_photo: "%%%%" })],
  ["bad-blob", "base64 without its padding", record({ ...good, label_photo: "AAEC/w" })],
  ["bad-blob", "base64 with bits left over", record({ ...good, label_photo: "AAEC/x==" })],
  [
    "bad-blob",
    "a path",
    record({ ...good, label_photo: { sha256: "../../etc/passwd", bytes: 1, mediaType: "image/png" } }),
  ],
  ["bad-blob", "an address", record({ ...good, label_photo: { url: "http://127.0.0.1/" } })],
  [
    "bad-blob",
    "a claim of another type",
    record({ ...good, label_photo: { sha256: "0a".repeat(32), bytes: 1, mediaType: "text/html" } }),
  ],
  [
    "bad-blob",
    "a claim of less than nothing",
    record({ ...good, label_photo: { sha256: "0a".repeat(32), bytes: -1, mediaType: "image/png" } }),
  ],
  ["wrong-type", "a list as blob", record({ ...good, label_photo: [1, 2] })],
  ["too-large-blob", "101 bytes", record({ ...good, label_photo: btoa("x".repeat(101)) })],
  [
    "too-large-blob",
    "a claim of 101 bytes",
    record({ ...good, label_photo: { sha256: "0a".repeat(32), bytes: 101, mediaType: "image/png" } }),
  ],
  ["too-long", "an id of 17 characters", record({ ...good, order: "x".repeat(17) })],
  ["not-a-category", "another channel", record({ ...good, channel: "fax" })],
  ["bad-text", "half a surrogate pair", record(JSON.stringify(good).replace("rome", "\\ud800"))],
  ["bad-time", "no zone", record({ ...good, at: "2001-01-05T06:00:00" })],
  ["bad-time", "30 February", record({ ...good, at: "2001-02-30T06:00:00Z" })],
  ["bad-time", "29 February 1900", record({ ...good, at: "1900-02-29T06:00:00Z" })],
  ["bad-time", "25 o'clock", record({ ...good, at: "2001-01-05T25:00:00Z" })],
  ["bad-time", "an event before 1970", record({ ...good, at: "1969-12-31T23:59:59Z" })],
  ["bad-time", "words", record({ ...good, at: "yesterday" })],
  ["bad-time", "a fraction of a ms", record({ ...good, at: 1.5 })],
  ["bad-time", "microseconds", record({ ...good, at: NOW_MS * 1000 })],
  ["future-time", "two hours ahead", record({ ...good, at: "2001-01-05T08:00:00Z" })],
];

describe("a refused record", () => {
  it.each(REFUSED)("%s: %s", (reason, _, given) => {
    const outcome = read(given);
    expect(outcome).toMatchObject({ kind: "rejected", reason });
    if (outcome.kind === "accepted") return;
    expect(outcome.detail).toContain(REASONS[reason].remedy);
    expect(outcome.detail.length).toBeLessThan(400);
  });

  it("has a reason of the catalogue, and every reason has its record, but for those that are given elsewhere", () => {
    const shown = new Set<string>(REFUSED.map(([reason]) => reason));
    expect(Object.keys(REASONS).filter((code) => !shown.has(code))).toEqual([
      "bad-schema-frame",
      "unknown-schema",
      "bad-schema",
      "not-by-schema",
      "unknown-claim",
      "too-late",
      "duplicate-id",
    ]);
    expect(Object.keys(REASONS).length).toBeGreaterThanOrEqual(20);
  });

  it("names field, what came and the remedy, and never the whole value", () => {
    const long = read(record({ ...good, items: "9".repeat(500) }));
    expect(long).toMatchObject({
      detail: `field "items" is text "${"9".repeat(75)}...", declared as integer: ${REASONS["wrong-type"].remedy}`,
    });
  });

  it("is not judged by a clock when it has no timestamp", () => {
    expect(read({ ...record({ ...good, at: "2999-01-01T00:00:00Z" }), timestampMs: -1 }).kind).toBe(
      "accepted",
    );
  });
});

describe("whatever comes", () => {
  const mostly = (usual: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
    fc.oneof({ weight: 15, arbitrary: usual }, { weight: 1, arbitrary: fc.jsonValue() });
  const event = fc.record(
    {
      order: mostly(fc.string()),
      at: mostly(fc.oneof(fc.constant(NOW_MS), fc.constant(good.at), fc.integer())),
      shop: mostly(fc.string({ maxLength: 9 })),
      channel: mostly(fc.constantFrom("web", "app", null)),
      items: mostly(fc.integer({ min: -1, max: 1001 })),
      price: mostly(fc.double({ min: -1 })),
      gift: mostly(fc.boolean()),
      sentAt: mostly(fc.integer()),
    },
    { requiredKeys: ["order", "at", "shop", "items"] },
  );
  const attributes = ["1.0", "placed", "application/json", "application/cloudevents+json"];
  const headers = fc.dictionary(
    fc.constantFrom("content-type", "ce_id", "ce_type", "ce_time", "ce_specversion", "ce_source", "x"),
    fc.oneof(fc.constantFrom(...attributes).map(encode), fc.uint8Array({ maxLength: 10 })),
    { maxKeys: 6 },
  );
  const value = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map(encode),
    event.map((fields) => encode(JSON.stringify(fields))),
  );
  const anyRecord = fc.record({
    key: fc.option(fc.uint8Array({ maxLength: 10 })),
    value: fc.option(value, { freq: 10 }),
    headers: fc.oneof(fc.constant({}), fc.constant(record(null, binary).headers), headers),
    timestampMs: fc.constantFrom(-1, 0, NOW_MS),
  });

  it("never throws, and what is accepted satisfies the definition (E1, E2)", () => {
    let accepted = 0;
    fc.assert(
      fc.property(anyRecord, (given) => {
        const outcome = read(given);
        if (outcome.kind === "rejected") {
          expect(Object.keys(REASONS)).toContain(outcome.reason);
          return;
        }
        accepted++;
        const { id, stream, time, data } = outcome.event;
        expect(stream).toBe("placed");
        expect(Object.keys(data)).toEqual(Object.keys(line.streams.placed?.fields ?? {}));
        expect(data).toMatchObject({ order: id, at: time });
        expect(id.length > 0 && id.length <= 16 && id.isWellFormed()).toBe(true);
        expect(Number.isInteger(time)).toBe(true);
        expect(typeof data.shop === "string" && data.shop.length <= 8).toBe(true);
        expect([null, "web", "app"]).toContain(data.channel);
        expect(Number.isInteger(data.items) && Number(data.items) >= 0 && Number(data.items) <= 1000).toBe(
          true,
        );
        expect(data.price === null || (Number.isFinite(data.price) && Number(data.price) >= 0)).toBe(true);
        expect([null, true, false]).toContain(data.gift);
        expect(data.sentAt === null || Number.isInteger(data.sentAt)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
    expect(accepted).toBeGreaterThan(20);
  });
});

describe("an event that a schema's decoder has opened", () => {
  const decoded = createDecodedReader(line, "placed");
  const opened = { order: "o-1", at: NOW_MS, shop: "rome", items: 2 };

  it("may hold exact decimals and bytes", () => {
    const png = bytes(1, 2, 3);
    const outcome = decoded(record("x"), {
      ...opened,
      total: new ExactDecimal(-123400n, 4),
      label_photo: png,
    });
    expect(outcome).toMatchObject({
      event: { id: "o-1", data: { total: -12.34, label_photo: null } },
      deposits: [{ kind: "bytes", field: "label_photo", bytes: png }],
    });
    expect(decoded(record("x"), { ...opened, price: new ExactDecimal(1n, 1) })).toMatchObject({
      event: { data: { price: 0.1 } },
    });
  });

  it.each([
    ["too-precise", { total: new ExactDecimal(1n, 3) }],
    ["out-of-range", { total: new ExactDecimal(10n ** 20n, 0) }],
    ["out-of-range", { items: 2n ** 60n }],
    ["bad-time", { at: 2n ** 60n }],
    ["wrong-type", { shop: bytes(1) }],
    ["wrong-type", { total: bytes(1) }],
    ["too-large-blob", { label_photo: new Uint8Array(101) }],
    ["missing-field", { items: undefined }],
  ] as const)("is refused as %s", (reason, more) => {
    expect(decoded(record("x"), { ...opened, ...more })).toMatchObject({ kind: "rejected", reason });
  });

  it("takes id and time of a binary CloudEvent around it, and passes a refusal on", () => {
    const { order: _, at: __, ...rest } = opened;
    const headers = { ...binary, ce_time: good.at, "content-type": "application/avro" };
    expect(decoded(record("x", headers), rest)).toMatchObject({ event: { id: "ce-1", time: NOW_MS } });
    expect(decoded(record("x"), rejection("unknown-schema", "7"))).toMatchObject({
      reason: "unknown-schema",
    });
    expect(decoded(record(null), opened)).toMatchObject({ reason: "empty-value" });
  });
});
