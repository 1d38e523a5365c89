import { createLog, sleep } from "@millrace/runtime";
import { createMemoryBroker, type MemoryBroker, memoryCheckpoints } from "@millrace/testkit";
import { describe, expect, it } from "vitest";
import { type CheckpointStore, type RunningStep, type StepDefinition, startStep } from "./index.ts";

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

async function start(
  broker: MemoryBroker,
  definition: StepDefinition,
  fail: (error: unknown) => void,
): Promise<RunningStep> {
  return startStep(definition, { broker, clock: { now: () => Date.now() }, log, fail });
}

const write = (broker: MemoryBroker, topic: string, numbers: readonly number[]): void =>
  broker.write(numbers.map((n) => ({ topic, partition: 0, key: null, value: String(n), headers: {} })));

const values = (broker: MemoryBroker, topic: string): number[] =>
  broker.records(topic).map((record) => Number(Buffer.from(record.value as Uint8Array).toString()));

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !what(); i++) await sleep(5);
  expect(what()).toBe(true);
}

async function createBroker(...topics: string[]): Promise<MemoryBroker> {
  const broker = createMemoryBroker();
  await broker.ensureTopics(
    topics.map((name) => ({ name, key: "", owner: "", readers: [], config: {} })),
    1,
  );
  return broker;
}

describe("step", () => {
  it("keeps state and offsets over a clean stop", async () => {
    const broker = await createBroker("in", "out");
    const checkpoints = memoryCheckpoints();
    write(broker, "in", [1, 2, 3]);
    const first = await start(broker, sums("s", "in", "out", checkpoints), unexpected);
    await until(() => values(broker, "out").length === 3);
    await first.stop();
    write(broker, "in", [4]);
    const second = await start(broker, sums("s", "in", "out", checkpoints), unexpected);
    await until(() => values(broker, "out").length === 4);
    await second.stop();
    expect(values(broker, "out")).toEqual([1, 3, 6, 10]);
  });

  it("applies each record once although a crash made the step write records again (S2)", async () => {
    const broker = await createBroker("in", "middle", "out");
    const checkpoints = memoryCheckpoints();
    const downstream = await start(broker, sums("d", "middle", "out", memoryCheckpoints()), unexpected);
    let crashes = 0;
    let step: RunningStep | undefined;
    for (let round = 0; round < 5; round++) {
      let crashed = false;
      step = await start(broker, sums("s", "in", "middle", checkpoints, 3), () => {
        crashed = true;
        crashes++;
      });
      broker.loseNextAck();
      write(broker, "in", [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
      await until(() => crashed);
      await step.stop();
    }
    step = await start(broker, sums("s", "in", "middle", checkpoints), unexpected);
    await until(() => step?.lag() === 0 && values(broker, "out").length === 50 && downstream.lag() === 0);
    await step.stop();
    await downstream.stop();
    expect(crashes).toBe(5);
    expect(values(broker, "middle").length).toBeGreaterThan(50);
    expect(values(broker, "out").at(-1)).toBe((50 * 51) / 2);
  });

  it("lets go of a task that waits, and reads its records again", async () => {
    const broker = await createBroker("in", "out");
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
    const first = await start(broker, patient, unexpected);
    await until(() => waiting === 1);
    await first.stop();
    expect(checkpoints.saves).toBe(0);
    const second = await start(broker, sums("s", "in", "out", checkpoints), unexpected);
    await until(() => values(broker, "out").length === 3);
    await second.stop();
    expect(values(broker, "out")).toEqual([1, 3, 6]);
  });
});
