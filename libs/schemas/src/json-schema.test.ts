import { Rejection } from "@millrace/events";
import { describe, expect, it } from "vitest";
import { createJsonSchemaDecoder } from "./json-schema.ts";
import { type Decode, PayloadError, SchemaError } from "./schema.ts";

const decoder = (schema: unknown, ...references: [name: string, schema: unknown][]): Decode =>
  createJsonSchemaDecoder({
    type: "JSON",
    text: typeof schema === "string" ? schema : JSON.stringify(schema),
    references: references.map(([name, text]) => ({ name, text: JSON.stringify(text) })),
  });
const encode = (value: unknown): Uint8Array =>
  new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

const order = {
  type: "object",
  properties: { id: { type: "string", minLength: 1 }, items: { type: "integer", exclusiveMinimum: 0 } },
  required: ["id"],
};

describe("the JSON Schema decoder", () => {
  it.each([
    undefined,
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
  ])("checks what the schema of draft %s says", ($schema) => {
    const decode = decoder($schema === undefined ? order : { $schema, ...order });
    expect(decode(encode({ id: "o", items: 1, more: [] }), null)).toEqual({ id: "o", items: 1, more: [] });
    expect(() => decode(encode({ id: "o", items: 0 }), null)).toThrow("/items must be > 0");
    expect(() => decode(encode({ items: 1 }), null)).toThrow(PayloadError);
  });

  it("knows what a schema refers to", () => {
    const decode = decoder({ $id: "http://shop/order.json", properties: { where: { $ref: "place.json" } } }, [
      "place.json",
      { $id: "http://shop/place.json", type: "string" },
    ]);
    expect(decode(encode({ where: "rome" }), null)).toEqual({ where: "rome" });
    expect(() => decode(encode({ where: 1 }), null)).toThrow("/where must be string");
  });

  it("says what is wrong with a payload that is no event, as for plain JSON", () => {
    for (const [payload, reason] of [
      ["{", "not-json"],
      ["[]", "not-an-object"],
      ["[".repeat(100), "too-deep"],
    ] as const) {
      const refusal = decoder(true)(encode(payload), null);
      expect(refusal).toBeInstanceOf(Rejection);
      expect(refusal).toMatchObject({ reason });
    }
  });

  it.each([
    ["no JSON", "{"],
    ["a text", '"order"'],
    ["a draft that is not known", { $schema: "http://json-schema.org/draft-04/schema#" }],
    ["a reference that nobody has", { $ref: "lost.json" }],
    ["a pattern that is none", { properties: { a: { pattern: "(" } } }],
    ["a type that is none", { type: "money" }],
  ])("refuses a schema with %s", (_, schema) => expect(() => decoder(schema)).toThrow(SchemaError));
});
