import type { Tensor } from "@millrace/open-inference";
import { rowModel } from "@millrace/testkit";
import { describe, expect, it } from "vitest";
import {
  createBatcher,
  featureTensor,
  type Job,
  type Lane,
  type Priority,
  ROWS_MAX,
  runInLane,
  type ServedModel,
} from "./index.ts";

const onDefect = (error: unknown): never => {
  throw error;
};
const NOTHING = { rowsMax: ROWS_MAX, waitingRowsMax: 1_000, onDefect };
const OBJECTIVE = { objectiveMs: 20 };
const rowsOf = (...values: number[]): Float32Array => Float32Array.from(values);

/** A job of rows of one value each; resolves with its answer. */
function ask(
  lane: Lane,
  values: Float32Array,
  change: {
    priority?: Priority;
    arrivedAt?: number;
    deadlineAt?: number;
    isCancelled?: () => boolean;
    tensor?: Tensor;
  } = {},
): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const job: Job = {
      inputs: [change.tensor ?? featureTensor(values, values.length)],
      rows: values.length,
      priority: change.priority ?? 1,
      arrivedAt: change.arrivedAt ?? 0,
      deadlineAt: change.deadlineAt ?? Number.POSITIVE_INFINITY,
      isCancelled: change.isCancelled ?? (() => false),
      done: (error, [output]) =>
        error === null ? resolve(Array.from((output as Tensor).data as Float32Array)) : reject(error),
    };
    try {
      lane.submit(job);
    } catch (error) {
      reject(error as Error);
    }
  });
}

/** A clock that runs whenever a model does. */
function world() {
  let time = 0;
  const now = (): number => time;
  const slow = (msPerRow: number, order: number[] = []): ServedModel & { readonly runs: number[] } =>
    rowModel(1, ([x = 0]) => {
      time += msPerRow;
      if (x < 0) throw new Error("cannot score it");
      order.push(x);
      return 10 * x;
    });
  return { now, slow, pass: (ms: number) => void (time += ms) };
}

describe("the batcher", () => {
  it("runs what arrived together as one batch, once it knows how long batches take", async () => {
    const { now, slow } = world();
    const model = slow(0.001);
    const lane = createBatcher({ ...NOTHING, now }).lane(model, OBJECTIVE);
    for (const rows of [1, 2, 4]) await ask(lane, new Float32Array(rows).fill(1));
    model.runs.length = 0;
    const answers = await Promise.all([ask(lane, rowsOf(1)), ask(lane, rowsOf(2, 3)), ask(lane, rowsOf(4))]);
    expect(answers).toEqual([[10], [20, 30], [40]]);
    expect(model.runs).toEqual([4]);
  });

  it("grows batches one doubling at a time, and not beyond what the objective allows", async () => {
    const { now, slow } = world();
    const model = slow(1);
    const lane = createBatcher({ ...NOTHING, now }).lane(model, OBJECTIVE);
    await Promise.all(Array.from({ length: 60 }, (_, i) => ask(lane, rowsOf(i))));
    expect(model.runs.slice(0, 3)).toEqual([1, 2, 4]);
    // 5 ms of 20 are for one run.
    expect(model.runs.filter((rows) => rows > 4)).toEqual([8]);
    expect(lane.rowsLiked).toBe(4);
  });

  it("lets a request that is larger than a batch go alone", async () => {
    const { now, slow } = world();
    const lane = createBatcher({ ...NOTHING, rowsMax: 2, now }).lane(slow(0), OBJECTIVE);
    expect(await ask(lane, rowsOf(1, 2, 3, 4))).toEqual([10, 20, 30, 40]);
  });

  it("gives each lane its turn", async () => {
    const { now, slow } = world();
    const batcher = createBatcher({ ...NOTHING, now });
    const order: number[] = [];
    const busy = batcher.lane(slow(10, order), OBJECTIVE);
    const other = batcher.lane(slow(1, order), OBJECTIVE);
    const many = Array.from({ length: 20 }, () => ask(busy, rowsOf(1)));
    const one = ask(other, rowsOf(2));
    await Promise.all([...many, one]);
    expect(order.indexOf(2)).toBeLessThan(2);
  });

  it("takes higher priorities first, but lets nobody wait for ever", async () => {
    const { now, slow, pass } = world();
    const order: number[] = [];
    const lane = createBatcher({ ...NOTHING, rowsMax: 1, now }).lane(slow(0, order), OBJECTIVE);
    const early = ask(lane, rowsOf(1), { priority: 2 });
    pass(2 * OBJECTIVE.objectiveMs + 1);
    const late = { arrivedAt: now() };
    await Promise.all([
      early,
      ask(lane, rowsOf(2), { ...late, priority: 2 }),
      ask(lane, rowsOf(3), { ...late, priority: 0 }),
    ]);
    expect(order).toEqual([1, 3, 2]);
  });

  it("runs nothing for callers that have gone or whose time is up", async () => {
    const { now, slow, pass } = world();
    const model = slow(0);
    const lane = createBatcher({ ...NOTHING, now }).lane(model, OBJECTIVE);
    const gone = ask(lane, rowsOf(1), { isCancelled: () => true });
    const late = ask(lane, rowsOf(2), { deadlineAt: 5 });
    pass(10);
    const fine = ask(lane, rowsOf(3), { deadlineAt: 20 });
    await expect(gone).rejects.toMatchObject({ code: "deadlineExceeded" });
    await expect(late).rejects.toMatchObject({ code: "deadlineExceeded" });
    expect(await fine).toEqual([30]);
    expect(model.runs).toEqual([1]);
  });

  it("refuses what cannot be done in time or is too much, with a hint, and takes more afterwards", async () => {
    const { now, slow } = world();
    const lane = createBatcher({ ...NOTHING, rowsMax: 1, waitingRowsMax: 50, now }).lane(slow(10), OBJECTIVE);
    await ask(lane, rowsOf(1));
    const waiting = Array.from({ length: 3 }, () => ask(lane, rowsOf(1)));
    await expect(ask(lane, rowsOf(1), { arrivedAt: now(), deadlineAt: now() + 15 })).rejects.toMatchObject({
      code: "resourceExhausted",
      retryAfterMs: 40,
    });
    await expect(ask(lane, new Float32Array(50))).rejects.toMatchObject({ code: "resourceExhausted" });
    await Promise.all(waiting);
    expect(await ask(lane, rowsOf(1), { arrivedAt: now(), deadlineAt: now() + 15 })).toEqual([10]);
    expect(lane.waitingRows).toBe(0);
  });

  it("takes work again after one slow run, when it has nothing to do", async () => {
    const { now, slow, pass } = world();
    let hiccup = 10_000;
    const model = slow(1);
    const lane = createBatcher({ ...NOTHING, now }).lane(
      {
        ...model,
        run: (inputs) => {
          pass(hiccup);
          hiccup = 0;
          return model.run(inputs);
        },
      },
      OBJECTIVE,
    );
    const soon = (): { priority: Priority; arrivedAt: number; deadlineAt: number } => ({
      priority: 0,
      arrivedAt: now(),
      deadlineAt: now() + 1_000,
    });
    await ask(lane, rowsOf(1));
    const both = await Promise.allSettled([ask(lane, rowsOf(1), soon()), ask(lane, rowsOf(2), soon())]);
    expect(both).toMatchObject([
      { status: "fulfilled", value: [10] },
      { status: "rejected", reason: { code: "resourceExhausted" } },
    ]);
    for (let i = 0; i < 15; i++) await ask(lane, rowsOf(1), soon());
    expect(await Promise.all([ask(lane, rowsOf(1), soon()), ask(lane, rowsOf(2), soon())])).toEqual([
      [10],
      [20],
    ]);
  });

  it("says of a job whose time is up that it is late, and counts from now and not from its arrival", async () => {
    const { now, slow, pass } = world();
    const lane = createBatcher({ ...NOTHING, now }).lane(slow(10), OBJECTIVE);
    await ask(lane, rowsOf(1));
    pass(100);
    const arrivedAt = now() - 50;
    const first = ask(lane, rowsOf(1));
    await expect(ask(lane, rowsOf(1), { arrivedAt, deadlineAt: now() - 1 })).rejects.toMatchObject({
      code: "deadlineExceeded",
    });
    await expect(ask(lane, rowsOf(1), { arrivedAt, deadlineAt: now() + 15 })).rejects.toMatchObject({
      code: "resourceExhausted",
    });
    await first;
  });

  it("lets a bad request fail by itself", async () => {
    const { now, slow } = world();
    const lane = createBatcher({ ...NOTHING, now }).lane(slow(0), OBJECTIVE);
    for (const rows of [1, 2, 4]) await ask(lane, new Float32Array(rows));
    const results = await Promise.allSettled([1, -1, 2].map((x) => ask(lane, rowsOf(x))));
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  });

  it("runs what failed together one after another, and none that nobody waits for any more", async () => {
    const model = rowModel(1, ([x = 0]) => x);
    let running = 0;
    let most = 0;
    let isFirst = true;
    let isGone = false;
    const poisoned: ServedModel = {
      ...model,
      run: async (inputs) => {
        most = Math.max(most, ++running);
        await new Promise(setImmediate);
        running--;
        const outputs = await model.run(inputs);
        if (isFirst) {
          isFirst = false;
          isGone = true;
          throw new Error("cannot score it");
        }
        return outputs;
      },
    };
    const lane = createBatcher({ ...NOTHING, now: () => 0 }).lane(poisoned, OBJECTIVE, new Map([[8, 1]]));
    const jobs = [1, 2, 3].map((x) => ask(lane, rowsOf(x)));
    jobs.push(ask(lane, rowsOf(4), { isCancelled: () => isGone }));
    await new Promise(setImmediate);
    jobs.push(ask(lane, rowsOf(5)));
    const ends = await Promise.allSettled(jobs);
    expect(ends.map((end) => (end.status === "fulfilled" ? end.value : end.reason.code))).toEqual([
      [1],
      [2],
      [3],
      "deadlineExceeded",
      [5],
    ]);
    expect(model.runs).toEqual([4, 1, 1, 1, 1]);
    expect([most, lane.waitingRows]).toEqual([1, 0]);
  });

  it.each(["answers at once", "answers later", "fails at once", "fails later"])(
    "calls done once, and survives what it throws: a model that %s",
    async (how) => {
      const run = ([input]: readonly Tensor[]): readonly Tensor[] => {
        if (how.startsWith("fails")) throw new Error("cannot score it");
        return [input as Tensor];
      };
      const model: ServedModel = {
        ...rowModel(1, () => 0),
        run: how.endsWith("once") ? run : async (inputs) => run(inputs),
      };
      const defects: unknown[] = [];
      const report = (error: unknown): void => void defects.push(error);
      const batcher = createBatcher({ ...NOTHING, now: () => 0, onDefect: report });
      const lane = batcher.lane(model, OBJECTIVE, new Map([[4, 1]]));
      const calls = [0, 0, 0];
      for (const i of calls.keys()) {
        lane.submit({
          inputs: [featureTensor(rowsOf(i), 1)],
          rows: 1,
          priority: 0,
          arrivedAt: 0,
          deadlineAt: 100,
          isCancelled: () => i === 2,
          done: () => {
            calls[i] = (calls[i] as number) + 1;
            throw new Error(`no longer there: ${i}`);
          },
        });
      }
      for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
      expect(calls).toEqual([1, 1, 1]);
      expect(defects).toHaveLength(3);
      expect(lane.waitingRows).toBe(0);
    },
  );

  it("answers requests that cannot be put together, each alone", async () => {
    const lane = createBatcher({ ...NOTHING, now: () => 0 }).lane(
      { ...rowModel(1, () => 0), run: ([input]) => [{ ...(input as Tensor), data: rowsOf(7) }] },
      OBJECTIVE,
      new Map([[4, 1]]),
    );
    const other: Tensor = { name: "features", datatype: "FP64", shape: [1, 1], data: Float64Array.of(1) };
    expect(await Promise.all([ask(lane, rowsOf(1)), ask(lane, rowsOf(1), { tensor: other })])).toEqual([
      [7],
      [7],
    ]);
  });

  it("gives one job's outputs, or the reason why there are none", async () => {
    const { now, slow } = world();
    const lane = createBatcher({ ...NOTHING, now }).lane(slow(1), OBJECTIVE);
    const job = {
      inputs: [featureTensor(rowsOf(3), 1)],
      rows: 1,
      priority: 1 as const,
      arrivedAt: 0,
      deadlineAt: 100,
      isCancelled: () => false,
    };
    expect(await runInLane(lane, job)).toMatchObject([{ data: rowsOf(30) }]);
    const bad = { ...job, inputs: [featureTensor(rowsOf(-1), 1)] };
    await expect(runInLane(lane, bad)).rejects.toThrow("cannot score it");
    await expect(runInLane(lane, { ...job, deadlineAt: 0 })).rejects.toMatchObject({
      code: "deadlineExceeded",
    });
  });

  it("does not put requests of other shapes into one run", async () => {
    const shapes: (readonly number[])[] = [];
    const model: ServedModel = {
      ...rowModel(1, () => 0),
      run: async ([input]) => {
        const rows = input?.shape[0] as number;
        shapes.push(input?.shape ?? []);
        return [{ name: "score", datatype: "FP32", shape: [rows], data: new Float32Array(rows) }];
      },
    };
    const lane = createBatcher({ ...NOTHING, now: () => 0 }).lane(model, OBJECTIVE);
    for (const rows of [1, 2, 4]) await ask(lane, new Float32Array(rows));
    shapes.length = 0;
    const wide = featureTensor(new Float32Array(2), 1);
    await Promise.all([ask(lane, rowsOf(1)), ask(lane, rowsOf(1)), ask(lane, rowsOf(1), { tensor: wide })]);
    expect(shapes).toEqual([
      [2, 1],
      [1, 2],
    ]);
  });

  it("keeps room in the queue for higher priorities", async () => {
    const { now, slow } = world();
    const lane = createBatcher({ ...NOTHING, rowsMax: 1, now }).lane(slow(10), OBJECTIVE);
    await ask(lane, rowsOf(1));
    const within = (priority: Priority): Promise<number[]> =>
      ask(lane, rowsOf(1), { priority, arrivedAt: now(), deadlineAt: now() + 200 });
    const low = await Promise.allSettled(
      [2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0].map((priority) => within(priority as Priority)),
    );
    const answered = low.map(({ status }) => (status === "fulfilled" ? 1 : 0));
    expect(answered).toEqual([1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1]);
  });
});
