import { describe, expect, it } from "vitest";
import { type IncomingRecord, readSchemaFrame } from "./index.ts";

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const record = (value: Uint8Array | null, header?: Uint8Array): IncomingRecord => ({
  key: null,
  value,
  headers: header === undefined ? {} : { __value_schema_id: header },
  timestampMs: 0,
});
const guid = bytes(
  0x89,
  0x79,
  0x1b,
  0xaf,
  0x8f,
  0x1c,
  0x4e,
  0x2a,
  0xb4,
  0x9c,
  0xba,
  0x0f,
  0x5d,
  0x01,
  0x02,
  0x03,
);
const guidText = "89791baf-8f1c-4e2a-b49c-ba0f5d010203";

describe("the frame of a schema registry", () => {
  it("names the schema by number or GUID, in front of the value or in a header", () => {
    const id = { kind: "id", id: 0xfffffffe };
    expect(readSchemaFrame(record(bytes(0, 0xff, 0xff, 0xff, 0xfe, 7, 8)))).toEqual({
      schema: id,
      payload: bytes(7, 8),
      indexes: null,
    });
    expect(readSchemaFrame(record(bytes(1, ...guid, 7)))).toEqual({
      schema: { kind: "guid", guid: guidText },
      payload: bytes(7),
      indexes: null,
    });
    expect(readSchemaFrame(record(bytes(0, 7), bytes(0, 0xff, 0xff, 0xff, 0xfe)))).toEqual({
      schema: id,
      payload: bytes(0, 7),
      indexes: bytes(),
    });
    expect(readSchemaFrame(record(bytes(9), bytes(1, ...guid, 2, 4)))).toEqual({
      schema: { kind: "guid", guid: guidText },
      payload: bytes(9),
      indexes: bytes(2, 4),
    });
  });

  it.each([
    ["JSON", record(new TextEncoder().encode('{"id":1}'))],
    ["another magic byte", record(bytes(2, 0, 0, 0, 1))],
    ["a cut number", record(bytes(0, 0, 0, 1))],
    ["a cut GUID", record(bytes(1, ...guid.subarray(1)))],
    ["an empty header", record(bytes(0, 0, 0, 0, 1), bytes())],
  ])("is missed in %s", (_, given) =>
    expect(readSchemaFrame(given)).toMatchObject({ reason: "bad-schema-frame" }),
  );

  it("is missed where there is no value", () => {
    expect(readSchemaFrame(record(null))).toMatchObject({ reason: "empty-value" });
  });
});
