import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lineTopic, sourceTopic } from "@millrace/contracts";
import { defineLine, type LineDefinition } from "@millrace/lines";
import { openParquet, type Parquet } from "@millrace/parquet";
import { createLog, type Service, sleep } from "@millrace/runtime";
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
let service: Service | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-ingest-"));
  broker = createMemoryBroker(() => NOW_MS);
  objects = memoryObjects();
  parquet = await openParquet({ memoryMb: 100, threads: 1, scratch: folder });
  blocks = [];
  applied = [line];
  failures = [];
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
        newest: async () => blocks.at(-1) ?? null,
        add: async (block) => {
          expect(block.firstOffset).toBe(blocks.at(-1)?.nextOffset ?? 0);
          blocks.push(block);
        },
      },
      writeParquet: parquet.write,
      clock: { now: () => Date.now() },
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

/** Records of a topic without what was written again after a crash. */
function distinct(kind: "events" | "rejected"): StreamRecord[] {
  const seen = new Set<string>();
  return broker.records(lineTopic("orders", kind)).filter((record) => {
    const source = headerText(record, "mr-source") as string;
    return seen.size < seen.add(source).size;
  });
}
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
    await until(() => distinct("rejected").length === 3);
    const [placed, returned] = distinct("events");
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
    const broken = distinct("rejected").find(
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
    await until(() => received() === total && distinct("events").length === (total / 5) * 4);
    expect(counts()).toMatchObject({
      "received.placed": total,
      "accepted.placed": (total / 5) * 4,
      "rejected.duplicate-id": total / 5,
    });
    expect(distinct("rejected")).toHaveLength(total / 5);
    expect(new Set(distinct("events").map((record) => JSON.parse(text(record.value)).id)).size).toBe(
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
    expect(blocks.map((block) => [block.firstOffset, block.nextOffset, block.rows])).toEqual([
      [0, 3, 3],
      [3, 6, 3],
    ]);
    const files = await Promise.all(
      blocks.map(async ({ digest }, i) => {
        const file = join(folder, `${i}.parquet`);
        await writeFile(file, await objects.get(digest, { bytesMax: 1e6 }));
        return file;
      }),
    );
    const { columns } = await parquet.read(files, {
      id: "text",
      stream: "text",
      time: "float64",
      offset: "float64",
      source: "text",
      data: "text",
    });
    expect(columns.id).toEqual([0, 1, 2, 3, 4, 5].map((n) => `o-${n}`));
    expect([...columns.time]).toEqual([0, 1, 2, 3, 4, 5].map((n) => NOW_MS + n));
    expect([...columns.offset]).toEqual([0, 1, 2, 3, 4, 5]);
    expect(columns.stream[0]).toBe("placed");
    expect(columns.source[5]).toBe("shop.placed/0/5/0");
    expect(JSON.parse(columns.data[5] as string)).toEqual({
      order: "o-5",
      at: NOW_MS + 5,
      shop: "rome",
      items: 5,
    });
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
    await until(() => distinct("rejected").length === 1);
    const [kept] = distinct("rejected");
    expect(kept?.value?.length).toBe(4 * 1024 * 1024);
    expect(headerText(kept as StreamRecord, "mr-detail")).toContain("not kept as a whole");
    expect(headerText(kept as StreamRecord, "traceparent")).toBeUndefined();
    expect(failures).toEqual([]);
  });
});
