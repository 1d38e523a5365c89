import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import {
  type IncomingRecord,
  Rejection,
  type SchemaReader,
  SchemaRegistryUnavailableError,
} from "@millrace/events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createSchemaReader, createSchemaRegistryClient } from "./index.ts";

type Answer = (request: IncomingMessage, response: ServerResponse) => void;
const json =
  (body: unknown, status = 200): Answer =>
  (_, response) => {
    response.writeHead(status, { "content-type": "application/vnd.schemaregistry.v1+json" });
    response.end(JSON.stringify(body));
  };
const notFound = json({ error_code: 40403, message: "Schema not found" }, 404);

const record = (...fields: [string, unknown][]): string =>
  JSON.stringify({ type: "record", name: "R", fields: fields.map(([name, type]) => ({ name, type })) });
const framed = (id: number, ...payload: number[]): IncomingRecord => ({
  key: null,
  value: Uint8Array.of(0, 0, 0, id >> 8, id, ...payload),
  headers: {},
  timestampMs: 0,
});

let server: Server;
let url: string;
let answers: Record<string, Answer>;
let asked: string[];
let nowMs: number;
let reader: SchemaReader;

beforeEach(async () => {
  answers = { "/schemas/types": json(["AVRO"]) };
  asked = [];
  nowMs = 0;
  server = createServer((request, response) => {
    asked.push(request.url ?? "");
    (answers[request.url ?? ""] ?? notFound)(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  reader = readerOf({ url, deadlineMs: 500 });
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function readerOf(
  settings: Parameters<typeof createSchemaRegistryClient>[0],
  schemasMax?: number,
): SchemaReader {
  const client = createSchemaRegistryClient(settings);
  return createSchemaReader({
    client,
    now: () => nowMs,
    ...(schemasMax === undefined ? {} : { schemasMax }),
  });
}
const plain = async (opened: unknown): Promise<unknown> => {
  const data = await opened;
  return data instanceof Rejection ? data : JSON.parse(JSON.stringify(data));
};

describe("the schema reader", () => {
  it("fetches a schema once, whoever waits for it, and answers at once from then on", async () => {
    answers["/schemas/ids/258"] = json({ schema: record(["a", "long"]) });
    const both = await Promise.all([reader.open(framed(258, 2)), reader.open(framed(258, 4))]);
    expect(await Promise.all(both.map(plain))).toEqual([{ a: 1 }, { a: 2 }]);
    const atOnce = reader.open(framed(258, 6));
    expect(atOnce).not.toBeInstanceOf(Promise);
    expect(await plain(atOnce)).toEqual({ a: 3 });
    expect(reader.open(framed(258))).toMatchObject({ reason: "not-by-schema" });
    expect(asked).toEqual(["/schemas/ids/258"]);
  });

  it("finds schemas by GUID, of every type, with what they refer to", async () => {
    const guid = "01010101-0101-0101-0101-010101010101";
    answers[`/schemas/guids/${guid}`] = json({ schemaType: "JSON", schema: '{"required":["a"]}' });
    const value = Uint8Array.of(1, ...new Array<number>(16).fill(1), ...Buffer.from('{"a":1}'));
    expect(await plain(reader.open({ ...framed(0), value }))).toEqual({ a: 1 });

    answers["/schemas/ids/2"] = json({
      schemaType: "PROTOBUF",
      schema: 'syntax = "proto3"; import "b.proto"; message M { B b = 1; }',
      references: [{ name: "b.proto", subject: "b/../x", version: 3 }],
    });
    answers["/subjects/b%2F..%2Fx/versions/3"] = json({
      schema: 'syntax = "proto3"; import "c.proto"; message B { C c = 1; }',
      references: [{ name: "c.proto", subject: "c", version: 1 }],
    });
    answers["/subjects/c/versions/1"] = json({ schema: 'syntax = "proto3"; message C { int32 x = 1; }' });
    expect(await plain(reader.open(framed(2, 0, 0x0a, 4, 0x0a, 2, 0x08, 7)))).toEqual({ b: { c: { x: 7 } } });
  });

  it("sends the user's name and password", async () => {
    let authorization: string | undefined;
    answers["/schemas/ids/1"] = (request, response) => {
      authorization = request.headers.authorization;
      json({ schema: record() })(request, response);
    };
    await readerOf({ url: `${url}/`, username: "ann", password: "secret:" }).open(framed(1));
    expect(authorization).toBe(`Basic ${Buffer.from("ann:secret:").toString("base64")}`);
  });

  it("refuses a record whose schema the registry does not know, and asks again after a while", async () => {
    expect(await reader.open(framed(9))).toMatchObject({ reason: "unknown-schema" });
    answers["/schemas/ids/9"] = json({ schema: record() });
    expect(await reader.open(framed(9))).toMatchObject({ reason: "unknown-schema" });
    expect(asked).toHaveLength(1);
    nowMs += 10_000;
    expect(await plain(reader.open(framed(9)))).toEqual({});
  });

  it("refuses a record whose schema cannot be used", async () => {
    const circle = { name: "a", subject: "a", version: 1 };
    answers["/subjects/a/versions/1"] = json({ schema: '"int"', references: [circle] });
    for (const [id, body] of [
      [1, { schema: "{" }],
      [2, { schema: '"int"', schemaType: "THRIFT" }],
      [3, { nothing: true }],
      [4, { schema: '"int"', references: [{ name: "x", subject: "lost", version: 1 }] }],
      [5, { schema: '"int"', references: [circle] }],
      [6, { schema: '"int"', references: [{ name: 1 }] }],
      [7, { schema: "x".repeat(5_000_000) }],
    ] as const) {
      answers[`/schemas/ids/${id}`] = json(body);
      expect(await reader.open(framed(id)), String(id)).toMatchObject({ reason: "bad-schema" });
    }
  });

  it.each<[string, Answer]>([
    ["answers with an error", json({ error_code: 50001 }, 500)],
    ["asks for another password", json({ error_code: 40101 }, 401)],
    ["does not answer in time", () => {}],
    ["hangs up", (_, response) => response.destroy()],
    [
      "sends us elsewhere",
      (_, response) => response.writeHead(302, { location: "http://127.0.0.1:1/" }).end(),
    ],
    ["answers with something else", (_, response) => response.end("<html>")],
  ])("waits while the registry %s, and reads the record later (R2)", async (_, answer) => {
    answers["/schemas/ids/1"] = answer;
    await expect(reader.open(framed(1, 2))).rejects.toThrow(SchemaRegistryUnavailableError);
    answers["/schemas/ids/1"] = json({ schema: record(["a", "int"]) });
    expect(await plain(reader.open(framed(1, 2)))).toEqual({ a: 1 });
  });

  it("waits where nothing is a registry, but not where one lacks a path", async () => {
    const html: Answer = (_, response) => response.writeHead(404).end("<html>");
    answers["/schemas/ids/1"] = html;
    answers["/schemas/types"] = html;
    await expect(reader.open(framed(1))).rejects.toThrow("check the URL");
    answers["/schemas/types"] = json(["AVRO", "JSON"]);
    expect(await reader.open(framed(1))).toMatchObject({ reason: "unknown-schema" });
    server.close();
    server.closeAllConnections();
    await expect(reader.open(framed(2))).rejects.toThrow(SchemaRegistryUnavailableError);
  });

  it("remembers so many schemas and no more", async () => {
    const small = readerOf({ url }, 2);
    for (const id of [1, 2, 3]) answers[`/schemas/ids/${id}`] = json({ schema: record() });
    for (const id of [1, 2, 1, 3, 1]) await small.open(framed(id));
    expect(asked).toHaveLength(3);
    await small.open(framed(2));
    expect(asked).toHaveLength(4);
  });

  it("refuses what has no frame without asking", () => {
    expect(reader.open({ ...framed(1), value: Buffer.from("{}") })).toMatchObject({
      reason: "bad-schema-frame",
    });
    expect(asked).toEqual([]);
  });
});

it("takes http and https only, without a user in the URL", () => {
  expect(() => createSchemaRegistryClient({ url: "file:///etc" })).toThrow(TypeError);
  expect(() => createSchemaRegistryClient({ url: "http://ann:secret@127.0.0.1" })).toThrow(/^(?!.*secret)/);
});
