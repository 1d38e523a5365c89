import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LineStatus, sourceTopic } from "@millrace/contracts";
import { buildIngest } from "@millrace/ingest";
import { createKafkaBroker } from "@millrace/kafka";
import { defineLine, type LineDefinition } from "@millrace/lines";
import { startTestServers, type TestServers } from "@millrace/local";
import { createLog, type Service, sha256Hex, sleep } from "@millrace/runtime";
import { createSchemaReader, createSchemaRegistryClient } from "@millrace/schemas";
import { type Broker, headerText, type StreamRecord } from "@millrace/stream";
import { type MemoryObjects, memoryObjects, readTopic } from "@millrace/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { produce, type Registry, startRegistry } from "./schema-registry/strangers.ts";

/**
 * Producers of others (Confluent's Python serialisers for Avro, Protobuf and JSON Schema) with a registry of others
 * (Apicurio's, with Confluent's interface), and ingest behind them, on a real Kafka.
 */

const AT_MS = Date.UTC(2026, 10, 25, 12);
const common = {
  id: { type: "text" },
  at: { type: "time" },
  count: { type: "integer" },
  kind: { type: "category", values: ["FAST", "SLOW"] },
} as const;
const photo = { type: "blob", mediaType: "image/png", bytesMax: 1_000, optional: true } as const;
const framed = { format: "schema-registry", id: "id", time: "at", key: ["id"] } as const;
const line: LineDefinition = defineLine({
  name: "plant",
  title: "Streams of every kind of schema",
  streams: {
    avro: {
      ...framed,
      topic: "plant.avro",
      fields: {
        ...common,
        price: { type: "decimal", scale: 2, optional: true },
        ok: { type: "boolean" },
        ratio: { type: "number" },
        photo,
      },
    },
    protobuf: {
      ...framed,
      topic: "plant.protobuf",
      fields: { ...common, ok: { type: "boolean", optional: true }, ratio: { type: "number" }, photo },
    },
    json: { ...framed, topic: "plant.json", fields: common },
  },
  predict: { on: "avro" },
  features: { count: { kind: "field", field: "count" } },
});

let servers: TestServers<{ kafka: true }>;
let registry: Registry;
let broker: Broker;
let objects: MemoryObjects;
let folder: string;
let service: Service;
/** What stands between ingest and the registry. */
let way: { readonly url: string; open(): Promise<void>; close(): Promise<void> };
const failures: unknown[] = [];
const log = createLog("test", "silent");

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-schemas-"));
  [servers, registry] = await Promise.all([startTestServers({ kafka: true }), startRegistry()]);
  way = await wayTo(registry.url);
  const { brokers, username = "", password = "" } = servers.kafka;
  const sasl = { username, password };
  broker = createKafkaBroker({ clientId: "test", brokers: brokers.split(","), sasl, log });
  const topics = { avro: "plant.avro", protobuf: "plant.protobuf", json: "plant.json" };
  await broker.ensureTopics(Object.values(topics).map(sourceTopic), 1);
  await produce({ brokers, ...sasl, registry: registry.url, topics, atMs: AT_MS });
  objects = memoryObjects();
  service = buildIngest(
    { MILLRACE_DATA: folder },
    {
      broker,
      objects,
      lines: {
        list: async () => [{ definitionJson: JSON.stringify(line), digest: "1" }],
        onChange: () => () => {},
      },
      index: { nextOffset: async () => null, add: async () => {} },
      blocks: async () => [],
      readRows: async () => ({ ids: [], times: [] }),
      writeParquet: async () => {
        throw new Error("too few events for a block");
      },
      schemas: createSchemaReader({
        client: createSchemaRegistryClient({ url: way.url, deadlineMs: 2_000 }),
        now: Date.now,
      }),
      clock: { now: Date.now },
      log,
      fail: (error) => failures.push(error),
      close: async () => {},
    },
  );
  await service.start(new AbortController().signal);
}, 600_000);
afterAll(async () => {
  await service?.stop(5_000);
  await broker?.stop();
  await way?.close();
  await registry?.stop();
  await servers?.stop();
  await rm(folder, { recursive: true });
});

const status = (): LineStatus | undefined => service.lines()["plant"];
const text = ({ value }: StreamRecord): string => Buffer.from(value ?? []).toString();

const written = async (kind: "events" | "rejected"): Promise<number> =>
  (await readTopic(broker, `plant.${kind}`)).length;

/** Long enough for a machine that has much else to do: outputs are held until a checkpoint is saved. */
const PATIENCE_MS = 150_000;

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + PATIENCE_MS; !(await what()); await sleep(50)) {
    if (Date.now() > deadline) throw new Error(`still waiting: ${JSON.stringify(status())}`);
  }
}

describe("records of Confluent's serialisers", () => {
  it("wait while the registry is away", async () => {
    await until(() => status()?.details["waitsFor"] !== undefined);
    expect(status()?.details["waitsFor"]).toContain("schema registry");
    expect(status()?.counts).toEqual({});
    await way.open();
    const received = (): number =>
      ["avro", "protobuf", "json"].reduce(
        (sum, stream) => sum + (status()?.counts[`received.${stream}`] ?? 0),
        0,
      );
    await until(() => received() === 23);
    expect(failures).toEqual([]);
  });

  it("are accepted with their values: exact decimals, times, enums, bytes", async () => {
    await until(async () => (await written("events")) === 7);
    const accepted = (await readTopic(broker, "plant.events")).map((record) => JSON.parse(text(record)).data);
    const claim = { sha256: sha256Hex(Buffer.from("\x89PNG", "latin1")), bytes: 4, mediaType: "image/png" };
    const plain = { at: AT_MS, count: 7, kind: "SLOW" };
    const rich = { ...plain, ok: true, ratio: 0.5, price: 12.34, photo: claim };
    const byId = Object.fromEntries(accepted.map((data) => [data.id, data]));
    expect(byId).toEqual({
      "a-1": { id: "a-1", ...rich },
      "a-2": { id: "a-2", ...rich, price: null, photo: null, count: -(2 ** 53) + 1 },
      "a-3": { id: "a-3", ...rich },
      "a-8": { id: "a-8", ...rich, price: null, photo: null },
      "p-1": { id: "p-1", ...plain, ok: false, ratio: 0.5, photo: claim },
      "p-2": { id: "p-2", ...plain, count: 0, kind: "FAST", ok: null, ratio: 0.5, photo: claim },
      "j-1": { id: "j-1", ...plain },
    });
    expect(await objects.size(claim.sha256)).toBe(4);
  });

  it("are refused for their reasons where they are wrong, with their bytes", async () => {
    await until(async () => (await written("rejected")) === 16);
    const rejected = await readTopic(broker, "plant.rejected");
    const reasons = (stream: string): (string | undefined)[] =>
      rejected
        .filter((record) => headerText(record, "mr-stream") === stream)
        .map((record) => headerText(record, "mr-reason"));
    expect(reasons("avro")).toEqual([
      "out-of-range",
      "too-precise",
      "too-large-blob",
      "not-by-schema",
      "unknown-schema",
      "bad-schema-frame",
      "duplicate-id",
      "not-a-category",
      "wrong-type",
      "missing-field",
    ]);
    expect(reasons("protobuf")).toEqual(["out-of-range", "not-by-schema", "missing-field"]);
    expect(reasons("json")).toEqual(["not-by-schema", "not-by-schema", "not-json"]);
    const unknown = rejected.find((record) => headerText(record, "mr-reason") === "unknown-schema");
    expect([...(unknown?.value?.subarray(0, 5) ?? [])]).toEqual([0, 0x7f, 0xff, 0xff, 0xff]);
    expect(headerText(unknown as StreamRecord, "mr-detail")).toContain("2147483647");
  });
});

/** A way to an address that can be opened: until then, connections are refused. */
async function wayTo(url: string): Promise<typeof way> {
  const { hostname, port, pathname } = new URL(url);
  const listen = async (on: number): Promise<Server> => {
    const server = createServer((socket) => {
      const onward = connect(Number(port), hostname);
      socket.on("error", () => onward.destroy());
      onward.on("error", () => socket.destroy());
      socket.pipe(onward).pipe(socket);
    });
    await new Promise<void>((resolve) => server.listen(on, "127.0.0.1", resolve));
    return server;
  };
  const stop = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));
  let server: Server | null = await listen(0);
  const own = (server.address() as AddressInfo).port;
  await stop(server);
  server = null;
  return {
    url: `http://127.0.0.1:${own}${pathname}`,
    open: async () => {
      server = await listen(own);
    },
    close: async () => {
      if (server !== null) server.close();
    },
  };
}
