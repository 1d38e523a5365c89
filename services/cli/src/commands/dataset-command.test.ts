import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlockFiles } from "@millrace/archive";
import flights from "@millrace/line-flights";
import { defineLine, eventLog, type LineDefinition } from "@millrace/lines";
import { openParquet, PARQUET_MODULE, type Parquet, type WriteColumn } from "@millrace/parquet";
import { type Block, partitionOf } from "@millrace/stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Context } from "../context.ts";
import type { Clients } from "../mesh.ts";
import { type DatasetOptions, writeDataset } from "./dataset-command.ts";

const START_MS = Date.UTC(2024, 0, 1);
const HOUR_MS = 3_600_000;

const shop: LineDefinition = defineLine({
  name: "shop",
  title: "Shop",
  partitions: 2,
  streams: {
    payments: {
      topic: "shop.payments",
      id: "id",
      time: "at",
      key: ["account"],
      fields: {
        id: { type: "text" },
        at: { type: "time" },
        account: { type: "text" },
        amount: { type: "decimal", scale: 2, optional: true },
      },
    },
  },
  predict: { on: "payments" },
  features: {
    amount: { kind: "field", field: "amount" },
    count_1h: { kind: "window", aggregate: "count", from: "payments", by: ["account"], window: "1h" },
    sum_1h: {
      kind: "window",
      aggregate: "sum",
      of: "amount",
      from: "payments",
      by: ["account"],
      window: "1h",
    },
  },
});

let folder: string;
let parquet: Parquet;
let blocks: Block[];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "dataset-command-"));
  mkdirSync(join(folder, "blocks"));
  parquet = await openParquet({ memoryMb: 128, threads: 1, scratch: join(folder, "spill") });
  // A payment of 1.50 each minute, all of one account.
  const times = Float64Array.from({ length: 60 }, (_, i) => START_MS + i * 60_000);
  const whole = (values: Float64Array): WriteColumn => ({ kind: "integer", values });
  await parquet.write(join(folder, "blocks", "b0.parquet"), {
    stream: { kind: "text", values: Array.from(times, () => "payments") },
    time: whole(times),
    accepted_at: whole(times),
    offset: whole(Float64Array.from(times.keys())),
    "payments.account": { kind: "text", values: Array.from(times, () => "007") },
    "payments.amount": { kind: "decimal", scale: 2, values: times.map(() => 150) },
  });
  const [minTimeMs, maxTimeMs] = [times[0] as number, times.at(-1) as number];
  const place = {
    line: "shop",
    topic: eventLog(shop).topic,
    partition: partitionOf("007", shop.partitions),
    firstOffset: 0,
    nextOffset: 60,
    rows: 60,
  };
  blocks = [{ ...place, digest: "b0", bytes: 1, minTimeMs, maxTimeMs, maxKnownAtMs: 0 }];
});
afterAll(() => {
  parquet.close();
  rmSync(folder, { recursive: true });
});

const file = (name: string): string => join(folder, name);
const csv = (name: string, ...rows: string[]): string => {
  writeFileSync(file(name), rows.join("\n"));
  return file(name);
};

async function dataset(
  name: string,
  options: Partial<DatasetOptions>,
  archived: readonly Block[] = blocks,
): ReturnType<typeof writeDataset> {
  const lines = [shop, flights].map((line) => ({ name: line.name, definitionJson: JSON.stringify(line) }));
  const clients = {
    registry: { listLines: async () => ({ lines }) },
    archivedBlocks: async (topic: string) => archived.filter((block) => block.topic === topic),
    archive: { files: new BlockFiles(file("blocks"), { getToFile: async () => {} }) },
    tables: { ...parquet, scan: { module: PARQUET_MODULE, memoryMb: 64, scratch: file("replay") } },
  } as unknown as Clients;
  const context = {
    io: { writeError: () => {} },
    json: true,
    now: () => 0,
    stop: new AbortController().signal,
    withClients: (work: (given: Clients) => Promise<unknown>) => work(clients),
  } as unknown as Context;
  return writeDataset(context, name, {
    out: file("out.parquet"),
    order: "event-time",
    prefix: "",
    threads: 2,
    ...options,
  });
}

describe("features dataset", () => {
  it("writes the vectors of questions beside the questions' own columns", async () => {
    const questions = csv(
      "q.csv",
      "who,account,at,amount,label",
      "x,007,2024-01-01T00:10:30Z,2.25,1",
      "y,008,2024-01-01T00:20:00Z,,0",
      "z,007,2024-01-01T00:30:00+00:00,1,1",
    );
    const { json, text } = await dataset("shop", { questions });
    expect(json).toMatchObject({
      line: "shop",
      rows: 3,
      eventsReplayed: expect.any(Number),
      featureDigest: expect.stringMatching(/^[0-9a-f]{64}$/),
      file: file("out.parquet"),
    });
    expect(text).toContain("3 rows in ");
    const table = await parquet.openTable(file("out.parquet"));
    expect(table.columns.map(({ name, type }) => [name, type])).toEqual([
      ["who", "VARCHAR"],
      ["account", "VARCHAR"],
      ["at", "TIMESTAMP WITH TIME ZONE"],
      ["label", "BIGINT"],
      ["amount", "DOUBLE"],
      ["count_1h", "DOUBLE"],
      ["sum_1h", "DOUBLE"],
    ]);
    expect(await table.read(["who", "account", "amount", "count_1h", "sum_1h"])).toEqual({
      who: ["x", "y", "z"],
      account: ["007", "008", "007"],
      amount: Float64Array.of(2.25, Number.NaN, 1),
      count_1h: Float64Array.of(11, 0, 31),
      sum_1h: Float64Array.of(16.5, 0, 46.5),
    });
  });

  it("keeps to times, counts a question itself where it is told so, and puts a prefix before names", async () => {
    const questions = csv(
      "times.csv",
      "account,at,amount,sum_1h",
      "007,1704067830000,2,0",
      "007,1704069000000,4,0",
    );
    const from = START_MS + 20 * 60_000;
    await dataset("shop", { questions, from, counted: true, prefix: "f_" });
    const table = await parquet.openTable(file("out.parquet"));
    expect(await table.read(["at", "amount", "f_amount", "f_count_1h", "f_sum_1h"])).toEqual({
      at: Float64Array.of(1_704_069_000_000),
      amount: Float64Array.of(4),
      f_amount: Float64Array.of(4),
      f_count_1h: Float64Array.of(32),
      f_sum_1h: Float64Array.of(50.5),
    });
  });

  it.each<[string, string, string[], Partial<DatasetOptions>, RegExp]>([
    ["a line that is not applied", "nowhere", ["account,at"], {}, /line "nowhere" is not applied/],
    ["a missing key column", "shop", ["at", "2024-01-01T00:10:00Z"], {}, /no column "account", a key field/],
    ["a missing key", "shop", ["account,at", ",2024-01-01T00:10:00Z"], {}, /question 1 has no account/],
    [
      "a column of another type",
      "shop",
      ["account,at,amount", "7,2024-01-01T00:10:00Z,much"],
      {},
      /"amount" is VARCHAR, declared as decimal/,
    ],
    [
      "a value that is out of range",
      "shop",
      ["account,at,amount", "7,2024-01-01T00:10:00Z,0.125"],
      {},
      /question 1 .* more than 2 decimal places/,
    ],
    [
      "a time that is not archived",
      "shop",
      ["account,at", "7,2024-01-01T00:59:01Z"],
      {},
      /1 of 1 questions are out of range, .* to 2024-01-01T00:59:00.000Z/,
    ],
    [
      "no question",
      "shop",
      ["account,at", "7,2024-01-01T00:10:00Z"],
      { from: START_MS + HOUR_MS },
      /no question .* asked for/,
    ],
    [
      "no known_at",
      "shop",
      ["account,at", "7,2024-01-01T00:10:00Z"],
      { order: "acceptance" },
      /each question needs the time/,
    ],
    [
      "two columns of one name",
      "shop",
      ["account,at,Sum_1H", "7,2024-01-01T00:10:00Z,1"],
      {},
      /two columns "sum_1h"/,
    ],
  ])("refuses %s, and says what to do", async (_, name, rows, options, message) => {
    const out = file("refused.parquet");
    const refused = dataset(name, { questions: csv("refused.csv", ...rows), out, ...options });
    await expect(refused).rejects.toMatchObject({ name: "Failure", remedy: expect.stringMatching(/\w/) });
    await expect(refused).rejects.toThrow(message);
    expect(existsSync(out)).toBe(false);
  });

  it("refuses a line that has nothing archived, or no examples", async () => {
    await expect(dataset("flights", {})).rejects.toThrow('nothing of line "flights" is archived yet');
    await expect(dataset("shop", {})).rejects.toThrow('line "shop" has no label');
    const questions = csv("same.parquet.csv", "account,at");
    await expect(dataset("shop", { questions, out: file("missing/out.parquet") })).rejects.toThrow(
      "there is no folder",
    );
  });
});
