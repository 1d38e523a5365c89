import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lineTopic, sourceTopic } from "@millrace/contracts";
import { type SchemaReader, SchemaRegistryUnavailableError } from "@millrace/events";
import { defineLine, defineServedLine, type LineDefinition } from "@millrace/lines";
import { openParquet, type Parquet } from "@millrace/parquet";
import { createLog, type Service, sha256Hex, sleep } from "@millrace/runtime";
import { type Block, headerText, type StreamRecord } from "@millrace/stream";
import { createMemoryBroker, type MemoryBroker, type MemoryObjects, memoryObjects } from "@millrace/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildIngest } from "./service.ts";

const line: LineDefinition = defineLine({
  name: "orders",
  title: "Will it come back?",
  streams: {
    placed: {
      topic: "shop.placed",
      id: "order",
      time: "at",
      key: ["shop"],
      fields: {
        order: { type: "text" },
        at: { type: "time" },
        shop: { type: "category" },
        items: { type: "integer" },
      },
    },
    returned: {
      topic: "shop.returned",
      id: "order",
      time: "at",
      key: ["shop"],
      fields: {
        order: { type: "text" },
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
    match: "order",
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
});

const NOW_MS = Date.UTC(2001, 0, 5);

let folder: string;
let broker: MemoryBroker;
let objects: MemoryObjects;
let parquet: Parquet;
let blocks: Block[];
let applied: LineDefinition[];
let failures: unknown[];
let schemas: SchemaReader | null;
let clockMs: number;
let service: Service | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-ingest-"));
  broker = createMemoryBroker(() => NOW_MS);
  objects = memoryObjects();
  parquet = await openParquet({ memoryMb: 100, threads: 1, scratch: folder });
  blocks = [];
  applied = [line];
  failures = [];
  schemas = null;
  clockMs = NOW_MS;
});
afterEach(async () => {
  await service?.stop(1_000);
  parquet.close();
  await rm(folder, { recursive: true });
});

async function start(): Promise<Service> {
  service = buildIngest(
    { MILLRACE_DATA: join(folder, "data") },
    {
      broker,
      objects,
      lines: {
        list: async () =>
          applied.map((definition) => ({
            definitionJson: JSON.stringify(definition),
            digest: JSON.stringify(definition),
          })),
        onChange: (look) => {
          const timer = setInterval(look, 20);
          return () => clearInterval(timer);
        },
      },
      index: {
        nextOffset: async () => blocks.at(-1)?.nextOffset ?? null,
        add: async (block) => {
          expect(block.firstOffset).toBe(blocks.at(-1)?.nextOffset ?? block.firstOffset);
          blocks.push(block);
        },
      },
      blocks: async (topic, partition) =>
        blocks.filter((block) => block.topic === topic && block.partition === partition),
      readRows: async (file) => {
        const { columns } = await parquet.read([file], { id: "text", time: "float64" });
        return { ids: columns.id as string[], times: columns.time };
      },
      schemas,
      writeParquet: parquet.write,
      clock: { now: () => clockMs },
      log: createLog("test", "silent"),
      fail: (error) => failures.push(error),
      close: async () => {},
    },
  );
  await service.start(new AbortController().signal);
  await until(() => service?.ready() === true);
  return service;
}

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !what(); i++) await sleep(5);
  expect(what()).toBe(true);
}

const counts = (): Readonly<Record<string, number>> => service?.lines()["orders"]?.counts ?? {};
const received = (): number => (counts()["received.placed"] ?? 0) + (counts()["received.returned"] ?? 0);
const order = (n: number, more: object = {}): object => ({
  order: `o-${n}`,
  at: NOW_MS + n,
  shop: "rome",
  items: n,
  ...more,
});

function write(topic: string, values: readonly unknown[], headers: Record<string, string> = {}): void {
  broker.write(
    values.map((value) => ({
      topic,
      partition: 0,
      key: "rome",
      value: typeof value === "string" ? value : JSON.stringify(value),
      headers,
    })),
  );
}

/** The blocks' files, in their order. */
const blockFiles = (): Promise<string[]> =>
  Promise.all(
    blocks.map(async ({ digest }, i) => {
      const file = join(folder, `${i}.parquet`);
      await writeFile(file, await objects.get(digest, { bytesMax: 1e6 }));
      return file;
    }),
  );

const written = (kind: "events" | "rejected"): readonly StreamRecord[] =>
  broker.records(lineTopic("orders", kind));
const text = (value: Uint8Array | null): string => Buffer.from(value ?? []).toString();

describe("ingest", () => {
  it("accepts and rejects, with key, stream, reason, origin and the bytes as they came", async () => {
    await start();
    write("shop.placed", [order(1), "{broken", order(1)]);
    write("shop.returned", [order(1)], {
      note: "kept",
      "mr-source": "made/0/0/0",
      "mr-replay-of": "shop.returned/0/9",
    });
    write("shop.returned", [order(2, { items: "2" })]);
    await until(() => received() === 5);
    expect(counts()).toEqual({
      "received.placed": 3,
      "received.returned": 2,
      "accepted.placed": 1,
      "accepted.returned": 1,
      rejected: 3,
      "rejected.not-json": 1,
      "rejected.duplicate-id": 1,
      "rejected.wrong-type": 1,
      replayed: 1,
    });
    await until(() => written("rejected").length === 3);
    const [placed, returned] = written("events");
    expect(JSON.parse(text(placed?.value ?? null))).toEqual({
      id: "o-1",
      stream: "placed",
      time: NOW_MS + 1,
      data: { order: "o-1", at: NOW_MS + 1, shop: "rome", items: 1 },
    });
    expect(text(placed?.key ?? null)).toBe("rome");
    expect(headerText(placed as StreamRecord, "mr-stream")).toBe("placed");
    expect(headerText(placed as StreamRecord, "mr-source")).toBe("shop.placed/0/0/0");
    expect(headerText(returned as StreamRecord, "mr-source")).toBe("shop.returned/0/0/0");
    const broken = written("rejected").find(
      (record) => headerText(record, "mr-reason") === "not-json",
    ) as StreamRecord;
    expect(text(broken.value)).toBe("{broken");
    expect(headerText(broken, "mr-origin")).toBe("shop.placed/0/1");
    expect(headerText(broken, "mr-detail")).toContain("not JSON");
    expect(service?.lines()["orders"]?.streamTimeMs).toBe(NOW_MS + 1);
    expect(failures).toEqual([]);
  });

  it("counts exactly, and takes each id once, although it dies again and again", async () => {
    const total = 400;
    let sent = 0;
    for (let crash = 0; crash < 8; crash++) {
      await start();
      for (const end = sent + total / 8; sent < end; sent += 5) {
        const batch = [sent, sent + 1, sent + 2, sent + 3].map((n) => order(n));
        write("shop.placed", [...batch, order(sent)]);
      }
      broker.loseNextAck();
      if (crash % 2 === 0) await until(() => failures.length > 0);
      failures = [];
      await service?.stop(1_000);
    }
    await start();
    await until(() => received() === total && written("events").length === (total / 5) * 4);
    expect(counts()).toMatchObject({
      "received.placed": total,
      "accepted.placed": (total / 5) * 4,
      "rejected.duplicate-id": total / 5,
    });
    expect(written("rejected")).toHaveLength(total / 5);
    expect(new Set(written("events").map((record) => JSON.parse(text(record.value)).id)).size).toBe(
      (total / 5) * 4,
    );
  });

  it("archives accepted events as Parquet, each once over restarts", async () => {
    for (const from of [0, 3]) {
      await start();
      write("shop.placed", [order(from), order(from + 1), order(from + 2)]);
      await until(() => received() === from + 3 && broker.records("orders.events").length === from + 3);
      await until(() => service?.lines()["orders"]?.lag["archive"] === 0);
      await sleep(100);
      await service?.stop(1_000);
    }
    // Each start has used an offset up.
    expect(blocks.map((block) => [block.firstOffset, block.nextOffset, block.rows])).toEqual([
      [1, 4, 3],
      [4, 8, 3],
    ]);
    const { columns } = await parquet.read(await blockFiles(), {
      id: "text",
      stream: "text",
      time: "float64",
      accepted_at: "float64",
      offset: "float64",
      source: "text",
      "placed.order": "text",
      "placed.at": "float64",
      "placed.items": "float64",
      "returned.order": "text",
      "returned.items": "float64",
    });
    const numbers = [0, 1, 2, 3, 4, 5];
    expect(columns.id).toEqual(numbers.map((n) => `o-${n}`));
    expect([...columns.time]).toEqual(numbers.map((n) => NOW_MS + n));
    expect([...columns.accepted_at]).toEqual(numbers.map(() => NOW_MS));
    expect([...columns.offset]).toEqual([1, 2, 3, 5, 6, 7]);
    expect(columns.stream[0]).toBe("placed");
    expect(columns.source[5]).toBe("shop.placed/0/5/0");
    expect(columns["placed.order"]).toEqual(columns.id);
    expect(columns["placed.at"]).toEqual(columns.time);
    expect([...columns["placed.items"]]).toEqual(numbers);
    expect(columns["returned.order"]).toEqual(numbers.map(() => null));
    expect([...columns["returned.items"]]).toEqual(numbers.map(() => Number.NaN));
  });

  it("keeps accepting while the object store is away", async () => {
    await start();
    objects.available = false;
    write("shop.placed", [order(1)]);
    await until(() => counts()["accepted.placed"] === 1);
    expect(failures).toEqual([]);
  });

  it("refuses a line whose topic has another number of partitions, and says so", async () => {
    await broker.ensureTopics([sourceTopic("shop.placed")], 3);
    await start();
    expect(service?.lines()["orders"]).toMatchObject({
      counts: {},
      details: {
        state: "refused",
        problem:
          'topic "shop.placed" has 3 partitions and line "orders" 1: set partitions of the line to 3, or make the topic anew with 1',
      },
    });
  });

  it("passes over a line without streams", async () => {
    applied = [defineServedLine({ name: "embedder", title: "Sentences as vectors" }), line];
    await start();
    write("shop.placed", [order(1)]);
    await until(() => counts()["accepted.placed"] === 1);
    expect(Object.keys(service?.lines() ?? {})).toEqual(["orders"]);
    expect(failures).toEqual([]);
  });

  it("takes a changed definition up, with its counts and its memory of ids", async () => {
    await start();
    write("shop.placed", [order(1), order(5_000)]);
    await until(() => received() === 2);
    applied = [{ ...line, limits: { ...line.limits, eventBytesMax: 100 } }];
    await until(() => service?.lines()["orders"]?.details["digest"] === JSON.stringify(applied[0]));
    await until(() => service?.ready() === true && received() === 2);
    write("shop.placed", [order(1), order(2, { note: "x".repeat(200) })]);
    await until(() => received() === 4);
    expect(counts()).toMatchObject({
      "accepted.placed": 2,
      "rejected.duplicate-id": 1,
      "rejected.too-large": 1,
    });
  });

  it("keeps of a record that cannot be written again what can", async () => {
    await start();
    const huge = "x".repeat(5_000_000);
    const records = broker.records("shop.placed") as StreamRecord[];
    await broker.ensureTopics([{ ...sourceTopic("huge"), config: { "max.message.bytes": "9000000" } }], 1);
    expect(records).toEqual([]);
    applied = [
      {
        ...line,
        streams: { ...line.streams, placed: { ...line.streams["placed"], topic: "huge" } },
      } as LineDefinition,
    ];
    await until(() => service?.lines()["orders"]?.details["digest"] === JSON.stringify(applied[0]));
    write("huge", [huge], { traceparent: "x".repeat(70_000) });
    await until(() => written("rejected").length === 1);
    const [kept] = written("rejected");
    expect(kept?.value?.length).toBe(4 * 1024 * 1024);
    expect(headerText(kept as StreamRecord, "mr-detail")).toContain("not kept as a whole");
    expect(headerText(kept as StreamRecord, "traceparent")).toBeUndefined();
    expect(failures).toEqual([]);
  });

  it("refuses what comes too late, and says how far the line has come", async () => {
    applied = [
      {
        ...line,
        streams: { ...line.streams, placed: { ...line.streams["placed"], lateMax: "10s" } },
      } as LineDefinition,
    ];
    await start();
    expect(service?.lines()["orders"]?.details).toMatchObject({ watermarkMs: null, idlePartitions: [] });
    write(
      "shop.placed",
      [0, 1, 2, 3, 4, 5, 6, 7].map((n) => order(n)),
    );
    write("shop.placed", [order(8, { at: NOW_MS - 10_001 })]);
    await until(() => received() === 9);
    expect(counts()).toMatchObject({ "accepted.placed": 8, "rejected.too-late": 1 });
    const details = (): Record<string, unknown> => service?.lines()["orders"]?.details ?? {};
    expect(details()).toMatchObject({
      watermarkMs: NOW_MS - 10_000,
      watermarks: { placed: NOW_MS - 10_000, returned: null },
      idlePartitions: [],
    });
    clockMs += 60_000;
    expect(details()).toMatchObject({ watermarkMs: null, idlePartitions: [0] });
  });
});

const pictured: LineDefinition = defineLine({
  ...featuresOnly("pictures"),
  streams: {
    taken: {
      topic: "camera.taken",
      id: "id",
      time: "at",
      key: ["id"],
      fields: {
        id: { type: "text" },
        at: { type: "time" },
        price: { type: "decimal", scale: 2, optional: true },
        ok: { type: "boolean", optional: true },
        note: { type: "text", claimAbove: 10, optional: true },
        photo: { type: "blob", mediaType: "image/png", bytesMax: 1_000, optional: true },
      },
    },
  },
  predict: { on: "taken" },
  features: { hour: { kind: "hour", of: "at" } },
});

describe("a line with blobs", () => {
  const png = Buffer.from([1, 2, 3]);
  const taken = (id: string, more: object = {}): object => ({ id, at: NOW_MS, ...more });
  const accepted = (): Record<string, unknown>[] =>
    broker.records("pictures.events").map(({ value }) => JSON.parse(text(value)).data);
  const picturedCounts = (): Readonly<Record<string, number>> => service?.lines()["pictures"]?.counts ?? {};

  it("stores the bytes before it writes the event, which carries their claim; the archive has their digest", async () => {
    applied = [pictured];
    await start();
    const note = "a note that is longer";
    write("camera.taken", [
      taken("p-1", { photo: png.toString("base64"), note, price: 12.34, ok: true }),
      taken("p-2", { note: "short" }),
    ]);
    await until(() => broker.records("pictures.events").length === 2);
    const claim = { sha256: sha256Hex(png), bytes: 3, mediaType: "image/png" };
    const noteClaim = { sha256: sha256Hex(note), bytes: note.length, mediaType: "text/plain; charset=utf-8" };
    expect(accepted()).toEqual([
      { id: "p-1", at: NOW_MS, price: 12.34, ok: true, note: noteClaim, photo: claim },
      { id: "p-2", at: NOW_MS, price: null, ok: null, note: "short", photo: null },
    ]);
    expect(await objects.get(claim.sha256, { bytesMax: 9 })).toEqual(new Uint8Array(png));

    await until(() => service?.lines()["pictures"]?.lag["archive"] === 0);
    await sleep(50);
    await service?.stop(1_000);
    const { columns } = await parquet.read(await blockFiles(), {
      "taken.price": "float64",
      "taken.ok": "float64",
      "taken.note": "text",
      "taken.note.sha256": "text",
      "taken.photo.sha256": "text",
    });
    expect(columns).toEqual({
      "taken.price": Float64Array.from([12.34, Number.NaN]),
      "taken.ok": Float64Array.from([1, Number.NaN]),
      "taken.note": [null, "short"],
      "taken.note.sha256": [noteClaim.sha256, null],
      "taken.photo.sha256": [claim.sha256, null],
    });
  });

  it("takes a claim of what is in the store, and refuses any other", async () => {
    applied = [pictured];
    await start();
    const claim = { sha256: await objects.put(png), bytes: 3, mediaType: "image/png" };
    write("camera.taken", [
      taken("p-1", { photo: claim }),
      taken("p-2", { photo: { ...claim, sha256: "0a".repeat(32) } }),
      taken("p-3", { photo: { ...claim, bytes: 4 } }),
    ]);
    await until(() => picturedCounts()["received.taken"] === 3);
    expect(picturedCounts()).toMatchObject({ "accepted.taken": 1, "rejected.unknown-claim": 2 });
    // A refused event may come again when the bytes are there.
    write("camera.taken", [taken("p-3", { photo: claim })]);
    await until(() => picturedCounts()["accepted.taken"] === 2);
  });

  it("waits while the store is away, loses nothing, and lets other lines go on", async () => {
    applied = [pictured, line];
    await start();
    objects.available = false;
    write("camera.taken", [taken("p-1"), taken("p-2", { photo: "AAAA" }), taken("p-3")]);
    write("shop.placed", [order(1)]);
    await until(() => counts()["accepted.placed"] === 1);
    await until(() => service?.lines()["pictures"]?.details["waitsFor"] !== undefined);
    expect(service?.lines()["pictures"]?.details["waitsFor"]).toContain("object store");
    expect(accepted()).toEqual([]);
    // A stop in the midst of it: nothing is decided, all is read again.
    await service?.stop(1_000);
    expect(failures).toEqual([]);
    objects.available = true;
    await start();
    await until(() => broker.records("pictures.events").length === 3);
    expect(accepted().map(({ id }) => id)).toEqual(["p-1", "p-2", "p-3"]);
  });
});

const framed: LineDefinition = defineLine({
  ...featuresOnly("framed"),
  streams: {
    made: {
      topic: "plant.made",
      format: "schema-registry",
      id: "id",
      time: "at",
      key: ["id"],
      fields: { id: { type: "text" }, at: { type: "time" }, ratio: { type: "number" } },
    },
  },
  predict: { on: "made" },
  features: { ratio: { kind: "field", field: "ratio" } },
});

describe("a line with schemas", () => {
  it("is refused where no registry is set, and says how to set one", async () => {
    applied = [framed];
    await start();
    expect(service?.lines()["framed"]?.details).toMatchObject({
      state: "refused",
      problem: expect.stringContaining("MILLRACE_SCHEMA_REGISTRY_URL"),
    });
  });

  it("waits for a registry that is away, then accepts in the order of the log", async () => {
    applied = [framed];
    let isAway = true;
    schemas = {
      open: async ({ value }) => {
        if (isAway) throw new SchemaRegistryUnavailableError("away");
        await sleep(Math.random() * 5);
        return JSON.parse(text(value));
      },
    };
    await start();
    write(
      "plant.made",
      Array.from({ length: 50 }, (_, n) => ({ id: `m-${n}`, at: NOW_MS, ratio: n / 3 })),
    );
    write("plant.made", [
      { id: "m-1", at: NOW_MS, ratio: 1 },
      { id: "m-50", at: NOW_MS, ratio: "1" },
    ]);
    await until(() => service?.lines()["framed"]?.details["waitsFor"] !== undefined);
    expect(broker.records("framed.events")).toEqual([]);
    isAway = false;
    await until(() => service?.lines()["framed"]?.counts["received.made"] === 52);
    expect(service?.lines()["framed"]?.counts).toMatchObject({
      "accepted.made": 50,
      "rejected.duplicate-id": 1,
      "rejected.wrong-type": 1,
    });
    await until(() => broker.records("framed.events").length === 50);
    const ids = broker.records("framed.events").map(({ value }) => JSON.parse(text(value)).id);
    expect(ids).toEqual(Array.from({ length: 50 }, (_, n) => `m-${n}`));
    expect(service?.lines()["framed"]?.details["waitsFor"]).toBeUndefined();
  });
});

const direct: LineDefinition = defineLine({
  ...featuresOnly("direct"),
  streams: {
    made: {
      topic: "plant.direct",
      id: "id",
      time: "at",
      key: ["id"],
      lateMax: "1h",
      fields: { id: { type: "text" }, at: { type: "time" } },
    },
  },
  predict: { on: "made" },
  features: { hour: { kind: "hour", of: "at" } },
});

describe("a line whose event log is the producer's topic", () => {
  it("has its refusals written, and its events archived by the same decisions, over restarts", async () => {
    applied = [direct];
    const directCounts = (): Readonly<Record<string, number>> => service?.lines()["direct"]?.counts ?? {};
    const made = (n: number, more: object = {}): object => ({ id: `m-${n}`, at: NOW_MS + n, ...more });
    for (const from of [0, 10, 20]) {
      await start();
      // Eight new ones, one that came in the first round, and one that is too late from then on.
      const news = Array.from({ length: 8 }, (_, i) => made(from + i));
      write("plant.direct", [
        ...news,
        made(0),
        made(from + 8, { at: NOW_MS - 3_600_001 - (from === 0 ? 10 : 0) }),
      ]);
      await until(() => directCounts()["received.made"] === from + 10);
      await until(() => service?.lines()["direct"]?.lag["archive"] === 0);
      await sleep(50);
      await service?.stop(1_000);
    }
    expect(broker.records("direct.events")).toEqual([]);
    const reasons = broker.records("direct.rejected").map((record) => headerText(record, "mr-reason"));
    expect(reasons).toEqual([
      "duplicate-id",
      "too-late",
      "duplicate-id",
      "too-late",
      "duplicate-id",
      "too-late",
    ]);
    expect(blocks.map(({ topic, rows }) => [topic, rows])).toEqual([
      ["plant.direct", 8],
      ["plant.direct", 8],
      ["plant.direct", 8],
    ]);
    const { columns } = await parquet.read(await blockFiles(), {
      id: "text",
      source: "text",
      offset: "float64",
    });
    expect(columns.id).toEqual(
      [0, 10, 20].flatMap((from) => Array.from({ length: 8 }, (_, i) => `m-${from + i}`)),
    );
    expect(columns.source[8]).toBe("plant.direct/0/10/0");
    expect(columns.offset[8]).toBe(10);
    expect(failures).toEqual([]);
  });
});

/** What a line of features only needs besides its streams and features. */
function featuresOnly<N extends string>(name: N): { readonly name: N; readonly title: string } {
  return { name, title: `The line ${name}` };
}
