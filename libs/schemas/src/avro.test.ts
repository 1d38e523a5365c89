import { ExactDecimal } from "@millrace/events";
import avro from "avsc";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createAvroDecoder } from "./avro.ts";
import { type Decode, PayloadError, SchemaError } from "./schema.ts";

const decoder = (schema: unknown, ...references: [name: string, schema: unknown][]): Decode =>
  createAvroDecoder({
    type: "AVRO",
    text: JSON.stringify(schema),
    references: references.map(([name, text]) => ({ name, text: JSON.stringify(text) })),
  });
const record = (...fields: [name: string, type: unknown][]): object => ({
  type: "record",
  name: "Order",
  namespace: "shop",
  fields: fields.map(([name, type]) => ({ name, type })),
});
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

/** The other implementation rounds larger ones. */
const long = fc.integer({ min: -(2 ** 51), max: 2 ** 51 });
/** A schema with every type, and values of it. */
const everything = record(
  ["nothing", "null"],
  ["flag", "boolean"],
  ["i", "int"],
  ["l", "long"],
  ["f", "float"],
  ["d", "double"],
  ["text", "string"],
  ["maybe", ["null", "string", "long"]],
  ["kind", { type: "enum", name: "Kind", symbols: ["WEB", "APP"] }],
  ["list", { type: "array", items: "long" }],
  ["map", { type: "map", values: ["null", "int"] }],
  ["inner", { type: "record", name: "Inner", fields: [{ name: "x", type: "int" }] }],
  ["again", ["null", "Inner", "shop.Kind"]],
);
const value = fc.record({
  nothing: fc.constant(null),
  flag: fc.boolean(),
  i: fc.integer(),
  l: long,
  f: fc.float({ noNaN: true }),
  d: fc.double({ noNaN: true }),
  text: fc.string({ unit: "grapheme" }),
  maybe: fc.oneof(fc.constant(null), fc.string(), long),
  kind: fc.constantFrom("WEB", "APP"),
  list: fc.array(long),
  map: fc.dictionary(
    fc.string().filter((key) => key !== "__proto__"),
    fc.option(fc.integer()),
  ),
  inner: fc.record({ x: fc.integer() }),
  again: fc.oneof(fc.constant(null), fc.record({ x: fc.integer() })),
});
const plain = (data: unknown): unknown => JSON.parse(JSON.stringify(data));

describe("the Avro decoder", () => {
  const type = avro.Type.forSchema(everything as avro.Schema, { wrapUnions: "never" } as object);
  const decode = decoder(everything);

  it("reads what another implementation writes", () => {
    fc.assert(
      fc.property(value, (given) => {
        expect(plain(decode(type.toBuffer(given), null))).toEqual(plain(given));
      }),
    );
  });

  it("ends with a value or a PayloadError, whatever the bytes are (R1)", () => {
    fc.assert(
      fc.property(
        value,
        fc.array(fc.record({ at: fc.nat(), byte: fc.nat({ max: 255 }) })),
        fc.nat(),
        (given, changes, cut) => {
          const payload = Uint8Array.from(type.toBuffer(given));
          for (const { at, byte } of changes) payload[at % payload.length] = byte;
          try {
            decode(payload.subarray(0, payload.length - (cut % 4)), null);
          } catch (error) {
            if (!(error instanceof PayloadError)) throw error;
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it.each([
    [
      "a list of 2^31 nulls",
      record(["a", { type: "array", items: "null" }]),
      bytes(0x80, 0x80, 0x80, 0x80, 0x20, 0),
    ],
    [
      "a list of 2^40 longs",
      record(["a", { type: "array", items: "long" }]),
      bytes(0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 2),
    ],
    [
      "blocks of nulls without end",
      record(["a", { type: "array", items: "null" }]),
      new Uint8Array(4_000).fill(0x7e),
    ],
    ["bytes of 2 GB", record(["a", "bytes"]), bytes(0xfe, 0xff, 0xff, 0xff, 0x0f, 1)],
    ["a string of -1 bytes", record(["a", "string"]), bytes(1)],
    ["an endless varint", record(["a", "long"]), new Uint8Array(20).fill(0xff)],
    ["a branch that does not exist", record(["a", ["null", "int"]]), bytes(4)],
    ["a symbol that does not exist", record(["a", { type: "enum", name: "E", symbols: ["A"] }]), bytes(2)],
    ["an int of 33 bits", record(["a", "int"]), bytes(0x80, 0x80, 0x80, 0x80, 0x20)],
    ["a boolean of 2", record(["a", "boolean"]), bytes(2)],
    ["text that is not UTF-8", record(["a", "string"]), bytes(2, 0xff)],
    [
      "a decimal of 600 bytes",
      record(["a", { type: "bytes", logicalType: "decimal" }]),
      Uint8Array.of(0xb0, 9, ...new Array<number>(600).fill(1)),
    ],
    ["bytes left over", record(["a", "int"]), bytes(2, 2)],
    ["no record", "long", bytes(2)],
    ["a list", { type: "array", items: "int" }, bytes(0)],
  ])("refuses %s", (_, schema, payload) => {
    expect(() => decoder(schema)(payload, null)).toThrow(PayloadError);
  });

  it("refuses records within records without end, without a stack overflow", () => {
    const list = { type: "record", name: "List", fields: [{ name: "next", type: ["null", "List"] }] };
    const nested = decoder(list);
    expect(plain(nested(bytes(2, 2, 0), null))).toEqual({ next: { next: { next: null } } });
    expect(() => nested(new Uint8Array(1_000_000).fill(2), null)).toThrow("nested");
  });

  it("has longs exact, as bigints where a number is not", () => {
    const long = decoder(record(["a", "long"]));
    const long64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    fc.assert(
      fc.property(fc.oneof(long64, fc.maxSafeInteger().map(BigInt)), (given) => {
        let rest = BigInt.asUintN(64, (given << 1n) ^ (given >> 63n));
        const payload: number[] = [];
        for (; rest >= 0x80n; rest >>= 7n) payload.push(Number(rest & 0x7fn) | 0x80);
        payload.push(Number(rest));
        const found = long(Uint8Array.from(payload), null) as { a: number | bigint };
        expect(BigInt(found.a)).toBe(given);
        expect(typeof found.a).toBe(Number.isSafeInteger(Number(given)) ? "number" : "bigint");
      }),
    );
  });

  it("gives decimals exactly, times in ms, and bytes as they are", () => {
    const logical = (type: string, logicalType: string, more: object = {}): object => ({
      type,
      logicalType,
      ...more,
    });
    const decode = decoder(
      record(
        ["price", logical("bytes", "decimal", { precision: 20, scale: 2 })],
        ["small", { ...logical("fixed", "decimal", { precision: 4, scale: 4 }), name: "F", size: 2 }],
        ["ms", logical("long", "timestamp-millis")],
        ["us", logical("long", "timestamp-micros")],
        ["ns", logical("long", "timestamp-nanos")],
        ["day", logical("int", "date")],
        ["id", logical("string", "uuid")],
        ["odd", logical("string", "decimal")],
        ["photo", "bytes"],
      ),
    );
    const payload = bytes(
      4,
      0xfb,
      0x2e,
      0xff,
      0xfe,
      10,
      0xa1,
      0x1f,
      0xfd,
      0x99,
      0x7a,
      4,
      2,
      0x61,
      2,
      0x62,
      4,
      9,
      8,
    );
    const found = decode(payload, null) as Record<string, unknown>;
    expect(found).toMatchObject({
      ms: 5,
      us: -3,
      ns: -2,
      day: 2 * 86_400_000,
      id: "a",
      odd: "b",
      photo: bytes(9, 8),
    });
    expect(found["price"]).toEqual(new ExactDecimal(-1234n, 2));
    expect(found["small"]).toEqual(new ExactDecimal(-2n, 4));
    expect(String(found["price"])).toBe("-12.34");
  });

  it("knows the types that a schema refers to, in any namespace", () => {
    const shop = {
      type: "record",
      name: "Shop",
      namespace: "places",
      fields: [{ name: "city", type: "string" }],
    };
    const decode = decoder(record(["where", "places.Shop"], ["from", ["null", "places.Shop"]]), [
      "places.Shop",
      shop,
    ]);
    expect(plain(decode(bytes(2, 0x61, 0), null))).toEqual({ where: { city: "a" }, from: null });
  });

  it("keeps a key such as __proto__ to itself", () => {
    const found = decoder(record(["a", { type: "map", values: "int" }]))(
      bytes(2, 18, ...new TextEncoder().encode("__proto__"), 2, 0),
      null,
    );
    expect(Object.keys((found as { a: object }).a)).toEqual(["__proto__"]);
    expect(({} as Record<string, unknown>)["a"]).toBeUndefined();
  });

  it.each([
    ["no JSON", "{"],
    ["an unknown type", JSON.stringify(record(["a", "money"]))],
    ["a type without a name", '{"fields":[]}'],
    ["a record without fields", '{"type":"record","name":"R"}'],
    ["a field without a type", '{"type":"record","name":"R","fields":[{"name":"a"}]}'],
    ["a type twice", JSON.stringify(record(["a", { type: "fixed", name: "Order", size: 1 }]))],
    ["a fixed of a size that is none", '{"type":"fixed","name":"F","size":-1}'],
    ["an enum without symbols", '{"type":"enum","name":"E","symbols":[1]}'],
    ["nesting without end", `${'{"type":"array","items":'.repeat(100)}"int"${"}".repeat(100)}`],
  ])("refuses a schema with %s", (_, text) => {
    expect(() => createAvroDecoder({ type: "AVRO", text, references: [] })).toThrow(SchemaError);
  });
});
