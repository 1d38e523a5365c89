import { sha256Hex, sleep } from "@millrace/runtime";
import type { CheckpointStore, StepDefinition, StreamRecord } from "@millrace/stream";
import { createMemoryBroker, type MemoryBroker, memoryRecord, random } from "@millrace/testkit";
import { describe, expect, it } from "vitest";
import { exactLog, type Fates, type Lives, live, throwFailures } from "./lives.ts";

/**
 * Two steps on a broker in memory, killed again and again at chosen points, and followed by zombies: what they write
 * stands in the log exactly once, without any reader that drops something (S1 to S3 of libs/stream).
 */

const SEEDS = Number(process.env["MILLRACE_SIMULATION_SEEDS"] ?? 15);
const RECORDS = 600;
const CHUNK = 20;
const SETTLE_MS = 10_000;

const textOf = ({ value }: StreamRecord): string => Buffer.from(value as Uint8Array).toString();

/** Two topics into two: each record with its number within its topic; every seventh is odd, every tenth counts twice. */
function route(checkpoints: CheckpointStore): StepDefinition {
  return {
    name: "route",
    topics: ["a", "b"],
    outputs: ["even", "odd"],
    checkpoints,
    checkpointEveryMs: 0,
    recordsMax: 20,
    createTask: (_partition, snapshot) => {
      const counts: Record<string, number> = { ...(snapshot as Record<string, number> | null) };
      return {
        process: (records, emit) => {
          for (const record of records) {
            const count = (counts[record.topic] ?? 0) + 1;
            counts[record.topic] = count;
            const value = `${record.topic} ${count} ${textOf(record)}`;
            emit(record, count % 7 === 0 ? "odd" : "even", { key: null, value });
            if (count % 10 === 0) emit(record, "even", { key: null, value: `${value} again` });
          }
        },
        snapshot: () => counts,
      };
    },
  };
}

/** Each record chained to all before it: anything lost, doubled or out of order changes all that follows. */
function chain(checkpoints: CheckpointStore): StepDefinition {
  return {
    name: "chain",
    topics: ["even"],
    outputs: ["chained"],
    checkpoints,
    checkpointEveryMs: 0,
    recordsMax: 20,
    createTask: (_partition, snapshot) => {
      let link = (snapshot as string | null) ?? "";
      return {
        // A task may wait, in the middle of its records too.
        process: async (records, emit) => {
          for (const record of records) {
            link = sha256Hex(link + textOf(record)).slice(0, 16);
            emit(record, "chained", { key: null, value: link });
            if (record.offset % 50 === 0) await sleep(0);
          }
        },
        snapshot: () => link,
      };
    },
  };
}

interface Run {
  readonly even: readonly string[];
  readonly odd: readonly string[];
  readonly chained: readonly string[];
  readonly crashes: number;
  readonly zombies: number;
}

/** Throws when the log is not exact. */
async function run(seed: number, fates: Fates): Promise<Run> {
  const broker = createMemoryBroker();
  await broker.ensureTopics(
    ["a", "b", "even", "odd", "chained"].map((name) => ({
      name,
      key: "",
      owner: "",
      readers: [],
      config: {},
    })),
    1,
  );
  // What is produced must not depend on what becomes of the processes.
  const [produce, draw] = [random(seed), random(seed * 7_919 + 1)];
  const steps = [route, chain].map((define) => live(broker, define, draw, fates));
  try {
    for (let i = 0; i < RECORDS; i += CHUNK) {
      for (let n = i; n < i + CHUNK; n++) {
        broker.write([{ topic: produce() < 0.5 ? "a" : "b", partition: 0, key: null, value: `v${n}` }]);
      }
      if (produce() < 0.2) broker.repeatNextRequest();
      await sleep(produce() * 8);
    }
    for (const step of steps) step.spare();
    await settle(broker, steps);
  } finally {
    await Promise.all(steps.map((step) => step.stop()));
  }
  throwFailures(steps);
  return {
    even: exactLog(broker, "even"),
    odd: exactLog(broker, "odd"),
    chained: exactLog(broker, "chained"),
    crashes: steps.reduce((sum, step) => sum + step.crashes(), 0),
    zombies: steps.reduce((sum, step) => sum + step.zombies(), 0),
  };
}

/** Until every record has at least the outputs that it must have. */
async function settle(broker: MemoryBroker, steps: readonly Lives[]): Promise<void> {
  const twice = (["a", "b"] as const).reduce(
    (n, topic) => n + Math.floor(broker.records(topic).length / 10),
    0,
  );
  const count = (topic: string): number => broker.records(topic).length;
  for (const endMs = Date.now() + SETTLE_MS; ; await sleep(2)) {
    if (count("even") + count("odd") >= RECORDS + twice && count("chained") >= count("even")) return;
    if (steps.some((step) => step.failures().length > 0)) return;
    if (Date.now() > endMs)
      throw new Error(`not settled: ${count("even")}, ${count("odd")}, ${count("chained")}`);
  }
}

const of = (topic: string, values: readonly string[]): string[] =>
  values.filter((one) => one.startsWith(topic));

/** Holds a run against a clean one: the same outputs of each source, and the chain over what lies in the log. */
async function expectClean(found: Run, clean: Run, at: string): Promise<void> {
  for (const topic of ["a", "b"]) {
    expect(of(topic, found.even), at).toEqual(of(topic, clean.even));
    expect(of(topic, found.odd), at).toEqual(of(topic, clean.odd));
  }
  const links: string[] = [];
  const records = found.even.map((value, offset) => memoryRecord({ topic: "even", offset, value }));
  const { createTask } = chain({ load: async () => null, save: async () => {} });
  await createTask(0, null, new AbortController().signal).process(records, (_cause, _topic, { value }) =>
    links.push(String(value)),
  );
  expect(found.chained, at).toEqual(links);
}

async function expectExact(fates: Fates): Promise<{ readonly crashes: number; readonly zombies: number }> {
  let [crashes, zombies] = [0, 0];
  for (let seed = 1; seed <= SEEDS; seed++) {
    const clean = await run(seed, { killing: false, zombies: 0 });
    const found = await run(seed, fates).catch((error: unknown) => {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    });
    await expectClean(found, clean, `seed ${seed}`);
    crashes += found.crashes;
    zombies += found.zombies;
  }
  process.stdout.write(
    `simulation: ${SEEDS} seeds, ${crashes} crashes, ${zombies} zombies, 0 lost, 0 twice\n`,
  );
  return { crashes, zombies };
}

describe("the log is exact", () => {
  it(`over processes that die at any point, for ${SEEDS} seeds (S2, S3)`, async () => {
    const { crashes } = await expectExact({ killing: true, zombies: 0 });
    expect(crashes).toBeGreaterThan(SEEDS * 3);
  });

  it(`with zombies that go on beside their successors, for ${SEEDS} seeds (S1)`, async () => {
    const { zombies } = await expectExact({ killing: true, zombies: 0.5 });
    expect(zombies).toBeGreaterThan(SEEDS * 2);
  });
});

let opened = 0;

/** What the broker would be if the engine did less: each must be found. */
const FAULTS: readonly [string, NonNullable<Fates["plant"]>][] = [
  [
    "no fence: former writers can still write",
    (broker) => ({
      ...broker,
      writer: (name, ...more) => broker.writer(`${name}-${++opened}`, ...more),
    }),
  ],
  [
    "checkpoints saved before the flush has ended",
    (broker) => ({
      ...broker,
      writer: async (...name) => {
        const writer = await broker.writer(...name);
        let pendingBytes = 0;
        return {
          ends: writer.ends,
          get pendingBytes() {
            return pendingBytes;
          },
          append: (...output) => {
            pendingBytes++;
            writer.append(...output);
          },
          flush: async () => {
            pendingBytes = 0;
            void sleep(3)
              .then(() => writer.flush())
              .catch(() => {});
          },
          stop: () => writer.stop(),
        };
      },
    }),
  ],
  [
    "no look at the tail",
    (broker) => ({
      ...broker,
      read: async function* (topic, ...range) {
        if (topic !== "odd" && topic !== "chained") yield* broker.read(topic, ...range);
      },
    }),
  ],
];

describe("a planted fault turns the simulation red", () => {
  it.each(FAULTS)("%s", async (_what, plant) => {
    await expect(expectExact({ killing: true, zombies: 0.5, plant })).rejects.toThrow(/seed|not settled/);
  });
});
