import { createLog, sleep } from "@millrace/runtime";
import { createMemoryBroker, estranged, type MemoryBroker, memoryCheckpoints } from "@millrace/testkit";
import { describe, expect, it } from "vitest";
import {
  type Broker,
  type Checkpoint,
  type CheckpointStore,
  headerText,
  type RunningStep,
  type StepDefinition,
  startStep,
  type Writer,
} from "./index.ts";

const log = createLog("test", "silent");
const unexpected = (error: unknown): void => {
  throw error;
};

/** Numbers in, running sums out; the sum is the state. */
function sums(
  name: string,
  from: string,
  to: string,
  checkpoints: CheckpointStore,
  checkpointEveryMs = 0,
): StepDefinition {
  return {
    name,
    topics: [from],
    outputs: [to],
    checkpoints,
    checkpointEveryMs,
    recordsMax: 7,
    createTask: (_partition, snapshot) => {
      let sum = (snapshot as number | null) ?? 0;
      return {
        process: (records, emit) => {
          for (const record of records) {
            sum += Number(Buffer.from(record.value as Uint8Array).toString());
            emit(record, to, { key: null, value: String(sum) });
          }
        },
        snapshot: () => sum,
      };
    },
  };
}

const start = (
  broker: Broker,
  definition: StepDefinition,
  fail: (error: unknown) => void = unexpected,
): Promise<RunningStep> =>
  startStep(definition, { broker, clock: { now: () => Date.now() }, log, fail, fencedWaitMs: 20 });

const write = (broker: MemoryBroker, topic: string, numbers: readonly number[], partition = 0): void =>
  broker.write(numbers.map((n) => ({ topic, partition, key: null, value: String(n) })));

const values = (broker: MemoryBroker, topic: string): number[] =>
  broker.records(topic).map((record) => Number(Buffer.from(record.value as Uint8Array).toString()));

/** 1, 2, 3, ... as running sums. */
const sumsUpTo = (n: number): number[] => Array.from({ length: n }, (_, i) => ((i + 1) * (i + 2)) / 2);
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !what(); i++) await sleep(5);
  expect(what()).toBe(true);
}

async function createBroker(topics: readonly string[], partitions = 1): Promise<MemoryBroker> {
  const broker = createMemoryBroker();
  await broker.ensureTopics(
    topics.map((name) => ({ name, key: "", owner: "", readers: [], config: {} })),
    partitions,
  );
  return broker;
}

/** The broker with writers that something is changed of. */
const withWriters = (broker: Broker, change: (writer: Writer) => Partial<Writer>): Broker => ({
  ...broker,
  writer: async (...name) => {
    const writer = await broker.writer(...name);
    const changed: Writer = {
      ends: writer.ends,
      get pendingBytes() {
        return writer.pendingBytes;
      },
      append: (...output) => writer.append(...output),
      flush: () => writer.flush(),
      stop: () => writer.stop(),
    };
    return Object.assign(changed, change(writer));
  },
});

describe("step", () => {
  it("keeps state and offsets over a clean stop", async () => {
    const broker = await createBroker(["in", "out"]);
    const checkpoints = memoryCheckpoints();
    write(broker, "in", [1, 2, 3]);
    const first = await start(broker, sums("s", "in", "out", checkpoints));
    await until(() => values(broker, "out").length === 3);
    await first.stop();
    write(broker, "in", [4]);
    const second = await start(broker, sums("s", "in", "out", checkpoints));
    await until(() => values(broker, "out").length === 4);
    await second.stop();
    expect(values(broker, "out")).toEqual([1, 3, 6, 10]);
  });

  it("names the source of what it writes, and passes a traceparent on that is one", async () => {
    const broker = await createBroker(["in", "out"]);
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (const headers of [{}, { traceparent }, { traceparent: "x".repeat(1_000) }, { other: "not" }]) {
      broker.write([{ topic: "in", partition: 0, key: null, value: "1", headers }]);
    }
    const twice: StepDefinition = {
      ...sums("s", "in", "out", memoryCheckpoints()),
      createTask: () => ({
        process: (records, emit) => {
          for (const record of records) {
            emit(record, "out", { key: null, value: "a", headers: { own: "1" } });
            emit(record, "out", { key: null, value: "b" });
          }
        },
        snapshot: () => null,
      }),
    };
    const step = await start(broker, twice);
    await until(() => broker.records("out").length === 8);
    await step.stop();
    const headers = broker.records("out").map((record) => Object.keys(record.headers).sort());
    expect(headers[0]).toEqual(["mr-source", "own"]);
    expect(headers.map((names) => names.includes("traceparent"))).toEqual(
      [0, 0, 1, 1, 0, 0, 0, 0].map((one) => one === 1),
    );
    const sources = broker.records("out").map((record) => headerText(record, "mr-source"));
    expect(sources.slice(0, 3)).toEqual(["in/0/0/0", "in/0/0/1", "in/0/1/0"]);
  });

  it("writes each output once, in order, over crashes in which acknowledgements are lost (S3)", async () => {
    const broker = await createBroker(["in", "out"]);
    const checkpoints = memoryCheckpoints();
    for (let round = 0; round < 5; round++) {
      let crashed = false;
      const step = await start(broker, sums("s", "in", "out", checkpoints, 3), () => {
        crashed = true;
      });
      broker.loseNextAck();
      write(broker, "in", upTo(50).slice(10 * round, 10 * round + 10));
      await until(() => crashed);
      await step.stop();
    }
    const step = await start(broker, sums("s", "in", "out", checkpoints));
    await until(() => step.lag() === 0 && values(broker, "out").length >= 50);
    await step.stop();
    expect(values(broker, "out")).toEqual(sumsUpTo(50));
  });

  it("builds its state anew without writing again what stands in the log (S3)", async () => {
    const broker = await createBroker(["in", "out"]);
    write(broker, "in", upTo(3_000));
    const first = await start(broker, sums("s", "in", "out", memoryCheckpoints()));
    await until(() => values(broker, "out").length === 3_000);
    await first.stop();
    write(broker, "in", [3_001]);
    const second = await start(broker, sums("s", "in", "out", memoryCheckpoints()));
    await until(() => values(broker, "out").length === 3_001);
    await second.stop();
    expect(values(broker, "out")).toEqual(sumsUpTo(3_001));
  });

  it("remembers where others' outputs stand while it replays what they have read (S3)", async () => {
    const broker = await createBroker(["in", "out"]);
    write(broker, "in", upTo(500));
    const first = await start(broker, sums("s", "in", "out", memoryCheckpoints()));
    await until(() => values(broker, "out").length === 500);
    await first.stop();
    // The first one's checkpoints are lost; the second one dies in the middle of its replay.
    const checkpoints = memoryCheckpoints();
    let midway: Checkpoint | undefined;
    const watched: CheckpointStore = {
      load: (...which) => checkpoints.load(...which),
      save: async (partition, checkpoint, last) => {
        if ((checkpoint.offsets["in"] ?? 0) < 300) midway = checkpoint;
        await checkpoints.save(partition, checkpoint, last);
      },
    };
    const second = await start(broker, sums("s", "in", "out", watched));
    await until(() => second.lag() === 0);
    await second.stop();
    expect(midway?.offsets["in"]).toBeGreaterThan(0);
    write(broker, "in", [501]);
    const third = await start(
      broker,
      sums("s", "in", "out", { load: async () => midway ?? null, save: async () => {} }),
    );
    await until(() => values(broker, "out").length >= 501);
    await third.stop();
    expect(values(broker, "out")).toEqual(sumsUpTo(501));
  });

  it("does not use the checkpoint of another version", async () => {
    const broker = await createBroker(["in", "out"]);
    const checkpoints = memoryCheckpoints();
    const seen: unknown[] = [];
    const version = (name: string): StepDefinition => {
      const definition = { ...sums("s", "in", "out", checkpoints), version: name };
      return {
        ...definition,
        createTask: (partition, snapshot, stopping) => {
          seen.push(snapshot);
          return definition.createTask(partition, snapshot, stopping);
        },
      };
    };
    write(broker, "in", [1, 2, 3]);
    for (const name of ["a", "a", "b"]) {
      const step = await start(broker, version(name));
      await until(() => step.lag() === 0 && values(broker, "out").length === 3);
      await sleep(20);
      await step.stop();
    }
    expect(seen).toEqual([null, 6, null]);
    expect(values(broker, "out")).toEqual([1, 3, 6]);
  });

  it("keeps the log exact while two owners fight for a partition (S1)", async () => {
    const broker = await createBroker(["in", "out"]);
    const rivals = await Promise.all(
      ["a", "b"].map((name) =>
        start(estranged(broker, name), sums("s", "in", "out", memoryCheckpoints(), 5)),
      ),
    );
    for (let i = 0; i < 40; i++) {
      write(broker, "in", upTo(400).slice(10 * i, 10 * i + 10));
      await sleep(5);
    }
    await until(() => values(broker, "out").length >= 400);
    await Promise.all(rivals.map((step) => step.stop()));
    expect(values(broker, "out")).toEqual(sumsUpTo(400));
  });

  it("saves nothing of a partition that was taken over, and takes it back from the newest checkpoint (S1)", async () => {
    const broker = await createBroker(["in", "out"]);
    const checkpoints = memoryCheckpoints();
    const saved: unknown[] = [];
    const watched: CheckpointStore = {
      load: (...which) => checkpoints.load(...which),
      save: async (partition, checkpoint, last) => {
        saved.push(checkpoint.state);
        await checkpoints.save(partition, checkpoint, last);
      },
    };
    const step = await start(broker, sums("s", "in", "out", watched));
    write(broker, "in", [1, 2]);
    await until(() => saved.includes(3));
    await broker.writer("s", 0, ["out"]);
    const before = saved.length;
    write(broker, "in", [3]);
    await until(() => values(broker, "out").length === 3);
    await step.stop();
    expect(values(broker, "out")).toEqual([1, 3, 6]);
    expect(saved.slice(before)).not.toContain(3);
  });

  it("saves a checkpoint only after what was written before it is acknowledged (S2)", async () => {
    const broker = await createBroker(["in", "out"]);
    let acknowledge: () => void = () => {};
    const slow = withWriters(broker, (writer) => ({
      flush: async () => {
        await new Promise<void>((resolve) => {
          acknowledge = resolve;
        });
        await writer.flush();
      },
    }));
    const saved: Checkpoint[] = [];
    const step = await start(
      slow,
      sums("s", "in", "out", {
        load: async () => null,
        save: async (_partition, checkpoint) => {
          const end = (await broker.offsets("out"))[0]?.end;
          expect(checkpoint.ends).toEqual({ out: end });
          expect(checkpoint.offsets).toEqual({ in: (checkpoint.state as number) === 1 ? 1 : 2 });
          saved.push(checkpoint);
        },
      }),
    );
    write(broker, "in", [1]);
    await sleep(50);
    expect(saved).toEqual([]);
    acknowledge();
    await until(() => saved.length === 1);
    write(broker, "in", [2]);
    await sleep(20);
    acknowledge();
    await until(() => saved.length === 2);
    await step.stop();
    expect(saved.map(({ state }) => state)).toEqual(expect.arrayContaining([1, 3]));
  });

  it("rests while much waits for its acknowledgement, and takes few batches ahead (S4)", async () => {
    const broker = await createBroker(["in", "out"]);
    let acknowledge: () => void = () => {};
    const slow = withWriters(broker, (writer) => ({
      flush: async () => {
        await new Promise<void>((resolve) => {
          acknowledge = resolve;
        });
        await writer.flush();
      },
    }));
    let processed = 0;
    const definition: StepDefinition = {
      ...sums("s", "in", "out", memoryCheckpoints(), 60_000),
      createTask: () => ({
        process: (records, emit) => {
          processed += records.length;
          for (const record of records) emit(record, "out", { key: null, value: "x".repeat(5_000) });
        },
        snapshot: () => null,
      }),
    };
    write(broker, "in", upTo(10_000));
    const step = await start(slow, definition);
    await until(() => processed > 400);
    await sleep(300);
    expect(processed).toBeLessThan(450);
    acknowledge();
    await until(() => processed > 800);
    await sleep(50);
    expect(processed).toBeLessThan(900);
    const stopping = step.stop();
    for (let i = 0; i < 10; i++) {
      acknowledge();
      await sleep(5);
    }
    await stopping;
  });

  it("goes on with its other partitions as they are when one moves to another member", async () => {
    const broker = await createBroker(["in", "out"], 4);
    const checkpoints = memoryCheckpoints();
    const made: string[] = [];
    const member = (name: string): StepDefinition => {
      const definition = sums("s", "in", "out", checkpoints);
      return {
        ...definition,
        createTask: (partition, snapshot, stopping) => {
          made.push(`${name} ${partition}`);
          return definition.createTask(partition, snapshot, stopping);
        },
      };
    };
    const a = await start(broker, member("a"));
    for (let partition = 0; partition < 4; partition++) write(broker, "in", [1, 2], partition);
    await until(() => values(broker, "out").length === 8);
    const b = await start(broker, member("b"));
    expect([...a.partitions(), ...b.partitions()].sort((x, y) => x - y)).toEqual([0, 1, 2, 3]);
    for (let partition = 0; partition < 4; partition++) write(broker, "in", [3], partition);
    await until(() => values(broker, "out").length === 12);
    await a.stop();
    await until(() => b.partitions().length === 4);
    await b.stop();
    expect(values(broker, "out")).toEqual([1, 3, 6, 1, 3, 6, 1, 3, 6, 1, 3, 6]);
    expect(made.filter((one) => one.startsWith("a"))).toEqual(["a 0", "a 1", "a 2", "a 3"]);
    expect(made.filter((one) => one.startsWith("b")).toSorted()).toEqual(["b 0", "b 1", "b 2", "b 3"]);
  });

  it("lets go of a task that waits, and reads its records again", async () => {
    const broker = await createBroker(["in", "out"]);
    const checkpoints = memoryCheckpoints();
    write(broker, "in", [1, 2, 3]);
    let waiting = 0;
    const patient: StepDefinition = {
      ...sums("s", "in", "out", checkpoints),
      createTask: (_partition, _snapshot, stopping) => ({
        process: (_records, _emit) =>
          new Promise((_resolve, reject) => {
            waiting++;
            stopping.addEventListener("abort", () => reject(stopping.reason));
          }),
        snapshot: () => null,
      }),
    };
    const first = await start(broker, patient);
    await until(() => waiting === 1);
    await first.stop();
    expect(checkpoints.saves).toBe(0);
    const second = await start(broker, sums("s", "in", "out", checkpoints));
    await until(() => values(broker, "out").length === 3);
    await second.stop();
    expect(values(broker, "out")).toEqual([1, 3, 6]);
  });

  it.each<[string, StepDefinition["createTask"], RegExp]>([
    [
      "to a topic that it did not name",
      () => ({
        process: ([record], emit) => emit(record as never, "in", { key: null, value: null }),
        snapshot: () => null,
      }),
      /does not name in among its outputs/,
    ],
    [
      "out of its causes' order",
      () => ({
        process: (records, emit) => {
          for (const record of records.toReversed()) emit(record, "out", { key: null, value: null });
        },
        snapshot: () => null,
      }),
      /not in their causes' order: in\/0 comes late/,
    ],
  ])("fails when its task writes %s", async (_case, createTask, message) => {
    const broker = await createBroker(["in", "out"]);
    write(broker, "in", [1, 2]);
    const failures: unknown[] = [];
    const definition = { ...sums("s", "in", "out", memoryCheckpoints()), createTask };
    const step = await start(broker, definition, (error) => failures.push(error));
    await until(() => failures.length === 1);
    await step.stop();
    expect((failures[0] as Error).message).toMatch(message);
  });
});

/** Says when it has had ten more numbers of both topics together: what causes that depends on the merge. */
function comparing(checkpoints: CheckpointStore): StepDefinition {
  return {
    name: "c",
    topics: ["a", "b"],
    outputs: ["out"],
    checkpoints,
    checkpointEveryMs: 1,
    recordsMax: 3,
    holdOutputs: true,
    createTask: (_partition, snapshot) => {
      let [a, b] = (snapshot as [number, number] | null) ?? [0, 0];
      return {
        process: (records, emit) => {
          for (const record of records) {
            if (record.topic === "a") a++;
            else b++;
            if ((a + b) % 10 === 0) emit(record, "out", { key: null, value: String(a + b) });
          }
        },
        snapshot: () => [a, b],
      };
    },
  };
}

describe("a step whose outputs depend on the order of its topics", () => {
  it("rests when much waits for its checkpoint (S4)", async () => {
    const broker = await createBroker(["a", "b", "out"]);
    let saved: (() => void)[] = [];
    const saves: Checkpoint[] = [];
    let processed = 0;
    const definition: StepDefinition = {
      ...comparing({
        load: async () => null,
        save: (_partition, checkpoint) => {
          saves.push(checkpoint);
          return new Promise((resolve) => saved.push(resolve));
        },
      }),
      checkpointEveryMs: 60_000,
      createTask: () => ({
        process: (records, emit) => {
          processed += records.length;
          for (const record of records) emit(record, "out", { key: null, value: "x".repeat(100_000) });
        },
        snapshot: () => null,
      }),
    };
    const step = await start(broker, definition);
    write(broker, "a", upTo(400));
    await sleep(300);
    expect(processed).toBeGreaterThan(80);
    expect(processed).toBeLessThan(90);
    expect(broker.records("out")).toHaveLength(0);
    let isOver = false;
    void step.stop().then(() => {
      isOver = true;
    });
    while (!isOver) {
      for (const resolve of saved.splice(0)) resolve();
      await sleep(5);
    }
    saved = [];
    expect(broker.records("out")).toHaveLength(processed);
    expect(saves.reduce((sum, { held }) => sum + held.length, 0)).toBeGreaterThanOrEqual(processed);
  });

  it("decides each once, because it writes none before the checkpoint that decided it is saved (S2)", async () => {
    const broker = await createBroker(["a", "b", "out"]);
    const checkpoints = memoryCheckpoints();
    for (let round = 0; round < 12; round++) {
      let crashed = false;
      // The other topic is read first in every second round.
      const definition = comparing(checkpoints);
      const topics = round % 2 === 0 ? ["a", "b"] : ["b", "a"];
      const step = await start(broker, { ...definition, topics }, () => {
        crashed = true;
      });
      if (round % 3 === 1) broker.loseNextAck();
      write(broker, "a", upTo(25));
      write(broker, "b", upTo(25));
      await until(() => crashed || step.lag() === 0);
      await step.stop();
    }
    const step = await start(broker, comparing(checkpoints));
    await until(() => values(broker, "out").length >= 60);
    await step.stop();
    expect(values(broker, "out")).toEqual(Array.from({ length: 60 }, (_, i) => 10 * (i + 1)));
  });
});
