import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { createKafkaBroker } from "@millrace/kafka";
import { createLog, sleep } from "@millrace/runtime";
import { type Broker, RecordTooLargeError } from "@millrace/stream";
import { readTopic } from "@millrace/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ADAPTERS, type AdapterName, type Client, openClient, type ValueWriter } from "./adapters.ts";
import { Child } from "./child.ts";
import { compare, Report } from "./report.ts";
import { type Servers, startServers } from "./servers.ts";

/**
 * What stands in the log, and what readers are given, when connections break, brokers die and writers outlive their
 * time: ours must lose nothing, write nothing twice and nothing out of order. The peer's figures stand beside it.
 */
const report = new Report("Kafka clients under faults: the log");
let servers: Servers;
let observer: Broker;
const clients: Client[] = [];

beforeAll(async () => {
  // A connection that is idle for 4 s is cut, so that hours of idling need not be waited for.
  servers = await startServers({ "connections.max.idle.ms": 4_000 });
  observer = createKafkaBroker({ clientId: "observer", ...servers.direct, log: createLog("test", "silent") });
});

afterAll(async () => {
  report.print();
  await Promise.all(clients.map((client) => client.stop()));
  await observer?.stop();
  await servers?.stop();
});

let topics = 0;
async function createTopic(config: Record<string, string> = {}): Promise<string> {
  const name = `log-${++topics}`;
  await observer.ensureTopics([{ name, key: "", owner: "", readers: [], config }], 1);
  return name;
}

function open(adapter: AdapterName, through: "direct" | "proxied" = "direct"): Client {
  const client = openClient(adapter, servers[through]);
  clients.push(client);
  return client;
}

/** Runs it for each adapter at the same time: the same faults hit both. What the peer cannot do is reported. */
const withEach = (fault: string, run: (adapter: AdapterName) => Promise<void>): Promise<unknown> =>
  Promise.all(
    ADAPTERS.map((adapter) => run(adapter).catch((error: unknown) => report.gaveUp(fault, adapter, error))),
  );

const logOf = async (topic: string): Promise<string[]> =>
  (await readTopic(observer, topic)).map((record) => Buffer.from(record.value ?? []).toString());

interface Feed {
  /** Values whose write was acknowledged, and those of which nobody knows. */
  readonly acknowledged: string[];
  readonly unknown: string[];
  slowestMs: number;
  failures: number;
}

/** Writes numbers, 50 at a time, until a second after the end and what was begun is acknowledged. */
async function feed(writer: ValueWriter, end: Promise<void>): Promise<Feed> {
  const fed: Feed = { acknowledged: [], unknown: [], slowestMs: 0, failures: 0 };
  let over = false;
  void end
    .then(() => sleep(1_000))
    .finally(() => {
      over = true;
    });
  for (let i = 0; !over; i += 50) {
    const values = Array.from({ length: 50 }, (_, k) => String(i + k));
    const startedMs = performance.now();
    try {
      await writer.write(values);
      fed.acknowledged.push(...values);
    } catch {
      fed.unknown.push(...values);
      fed.failures++;
    }
    fed.slowestMs = Math.max(fed.slowestMs, performance.now() - startedMs);
    await sleep(5);
  }
  return fed;
}

/** Follows a topic; `catchUp` waits for what was acknowledged, for at most 15 s. */
async function follow(
  client: Client,
  topic: string,
): Promise<{ values: string[]; catchUp(all: readonly string[]): Promise<void> }> {
  const values: string[] = [];
  const seen = new Set<string>();
  const reading = await client.read({
    topic,
    group: `follow-${topic}`,
    onValues: async (batch) => {
      values.push(...batch);
      for (const value of batch) seen.add(value);
    },
    onFailed: () => {},
  });
  return {
    values,
    catchUp: async (all) => {
      const until = performance.now() + 15_000;
      while (all.some((value) => !seen.has(value)) && performance.now() < until) await sleep(50);
      await reading.stop();
    },
  };
}

/** A writer and a reader, and what breaks while they are at work. */
function underFault(fault: string, through: "direct" | "proxied", breakThings: () => Promise<void>): void {
  it(`keeps the log exact: ${fault}`, async () => {
    const start = Promise.withResolvers<void>();
    const broken = start.promise.then(() => sleep(500)).then(breakThings);
    let preparing = ADAPTERS.length;
    /** Nothing breaks before both are at work, or have given up. */
    const prepare = async (adapter: AdapterName) => {
      try {
        const topic = await createTopic();
        const client = open(adapter, through);
        return { topic, follower: await follow(client, topic), writer: await client.writer(topic, null) };
      } finally {
        preparing--;
        if (preparing === 0) start.resolve();
      }
    };
    await withEach(fault, async (adapter) => {
      const { topic, follower, writer } = await prepare(adapter);
      const fed = await feed(writer, broken);
      await follower.catchUp(fed.acknowledged);
      const log = await logOf(topic);
      const written = compare(fed.acknowledged, log);
      const read = compare(fed.acknowledged, follower.values);
      report.add(fault, adapter, {
        lost: written.lost + read.lost,
        duplicated: written.duplicated + read.duplicated,
        stalledMs: fed.slowestMs,
        note: `${log.length} records${fed.failures > 0 ? `, ${fed.failures} writes failed` : ""}`,
      });
      if (adapter !== "millrace") return;
      expect(fed.failures).toBe(0);
      expect(log).toEqual(fed.acknowledged);
      expect(follower.values).toEqual(fed.acknowledged);
    });
    await broken;
  });
}

underFault("connections reset every 150 ms", "proxied", async () => {
  for (let i = 0; i < 30; i++) {
    servers.proxy.breakAll();
    await sleep(150);
  }
  expect(servers.proxy.broken).toBeGreaterThan(30);
});

underFault("nothing passes for 3 s", "proxied", async () => {
  servers.proxy.stopAll();
  await sleep(3_000);
  servers.proxy.resumeAll();
});

underFault("broker killed (SIGKILL) twice", "direct", async () => {
  const [topic, value] = [await createTopic(), "the broker serves"];
  for (let kills = 0; kills < 2; kills++) {
    process.kill(servers.pid(), "SIGKILL");
    await sleep(500);
    await observer.send([{ topic, partition: 0, key: null, value }]);
    await sleep(1_500);
  }
});

underFault("broker stopped (SIGSTOP) for 4 s", "direct", async () => {
  const pid = servers.pid();
  process.kill(pid, "SIGSTOP");
  await sleep(4_000);
  process.kill(pid, "SIGCONT");
});

it("goes on after connections were idle for so long that the broker has cut them", async () => {
  await withEach("idle until cut off", async (adapter) => {
    const topic = await createTopic();
    const client = open(adapter);
    const follower = await follow(client, topic);
    const writer = await client.writer(topic, null);
    await writer.write(["0"]);
    await sleep(7_000);
    const startedMs = performance.now();
    let failed = 0;
    await writer.write(["1"]).catch(() => failed++);
    const stalledMs = performance.now() - startedMs;
    await follower.catchUp(["0", "1"]);
    const log = await logOf(topic);
    report.add("idle until cut off", adapter, {
      ...compare(["0", "1"], follower.values),
      stalledMs,
      note: failed > 0 ? "write failed" : "",
    });
    if (adapter !== "millrace") return;
    expect(log).toEqual(["0", "1"]);
    expect(follower.values).toEqual(["0", "1"]);
    expect(stalledMs).toBeLessThan(2_000);
  });
});

it("takes a writer's name again five times", async () => {
  await withEach("a writer's name taken again 5 times", async (adapter) => {
    const topic = await createTopic();
    const startedMs = performance.now();
    const expected: string[] = [];
    let failures = 0;
    for (let life = 0; life < 5; life++) {
      const writer = await open(adapter).writer(topic, `again-${topic}`);
      const values = Array.from({ length: 100 }, (_, i) => `${life}.${i}`);
      await writer.write(values).catch(() => failures++);
      expected.push(...values);
    }
    const log = await logOf(topic);
    report.add("a writer's name taken again 5 times", adapter, {
      ...compare(expected, log),
      stalledMs: (performance.now() - startedMs) / 5,
      note: `${failures} writes failed`,
    });
    if (adapter === "millrace") expect([failures, log]).toEqual([0, expected]);
  });
});

it("lets a zombie write nothing more once its name was taken", async () => {
  await withEach("a zombie wakes (SIGSTOP, SIGCONT)", async (adapter) => {
    const topic = await createTopic();
    let written = 0;
    let refused = "";
    const name = `zombie-${topic}`;
    const child = new Child("endless-writer.ts");
    child.onLine = (line) => {
      if (line.startsWith("wrote")) written++;
      else refused = line;
    };
    await child.begin({ adapter, access: servers.direct, topic, name });
    while (written < 20) await sleep(10);
    child.signal("SIGSTOP");
    await sleep(100);
    const startedMs = performance.now();
    const writer = await open(adapter).writer(topic, name);
    await writer.write(["successor"]);
    const stalledMs = performance.now() - startedMs;
    child.signal("SIGCONT");
    const until = performance.now() + 10_000;
    while (refused === "" && performance.now() < until) await sleep(20);
    await child.end("SIGKILL");
    const log = await logOf(topic);
    const late = log.slice(log.indexOf("successor") + 1);
    report.add("a zombie wakes (SIGSTOP, SIGCONT)", adapter, {
      lost: log.includes("successor") ? 0 : 1,
      duplicated: late.length,
      stalledMs,
      note: `${late.length} written late; zombie ${refused || "was told nothing"}`,
    });
    if (adapter === "millrace") expect([late, refused]).toEqual([[], "refused FencedError"]);
  });
});

it("refuses a record that is too large, and keeps what was written before it", async () => {
  await withEach("a record too large", async (adapter) => {
    const topic = await createTopic({ "max.message.bytes": "20000" });
    const writer = await open(adapter).writer(topic, null);
    await writer.write(Array.from({ length: 200 }, (_, i) => `${i} ${"x".repeat(500)}`)).catch(() => {});
    const startedMs = performance.now();
    const refusal = await writer.write(["y".repeat(50_000)]).catch((error: unknown) => error);
    const log = await logOf(topic);
    const note =
      log.length === 200
        ? "batches cut to fit"
        : "200 records in a batch larger than the topic allows: refused";
    report.add("a record too large", adapter, {
      lost: 200 - log.length,
      duplicated: 0,
      stalledMs: performance.now() - startedMs,
      note,
    });
    if (adapter !== "millrace") return;
    expect(refusal).toBeInstanceOf(RecordTooLargeError);
    expect(log).toHaveLength(200);
  });
});

it("is held back by a quota without an error", async () => {
  const { home } = servers;
  const [brokers] = servers.direct.brokers;
  const config = ["--alter", "--add-config", "producer_byte_rate=30000,consumer_byte_rate=30000"];
  const whom = ["--entity-type", "clients", "--entity-default"];
  const tool = ["kafka.admin.ConfigCommand", "--bootstrap-server", brokers as string];
  const login = ["--command-config", `${home}/kafka-client.properties`];
  const { ensureKafka } = await import("@millrace/local");
  const classPath = `${await ensureKafka()}/libs/*`;
  await promisify(execFile)("java", ["-cp", classPath, ...tool, ...login, ...config, ...whom]);
  await withEach("quota of 30 kB/s", async (adapter) => {
    const topic = await createTopic();
    const client = open(adapter);
    const follower = await follow(client, topic);
    const writer = await client.writer(topic, null);
    const values = Array.from({ length: 9 }, (_, i) => `${i} ${"x".repeat(40_000)}`);
    const startedMs = performance.now();
    let failures = 0;
    for (const value of values) await writer.write([value]).catch(() => failures++);
    await follower.catchUp(values);
    report.add("quota of 30 kB/s", adapter, {
      ...compare(values, follower.values),
      stalledMs: performance.now() - startedMs,
      note: `${failures} writes failed`,
    });
    if (adapter === "millrace") expect([failures, follower.values]).toEqual([0, values]);
  });
});
