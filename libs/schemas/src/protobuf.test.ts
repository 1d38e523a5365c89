import { ExactDecimal } from "@millrace/events";
import fc from "fast-check";
import protobuf from "protobufjs";
import descriptor from "protobufjs/ext/descriptor.js";
import { describe, expect, it } from "vitest";
import { createProtobufDecoder } from "./protobuf.ts";
import { type Decode, PayloadError, SchemaError } from "./schema.ts";

const PLACES = `syntax = "proto3";
package places;
message Shop { string city = 1; }`;
const ORDER = `syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "confluent/type/decimal.proto";
import "places.proto";
enum Kind { WEB = 0; APP = 1; }
message Other { string name = 1; message Inner { int32 x = 1; } message Second { int32 y = 1; } }
message Order {
  string id = 1;
  int64 big = 2;
  uint64 unsigned_big = 3;
  int32 items = 4;
  optional int32 maybe = 5;
  Kind kind = 6;
  google.protobuf.Timestamp at = 7;
  google.protobuf.StringValue note = 8;
  bytes photo = 9;
  places.Shop where = 10;
  repeated int32 list = 11;
  map<string, int64> map = 12;
  confluent.type.Decimal price = 13;
  oneof either { string left = 14; bool right = 15; }
  double d = 16;
}`;
const references = [{ name: "places.proto", text: PLACES }];
const decoder = (text: string = ORDER): Decode =>
  createProtobufDecoder({ type: "PROTOBUF", text, references });
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

const root = new protobuf.Root();
for (const name of ["google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"]) {
  root.addJSON(protobuf.common.get(name)?.nested ?? {});
}
protobuf.parse(
  'syntax = "proto3"; package confluent.type; message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }',
  root,
);
protobuf.parse(PLACES, root);
protobuf.parse(ORDER, root, { keepCase: true });
const Order = root.lookupType("shop.Order");
const write = (order: object): Uint8Array => Order.encode(Order.fromObject(order)).finish();
/** The order is the second message of its file. */
const framed = (order: object): Uint8Array => bytes(2, 2, ...write(order));
const plain = (data: unknown): unknown => JSON.parse(JSON.stringify(data));

describe("the Protobuf decoder", () => {
  it("reads every kind of field, with the names of the .proto", () => {
    const data = decoder()(
      framed({
        id: "o-1",
        big: "-9007199254740993",
        unsigned_big: 7,
        items: -2,
        maybe: 0,
        kind: "APP",
        at: { seconds: 1_700_000_000, nanos: 123_999_999 },
        note: { value: "n" },
        photo: bytes(1, 2),
        where: { city: "rome" },
        list: [1, 2],
        map: { a: 5 },
        price: { value: bytes(0xfb, 0x2e), scale: 2 },
        right: true,
        d: 0.1,
      }),
      null,
    ) as Record<string, unknown>;
    expect(data).toMatchObject({
      id: "o-1",
      big: -9007199254740993n,
      unsigned_big: 7,
      items: -2,
      maybe: 0,
      kind: "APP",
      at: 1_700_000_000_123,
      note: "n",
      where: { city: "rome" },
      list: [1, 2],
      map: { a: 5 },
      left: null,
      right: true,
      d: 0.1,
    });
    expect([...(data["photo"] as Uint8Array)]).toEqual([1, 2]);
    expect(data["price"]).toEqual(new ExactDecimal(-1234n, 2));
  });

  it("tells what is absent from what is the default, as the schema does", () => {
    expect(plain(decoder()(bytes(2, 2), null))).toEqual({
      id: "",
      big: 0,
      unsigned_big: 0,
      items: 0,
      maybe: null,
      kind: "WEB",
      at: null,
      note: null,
      photo: {},
      where: null,
      list: [],
      map: {},
      price: null,
      left: null,
      right: null,
      d: 0,
    });
    const proto2 = decoder(
      'syntax = "proto2"; message M { optional int32 a = 1; optional int32 b = 2 [default = 5]; }',
    );
    expect(plain(proto2(bytes(0), null))).toEqual({ a: null, b: null });
  });

  it("finds the message by its indexes, in front of the payload or apart from it", () => {
    const first = bytes(0x0a, 1, 0x61);
    expect(plain(decoder()(bytes(0, ...first), null))).toEqual({ name: "a" });
    expect(plain(decoder()(bytes(2, 0, ...first), null))).toEqual({ name: "a" });
    expect(plain(decoder()(first, bytes(0)))).toEqual({ name: "a" });
    expect(plain(decoder()(first, bytes()))).toEqual({ name: "a" });
    expect(plain(decoder()(bytes(4, 0, 2, 0x08, 7), null))).toEqual({ y: 7 });
    for (const indexes of [
      bytes(2, 8),
      bytes(4, 0, 4),
      bytes(2),
      bytes(1),
      bytes(0xff, 0xff, 0xff, 0xff, 0xff, 0x7f),
    ]) {
      expect(() => decoder()(first, indexes)).toThrow(PayloadError);
    }
  });

  it("reads a schema that was registered as a descriptor", () => {
    const alone = protobuf.parse(
      'syntax = "proto3"; package a.b; message First { optional int32 x = 1; int32 y_z = 2; } message Second { string s = 1; }',
      { keepCase: true },
    ).root;
    alone.resolveAll();
    const [file] = (alone.toDescriptor("proto3") as unknown as { file: object[] }).file;
    const text = Buffer.from(descriptor.FileDescriptorProto.encode(file as object).finish()).toString(
      "base64",
    );
    const decode = createProtobufDecoder({ type: "PROTOBUF", text, references: [] });
    expect(plain(decode(bytes(0, 0x10, 5), null))).toEqual({ x: null, y_z: 5 });
    expect(plain(decode(bytes(2, 2, 0x0a, 1, 0x61), null))).toEqual({ s: "a" });
  });

  it("reads descriptors that import each other and well-known files", () => {
    const file = (name: string, more: object): string =>
      Buffer.from(
        descriptor.FileDescriptorProto.encode({
          name,
          package: "a",
          syntax: "proto3",
          ...more,
        } as object).finish(),
      ).toString("base64");
    const field = (name: string, number: number, typeName: string): object => ({
      name,
      number,
      type: 11,
      typeName,
      label: 1,
    });
    const place = { name: "Place", field: [{ name: "city", number: 1, type: 9, label: 1 }] };
    const made = {
      name: "Made",
      field: [field("place_of", 1, ".a.Place"), field("at", 2, ".google.protobuf.Timestamp")],
    };
    const decode = createProtobufDecoder({
      type: "PROTOBUF",
      text: file("made.proto", {
        dependency: ["place.proto", "google/protobuf/timestamp.proto"],
        messageType: [made],
      }),
      references: [{ name: "place.proto", text: file("place.proto", { messageType: [place] }) }],
    });
    expect(plain(decode(bytes(0, 0x0a, 3, 0x0a, 1, 0x61, 0x12, 2, 0x08, 5), null))).toEqual({
      place_of: { city: "a" },
      at: 5_000,
    });
  });

  it("ends with a value or a PayloadError, whatever the bytes are (R1)", () => {
    const decode = decoder();
    const base = framed({
      id: "o",
      big: 5,
      list: [1, 2],
      map: { a: 1 },
      where: { city: "x" },
      price: { scale: 2 },
    });
    fc.assert(
      fc.property(
        fc.array(fc.record({ at: fc.nat(), byte: fc.nat({ max: 255 }) })),
        fc.nat(),
        (changes, cut) => {
          const payload = Uint8Array.from(base);
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

  it("refuses messages and groups within each other without end, without a stack overflow", () => {
    const list = decoder('syntax = "proto3"; message List { List next = 1; }');
    const groups = new Uint8Array(21_000).fill(0x0b);
    groups[0] = 0;
    expect(() => list(groups, null)).toThrow(PayloadError);
    let nested: Uint8Array = bytes();
    for (let i = 0; i < 1_000; i++) {
      const length = nested.length;
      nested = bytes(0x0a, (length & 0x7f) | 0x80, (length >> 7) | 0x80, 0, ...nested);
    }
    expect(() => list(bytes(0, ...nested), null)).toThrow(PayloadError);
  });

  it.each([
    ["no .proto", "message {"],
    ["no message", 'syntax = "proto3"; enum E { A = 0; }'],
    ["an import that nobody has", 'syntax = "proto3"; import "lost.proto"; message M { int32 a = 1; }'],
    ["a type that nobody defines", 'syntax = "proto3"; message M { Lost a = 1; }'],
    ["nesting without end", `syntax = "proto3"; ${"message M { ".repeat(5_000)}${"}".repeat(5_000)}`],
  ])("refuses a schema with %s", (_, text) => {
    expect(() => decoder(text)).toThrow(SchemaError);
  });
});
