import { join } from "node:path";
import { createKafkaBroker, LogTruncatedError, RecordsLostError, TopicRecreatedError } from "@millrace/kafka";
import { createLog, sleep } from "@millrace/runtime";
import { type Broker, passingMember } from "@millrace/stream";
import { random, readTopic } from "@millrace/testkit";
import kafkajs from "kafkajs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ADAPTERS, type AdapterName, type Client, openClient } from "./adapters.ts";
import { Child } from "./child.ts";
import { compare, Report } from "./report.ts";
import { type Servers, startServers } from "./servers.ts";

/**
 * Groups and readers under faults: members that come, go and die, handlers that are slow, topics that change under
 * their readers, strangers' transactions and codecs. Ours must lose nothing and do nothing twice, and say so where
 * records are gone. The peer's figures stand beside it.
 */
const report = new Report("Kafka clients under faults: groups and readers");
const SEED = Date.now() % 1_000_000;
let servers: Servers;
let observer: Broker;
const clients: Client[] = [];

beforeAll(async () => {
  servers = await startServers();
  const { brokers, sasl } = servers.direct;
  observer = createKafkaBroker({ clientId: "observer", brokers, sasl, log: createLog("test", "silent") });
});

afterAll(async () => {
  report.print();
  await Promise.all(clients.map((client) => client.stop()));
  await observer?.stop();
  await servers?.stop();
});

/** A client of neither adapter's. */
function stranger(): kafkajs.Kafka {
  const { brokers, sasl } = servers.direct;
  return new kafkajs.Kafka({
    clientId: "stranger",
    brokers: [...brokers],
    sasl: { mechanism: "plain", ...sasl },
    logLevel: kafkajs.logLevel.NOTHING,
  });
}

/** What nobody but an administrator does. */
async function administer(work: (admin: kafkajs.Admin) => Promise<unknown>): Promise<void> {
  const admin = stranger().admin();
  await admin.connect();
  await work(admin);
  await admin.disconnect();
}

async function recreate(topic: string): Promise<void> {
  await administer(async (admin) => {
    await admin.deleteTopics({ topics: [topic] });
    while ((await admin.listTopics()).includes(topic)) await sleep(50);
  });
  await observer.ensureTopics([{ name: topic, key: "", owner: "", readers: [], config: {} }], 1);
}

let topics = 0;
async function createTopic(partitions = 1, config: Record<string, string> = {}): Promise<string> {
  const name = `groups-${++topics}`;
  await observer.ensureTopics([{ name, key: "", owner: "", readers: [], config }], partitions);
  return name;
}

function open(adapter: AdapterName): Client {
  const client = openClient(adapter, servers.direct);
  clients.push(client);
  return client;
}

/** Runs it for each adapter at the same time. What the peer cannot do is reported. */
const withEach = (fault: string, run: (adapter: AdapterName) => Promise<void>): Promise<unknown> =>
  Promise.all(
    ADAPTERS.map((adapter) => run(adapter).catch((error: unknown) => report.gaveUp(fault, adapter, error))),
  );

async function until(what: () => boolean, ms: number): Promise<boolean> {
  const end = performance.now() + ms;
  while (!what() && performance.now() < end) await sleep(20);
  return what();
}

const send = (topic: string, values: readonly string[], partition = 0): Promise<void> =>
  observer.send(values.map((value) => ({ topic, partition, key: null, value })));

const numbers = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => String(from + i));

const textOf = (value: Uint8Array | null): string => Buffer.from(value ?? []).toString();

interface Reader {
  readonly values: string[];
  readonly failures: unknown[];
  stop(): Promise<void>;
}

async function read(
  client: Client,
  topic: string,
  group = `group-${topic}`,
  onValues: (values: readonly string[]) => Promise<void> = async () => {},
): Promise<Reader> {
  const values: string[] = [];
  const failures: unknown[] = [];
  const { stop } = await client.read({
    topic,
    group,
    onValues: async (batch) => {
      await onValues(batch);
      values.push(...batch);
    },
    onFailed: (error) => failures.push(error),
  });
  return { values, failures, stop };
}

/** Processes that copy a topic as members of one group, and what is done to them. */
class Copiers {
  readonly from: string;
  readonly to: string;
  readonly done = { joins: 0, leaves: 0, kills: 0, failures: 0 };
  readonly #adapter: AdapterName;
  readonly #slots: (Child | null)[] = [null, null, null, null];
  /** Processes that have loaded their modules, which takes longer than anything that is of interest here. */
  readonly #spares = [new Child("copier.ts"), new Child("copier.ts")];

  constructor(adapter: AdapterName, from: string, to: string) {
    this.#adapter = adapter;
    this.from = from;
    this.to = to;
  }

  async start(slot: number): Promise<void> {
    const child = this.#spares.shift() as Child;
    this.#spares.push(new Child("copier.ts"));
    child.onLine = (line) => {
      if (line.startsWith("failed")) this.done.failures++;
    };
    this.#slots[slot] = child;
    const { from, to } = this;
    const group = `copy-${to}`;
    const memory = join(servers.home, `${group}-${slot}`);
    await child.begin({ adapter: this.#adapter, access: servers.direct, from, to, group, memory });
    this.done.joins++;
  }

  async kill(slot: number): Promise<void> {
    await this.#slots[slot]?.end("SIGKILL");
    this.done.kills++;
  }

  async leave(slot: number): Promise<void> {
    await this.#slots[slot]?.end("SIGTERM");
    this.#slots[slot] = null;
    this.done.leaves++;
  }

  /** Something happens to one of them, as chance will have it; one at least is left. */
  async disturb(chance: () => number): Promise<void> {
    const slot = Math.floor(chance() * this.#slots.length);
    const alone = this.#slots.filter((one) => one !== null).length < 2;
    if (this.#slots[slot] === null) await this.start(slot);
    else if (alone || chance() < 0.6) {
      await this.kill(slot);
      await this.start(slot);
    } else await this.leave(slot);
  }

  async stop(): Promise<void> {
    const children = [...this.#slots, ...this.#spares].filter((child) => child !== null);
    await Promise.all(children.map((child) => child.end("SIGKILL")));
  }

  /** Values by partition, and when they were written. */
  async written(): Promise<Map<number, { readonly value: string; readonly atMs: number }[]>> {
    const records = await readTopic(observer, this.to);
    return Map.groupBy(
      records.map(({ partition, value, timestampMs }) => ({
        partition,
        value: textOf(value),
        atMs: timestampMs,
      })),
      (one) => one.partition,
    );
  }
}

/** Both adapters' members copy what is fed while something is done to them: each record once, and with what pauses. */
async function copyWhile(
  fault: string,
  members: number,
  disturb: (groups: readonly Copiers[]) => Promise<unknown>,
): Promise<void> {
  const PARTITIONS = 6;
  const groups: Copiers[] = [];
  for (const adapter of ADAPTERS) {
    groups.push(new Copiers(adapter, await createTopic(PARTITIONS), await createTopic(PARTITIONS)));
  }
  try {
    for (let slot = 0; slot < members; slot++) {
      await Promise.all(groups.map((group) => group.start(slot)));
    }
    await sleep(2_000 + 1_000 * members);
    const startMs = Date.now();
    let over = false;
    let fed = 0;
    const feeding = (async () => {
      for (; !over; fed++) {
        const feed = (topic: string) =>
          Array.from({ length: PARTITIONS }, (_, partition) => ({
            topic,
            partition,
            key: null,
            value: String(fed),
          }));
        await observer.send(groups.flatMap((group) => feed(group.from)));
        await sleep(50);
      }
    })();
    await disturb(groups);
    over = true;
    await feeding;
    const endMs = Date.now();
    for (const [i, group] of groups.entries()) {
      let written = await group.written();
      const complete = (): boolean =>
        Array.from(
          { length: PARTITIONS },
          (_, p) => new Set(written.get(p)?.map((one) => one.value)).size,
        ).every((count) => count >= fed);
      const late = performance.now() + 30_000;
      while (!complete() && performance.now() < late) {
        await sleep(200);
        written = await group.written();
      }
      let [lost, duplicated, stalledMs] = [0, 0, 0];
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const copied = written.get(partition) ?? [];
        const values = copied.map((one) => one.value);
        const result = compare(numbers(0, fed), values);
        lost += result.lost;
        duplicated += result.duplicated;
        const times = [
          startMs,
          ...copied.map((one) => one.atMs).filter((ms) => ms > startMs && ms < endMs),
          endMs,
        ];
        times.forEach((ms, at) => {
          stalledMs = Math.max(stalledMs, ms - (times[at - 1] ?? ms));
        });
        if (i === 0) expect(values, `partition ${partition}, seed ${SEED}`).toEqual(numbers(0, fed));
      }
      const { joins, leaves, kills, failures } = group.done;
      const note = `seed ${SEED}: ${joins} joins, ${leaves} leaves, ${kills} kills, ${failures} failed; ${6 * fed} records`;
      report.add(fault, ADAPTERS[i] as AdapterName, { lost, duplicated, stalledMs, note });
      if (i === 0) expect(stalledMs).toBeLessThan(20_000);
    }
  } finally {
    await Promise.all(groups.map((group) => group.stop()));
  }
}

it("copies each record once while members come, go and are killed every 2 s", async () => {
  const STORM_MS = 32_000;
  const chance = random(SEED);
  await copyWhile("rebalance storm", 2, async (groups) => {
    const startMs = Date.now();
    while (Date.now() - startMs < STORM_MS) {
      await Promise.all([sleep(2_000), ...groups.map((group) => group.disturb(chance))]);
    }
  });
});

it.each(["SIGTERM", "SIGKILL"] as const)(
  "copies each record once while its three members are restarted in turn (%s)",
  async (signal) => {
    await copyWhile(`rolling restart (${signal})`, 3, async (groups) => {
      for (let slot = 0; slot < 3; slot++) {
        await Promise.all(
          groups.map(async (group) => {
            await (signal === "SIGTERM" ? group.leave(slot) : group.kill(slot));
            await group.start(slot);
          }),
        );
        await sleep(3_000);
      }
    });
  },
);

it("has its partitions back soon after a kill and a restart", async () => {
  await withEach("killed and restarted", async (adapter) => {
    const group = new Copiers(adapter, await createTopic(2), await createTopic(2));
    const count = async (): Promise<number> => [...(await group.written()).values()].flat().length;
    try {
      await group.start(0);
      await send(group.from, numbers(0, 10));
      while ((await count()) < 10) await sleep(50);
      const killedMs = performance.now();
      await group.kill(0);
      await send(group.from, numbers(10, 10));
      await group.start(0);
      while ((await count()) < 20 && performance.now() - killedMs < 30_000) await sleep(20);
      const stalledMs = performance.now() - killedMs;
      const copied = ((await group.written()).get(0) ?? []).map((one) => one.value);
      report.add("killed and restarted", adapter, {
        ...compare(numbers(0, 20), copied),
        stalledMs,
      });
      if (adapter !== "millrace") return;
      expect(copied).toEqual(numbers(0, 20));
      // Well below the session time-out, by which the group would miss it.
      expect(stalledMs).toBeLessThan(6_000);
    } finally {
      await group.stop();
    }
  });
});

it("goes on with what it holds while the group's coordinator is killed and comes back", async () => {
  const topic = await createTopic(4);
  const { brokers, sasl } = servers.direct;
  const settings = { clientId: "held", brokers, sasl, log: createLog("test", "silent") };
  const owned = [new Set<number>(), new Set<number>()];
  const revoked: number[] = [];
  const values: string[] = [];
  const members = owned.map((own) => {
    const broker = createKafkaBroker(settings);
    const consumption = broker.consume({
      group: `held-${topic}`,
      topics: [topic],
      member: passingMember(),
      onAssigned: async (partition) => {
        own.add(partition);
        return new Map([[topic, null]]);
      },
      onRevoked: async (partition) => {
        own.delete(partition);
        revoked.push(partition);
      },
      onBatch: async ({ records }) => {
        for (const { value } of records) values.push(textOf(value));
      },
      onFailed: (error) => {
        throw error;
      },
    });
    return { broker, stop: () => consumption.then(({ stop }) => stop()) };
  });
  await until(() => owned.every((own) => own.size === 2), 20_000);
  revoked.length = 0;
  const killedMs = performance.now();
  process.kill(servers.pid(), "SIGKILL");
  await send(topic, ["0"], 0);
  await until(() => values.includes("0"), 60_000);
  const stalledMs = performance.now() - killedMs;
  // Beyond the time in which a member that is not heard of is missed.
  await sleep(12_000);
  expect([owned.map((own) => own.size), revoked]).toEqual([[2, 2], []]);
  // They are members still, or again: one takes over what the other leaves.
  await members[0]?.stop();
  await until(() => owned[1]?.size === 4, 10_000);
  expect(owned[1]?.size).toBe(4);
  await Promise.all(members.map(({ broker }) => broker.stop()));
  report.add("coordinator killed", "millrace", {
    lost: 0,
    duplicated: 0,
    stalledMs,
    note: "nothing let go of",
  });
});

it("keeps its partition while a handler takes longer than the session time-out", async () => {
  await withEach("handler slower than the session", async (adapter) => {
    const topic = await createTopic();
    await send(topic, numbers(0, 100));
    const reader = await read(open(adapter), topic, undefined, () => sleep(10_000));
    await until(() => reader.values.length > 0, 30_000);
    await send(topic, numbers(100, 10));
    const startedMs = performance.now();
    await until(() => reader.values.includes("109"), 30_000);
    await reader.stop();
    report.add("handler slower than the session", adapter, {
      ...compare(numbers(0, 110), reader.values),
      stalledMs: performance.now() - startedMs,
      note: "10 s a batch",
    });
    if (adapter === "millrace") expect([reader.values, reader.failures]).toEqual([numbers(0, 110), []]);
  });
});

it("holds back what its handler does not take, in bounded memory", async () => {
  const topic = await createTopic(4);
  const value = "x".repeat(1_000);
  const count = 80_000;
  for (let sent = 0; sent < count; sent += 8_000) {
    await observer.send(
      Array.from({ length: 8_000 }, (_, i) => ({
        topic,
        partition: i % 4,
        key: null,
        value: `${sent + i} ${value}`,
      })),
    );
  }
  let release: () => void = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  globalThis.gc?.();
  const before = process.memoryUsage();
  let batches = 0;
  const reader = await read(open("millrace"), topic, undefined, async () => {
    batches++;
    await held;
  });
  await until(() => batches === 4, 20_000);
  await sleep(2_000);
  const after = process.memoryUsage();
  const grownMb = (after.arrayBuffers - before.arrayBuffers) / 2 ** 20;
  expect(batches).toBe(4);
  // A batch in hand and one that waits, of about 1 MB each and partition, and what the socket holds.
  expect(grownMb).toBeLessThan(40);
  release();
  const all = await until(() => reader.values.length === count, 30_000);
  await reader.stop();
  report.add("handler takes nothing for 2 s", "millrace", {
    lost: count - reader.values.length,
    duplicated: 0,
    stalledMs: 0,
    note: `${grownMb.toFixed(0)} MiB held of ${(count / 1_000).toFixed(0)} MB`,
  });
  expect(all).toBe(true);
});

it("says so when records were deleted before it read them", async () => {
  await withEach("records deleted before they were read", async (adapter) => {
    const topic = await createTopic();
    const client = open(adapter);
    await send(topic, numbers(0, 100));
    const before = await read(client, topic);
    await until(() => before.values.length === 100, 20_000);
    await before.stop();
    await send(topic, numbers(100, 100));
    await administer(async (admin) => {
      await admin.fetchTopicOffsets(topic); // it deletes nothing of a topic that it does not know yet
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "150" }] });
    });
    const startedMs = performance.now();
    const after = await read(client, topic);
    await until(() => after.failures.length > 0 || after.values.includes("199"), 15_000);
    await after.stop();
    const told = after.failures.length > 0;
    report.add("records deleted before they were read", adapter, {
      ...compare(numbers(0, 200), [...before.values, ...after.values]),
      stalledMs: performance.now() - startedMs,
      note: told ? `told: ${(after.failures[0] as Error).name}` : "told nothing",
    });
    if (adapter !== "millrace") return;
    expect(after.failures[0]).toBeInstanceOf(RecordsLostError);
    expect((after.failures[0] as Error).message).toContain("records 100 to 149 are gone");
    expect(after.values).toEqual([]);
  });
});

it("says so when its topic was deleted and made anew under it", async () => {
  await withEach("topic deleted and made anew", async (adapter) => {
    const topic = await createTopic();
    const client = open(adapter);
    await send(topic, numbers(0, 100));
    const reader = await read(client, topic);
    await until(() => reader.values.length === 100, 20_000);
    await recreate(topic);
    // More than there was before: by offsets alone nobody could see it.
    await send(topic, numbers(1_000, 150));
    const startedMs = performance.now();
    await until(() => reader.failures.length > 0 || reader.values.includes("1149"), 12_000);
    await reader.stop();
    const told = reader.failures.length > 0;
    report.add("topic deleted and made anew", adapter, {
      ...compare(numbers(1_000, 150), reader.values.slice(100)),
      stalledMs: performance.now() - startedMs,
      note: told ? `told: ${(reader.failures[0] as Error).name}` : "told nothing",
    });
    if (adapter !== "millrace") return;
    expect(reader.failures[0]).toBeInstanceOf(TopicRecreatedError);
    expect(reader.values).toHaveLength(100);
  });
});

it("says so when the topic that was made anew is shorter than what it had read", async () => {
  const topic = await createTopic();
  const client = open("millrace");
  await send(topic, numbers(0, 100));
  const before = await read(client, topic);
  await until(() => before.values.length === 100, 20_000);
  await before.stop();
  await recreate(topic);
  const fresh = open("millrace");
  const failures: unknown[] = [];
  const { brokers, sasl } = servers.direct;
  const broker = createKafkaBroker({ clientId: "late", brokers, sasl, log: createLog("test", "silent") });
  await broker.consume({
    group: `late-${topic}`,
    topics: [topic],
    member: passingMember(),
    onAssigned: async () => new Map([[topic, 100]]),
    onRevoked: async () => {},
    onBatch: async () => {},
    onFailed: (error) => failures.push(error),
  });
  await until(() => failures.length > 0, 15_000);
  await Promise.all([broker.stop(), fresh.stop()]);
  expect(failures[0]).toBeInstanceOf(LogTruncatedError);
});

it("reads partitions that were added", async () => {
  await withEach("partitions added", async (adapter) => {
    const topic = await createTopic(2);
    const reader = await read(open(adapter), topic);
    await send(topic, ["0"], 1);
    await until(() => reader.values.length === 1, 20_000);
    await observer.ensureTopics([{ name: topic, key: "", owner: "", readers: [], config: {} }], 4);
    const startedMs = performance.now();
    await send(topic, ["1"], 3);
    await until(() => reader.values.length === 2, 20_000);
    await reader.stop();
    report.add("partitions added", adapter, {
      ...compare(["0", "1"], reader.values),
      stalledMs: performance.now() - startedMs,
    });
    if (adapter === "millrace") expect([reader.values, reader.failures]).toEqual([["0", "1"], []]);
  });
});

it("reads each codec", async () => {
  await withEach("batches in each codec", async (adapter) => {
    for (const codec of ["gzip", "snappy", "lz4", "zstd"]) {
      // The broker compresses what comes plain.
      const topic = await createTopic(1, { "compression.type": codec });
      const expected = numbers(0, 500);
      await send(topic, expected);
      const reader = await read(open(adapter), topic);
      await until(() => reader.values.length === 500 || reader.failures.length > 0, 10_000);
      await reader.stop();
      const note =
        reader.failures.length > 0 ? `told: ${(reader.failures[0] as Error).message.slice(0, 60)}` : "";
      report.add(`batches in ${codec}`, adapter, { ...compare(expected, reader.values), stalledMs: 0, note });
      if (adapter === "millrace") expect(reader.values).toEqual(expected);
    }
  });
});

it("leaves out what strangers' transactions aborted, and waits for those that are open, over a rebalance", async () => {
  await withEach("strangers' transactions", async (adapter) => {
    const topic = await createTopic();
    const producer = stranger().producer({
      transactionalId: `stranger-${topic}`,
      maxInFlightRequests: 1,
      idempotent: true,
    });
    await producer.connect();
    const write = async (value: string, ends: "commit" | "abort"): Promise<void> => {
      const transaction = await producer.transaction();
      await transaction.send({ topic, messages: [{ partition: 0, value }] });
      await transaction[ends]();
    };
    for (const [i, ends] of (["commit", "abort", "commit", "abort"] as const).entries())
      await write(String(i), ends);
    const pending = await producer.transaction();
    await pending.send({ topic, messages: [{ partition: 0, value: "4" }] });
    await send(topic, ["5"]);
    const client = open(adapter);
    const reader = await read(client, topic);
    await until(() => reader.values.length >= 2, 20_000);
    const second = await read(open(adapter), topic);
    await sleep(2_000);
    const early = [...reader.values, ...second.values];
    const startedMs = performance.now();
    await pending.commit();
    const all = (): string[] => [...reader.values, ...second.values];
    await until(() => new Set(all()).size >= 4, 20_000);
    await Promise.all([reader.stop(), second.stop(), producer.disconnect()]);
    const expected = ["0", "2", "4", "5"];
    const values = all();
    report.add("strangers' transactions", adapter, {
      ...compare(expected, values),
      stalledMs: performance.now() - startedMs,
      note: values.some((value) => !expected.includes(value)) ? "aborted records were given" : "",
    });
    if (adapter !== "millrace") return;
    expect(early.filter((value) => value === "4" || value === "5")).toEqual([]);
    expect(new Set(values)).toEqual(new Set(expected));
  });
});
