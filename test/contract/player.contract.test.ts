import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { sourceTopic } from "@millrace/contracts";
import { buildIngest } from "@millrace/ingest";
import { createKafkaBroker } from "@millrace/kafka";
import flights from "@millrace/line-flights";
import { BAD_KINDS, badEvent } from "@millrace/line-flights/bad-events";
import { startTestServers, type TestServers } from "@millrace/local";
import { openParquet, type Parquet } from "@millrace/parquet";
import { createLog, type Service, sleep } from "@millrace/runtime";
import { type Block, type Broker, headerText, type StreamRecord } from "@millrace/stream";
import { memoryObjects, readTopic } from "@millrace/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

const PLAYER = fileURLToPath(import.meta.resolve("@millrace/line-flights/play"));
const TOPICS = ["flights.departures", "flights.arrivals"] as const;
const log = createLog("test", "silent");

let servers: TestServers<{ kafka: true }>;
let broker: Broker;
let folder: string;
let parquet: Parquet;
const players: ChildProcess[] = [];
let service: Service | undefined;

beforeAll(async () => {
  servers = await startTestServers({ kafka: true });
  const { brokers, username, password } = servers.kafka;
  const sasl = username === undefined || password === undefined ? null : { username, password };
  broker = createKafkaBroker({ clientId: "test", brokers: brokers.split(","), sasl, log });
  await broker.ensureTopics(TOPICS.map(sourceTopic), 1);
  folder = await mkdtemp(join(tmpdir(), "millrace-player-"));
  parquet = await openParquet({ memoryMb: 100, threads: 1, scratch: folder });
}, 120_000);
afterEach(() => {
  for (const player of players.splice(0)) player.kill("SIGKILL");
});
afterAll(async () => {
  await service?.stop(5_000);
  parquet.close();
  await broker.stop();
  await servers.stop();
  await rm(folder, { recursive: true });
});

interface Report {
  readonly sent: number;
  readonly departures: number;
  readonly arrivals: number;
  readonly bad: number;
  readonly eventTime: string;
  readonly shockAt: string | null;
}

function play(...args: string[]): { player: ChildProcess; reports: Report[]; ended: Promise<number | null> } {
  const { brokers, username = "", password = "" } = servers.kafka;
  const player = spawn(process.execPath, [PLAYER, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: {
      MILLRACE_KAFKA_BROKERS: brokers,
      MILLRACE_KAFKA_USERNAME: username,
      MILLRACE_KAFKA_PASSWORD: password,
    },
  });
  players.push(player);
  const reports: Report[] = [];
  if (player.stdout) createInterface(player.stdout).on("line", (line) => reports.push(JSON.parse(line)));
  return { player, reports, ended: once(player, "close").then(([code]) => code as number | null) };
}

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (await what()) return;
    await sleep(100);
  }
  expect.unreachable("it did not happen within a minute");
}

const ends = async (): Promise<number[]> =>
  Promise.all(TOPICS.map(async (topic) => (await broker.offsets(topic))[0]?.end ?? 0));

/** All records of the topics, one topic after another. */
async function readAll(topics: readonly string[]): Promise<StreamRecord[]> {
  return (await Promise.all(topics.map((topic) => readTopic(broker, topic)))).flat();
}

const fieldsOf = (record: StreamRecord): Record<string, unknown> =>
  JSON.parse(Buffer.from(record.value ?? []).toString());

describe("the player of flights", () => {
  const progress = (): string => join(folder, "player.json");

  it("stops cleanly, goes on where it was, and sends each event once and in order", async () => {
    const args = ["--speed", "20000", "--progress", progress(), "--shock=2001-01-01T06:00Z"];
    const first = play(...args);
    await until(() => (first.reports.at(-1)?.sent ?? 0) > 1_000);
    first.player.kill("SIGTERM");
    expect(await first.ended).toBe(0);
    const stopped = first.reports.at(-1) as Report;
    expect(await ends()).toEqual([stopped.departures, stopped.arrivals]);
    expect(stopped.shockAt).toBe("2001-01-01T06:00:00.000Z");

    const second = play(...args, "--max-events", "5000", "--rate", "4000");
    expect(await second.ended).toBe(0);
    const report = second.reports.at(-1) as Report;
    expect(report.sent).toBe(stopped.sent + 5_000);
    expect(await ends()).toEqual([report.departures, report.arrivals]);
    expect(JSON.parse(await readFile(progress(), "utf8"))).toMatchObject({ departures: report.departures });

    const records = await readAll(TOPICS);
    for (const [topic, field] of [
      ["flights.departures", "due"],
      ["flights.arrivals", "landed"],
    ] as const) {
      const own = records.filter((record) => record.topic === topic);
      const times = own.map((record) => String(fieldsOf(record)[field]));
      const stamps = own.map((record) => record.timestampMs);
      expect(times).toEqual([...times].sort());
      expect(stamps).toEqual([...stamps].sort((a, b) => a - b));
      expect(new Set(own.map((record) => fieldsOf(record)["flight"])).size).toBe(own.length);
      expect(
        own.every((record) => Buffer.from(record.key ?? []).toString() === fieldsOf(record)["origin"]),
      ).toBe(true);
    }
  }, 90_000);

  it("sends at most one tick again after kill -9", async () => {
    const before = await ends();
    const first = play("--speed", "20000", "--progress", progress());
    await until(async () => (await ends())[0] !== before[0] && first.reports.length > 1);
    first.player.kill("SIGKILL");
    await first.ended;
    await sleep(500);
    const [departures = 0, arrivals = 0] = await ends();
    const kept = JSON.parse(await readFile(progress(), "utf8"));
    const again = departures + arrivals - kept.departures - kept.arrivals;
    expect(again).toBeGreaterThanOrEqual(0);
    expect(again).toBeLessThan(2_000);
    const rest = play("--progress", progress(), "--max-events", "100");
    expect(await rest.ended).toBe(0);
    expect((await ends()).reduce((a, b) => a + b)).toBe(departures + arrivals + 100);
  }, 90_000);

  it("has its wrong records rejected, each for its reason, and nothing else disturbed", async () => {
    const bad = 2 * BAD_KINDS.length;
    const blocks: Block[] = [];
    const failures: unknown[] = [];
    service = buildIngest(
      { MILLRACE_DATA: join(folder, "ingest") },
      {
        broker,
        objects: memoryObjects(),
        lines: {
          list: async () => [{ definitionJson: JSON.stringify(flights), digest: "1" }],
          onChange: () => () => {},
        },
        index: { nextOffset: async () => null, add: async (block) => void blocks.push(block) },
        blocks: async () => [],
        readRows: async () => ({ ids: [], times: [] }),
        schemas: null,
        writeParquet: parquet.write,
        clock: { now: () => Date.now() },
        log,
        fail: (error) => failures.push(error),
        close: async () => {},
      },
    );
    await service.start(new AbortController().signal);
    const player = play("--progress", progress(), "--max-events", "3000", "--bad", String(bad));
    expect(await player.ended).toBe(0);
    const report = player.reports.at(-1) as Report;
    expect(report.bad).toBe(bad);
    const counts = (): Readonly<Record<string, number>> => service?.lines()["flights"]?.counts ?? {};
    const total = (await ends()).reduce((a, b) => a + b);
    await until(
      () => (counts()["received.departures"] ?? 0) + (counts()["received.arrivals"] ?? 0) === total,
    );

    const { rejected = 0, "accepted.departures": departures, "accepted.arrivals": arrivals } = counts();
    expect([departures, arrivals]).toEqual([report.departures, report.arrivals]);
    expect((departures ?? 0) + (arrivals ?? 0) + rejected).toBe(total);
    const expected: Record<string, number> = {};
    for (let n = 0; n < bad; n++) {
      const context = {
        nowMs: Date.now(),
        accepted: { flight: "f", due: "", origin: "A", destination: "B", distance: 1 },
      };
      const name = `rejected.${badEvent(n, context).reason}`;
      expected[name] = (expected[name] ?? 0) + 1;
    }
    // What the killed player sent again are duplicates besides.
    const again = rejected - bad;
    expected["rejected.duplicate-id"] = (expected["rejected.duplicate-id"] ?? 0) + again;
    expect(counts()).toMatchObject(expected);

    await until(async () => (await readTopic(broker, "flights.rejected")).length === rejected);
    const kept = await readAll(["flights.rejected"]);
    expect(kept.filter((record) => (record.value?.length ?? 0) > 2_000_000)).toHaveLength(2);
    expect(kept.every((record) => headerText(record, "mr-detail") !== undefined)).toBe(true);
    expect(failures).toEqual([]);
    await service.stop(10_000);
    expect(blocks.reduce((rows, block) => rows + block.rows, 0)).toBe((departures ?? 0) + (arrivals ?? 0));
  }, 120_000);

  it("says what is wrong with an option", async () => {
    expect(await play("--speed", "fast").ended).toBe(2);
    expect(await play("--velocity", "9").ended).toBe(2);
  });
});
