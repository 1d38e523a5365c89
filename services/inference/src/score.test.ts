import { HEADERS, type Prediction } from "@millrace/contracts";
import { assign } from "@millrace/rollout";
import { createLog, sleep, systemClock } from "@millrace/runtime";
import { type ServedModel, SwapController, type VersionModel } from "@millrace/serving";
import {
  createMemoryBroker,
  type MemoryBroker,
  memoryCheckpoints,
  rowModel,
  servingPorts,
} from "@millrace/testkit";
import { describe, expect, it } from "vitest";
import { keepScoring, type Scoring } from "./score.ts";

const log = createLog("test", "silent");

/** A model that answers version + first value; NaN to 13, an error to 666. */
function fake(version: number): ServedModel {
  return rowModel(2, ([x = 0]) => {
    if (version !== 0 && x === 666) throw new Error("cannot score 666");
    return x === 13 ? Number.NaN : version + (Number.isNaN(x) ? 0 : x);
  });
}

const modelOf = (version: number, role: VersionModel["role"], featureDigest = "f1"): VersionModel => ({
  version,
  role,
  artifactDigest: `d${version}`,
  artifactBytes: 1,
  featureDigest,
  featureNames: ["a", "b"],
  datasetDigest: "",
  signature: "",
  share: role === "champion" ? 1 : 0,
  recipe: "lightgbm",
});

function createController(fakeOf: (version: number) => ServedModel = fake): SwapController {
  return new SwapController("flights", {
    fetch: async ({ version }) => Buffer.from(String(version)),
    load: async (bytes) => fakeOf(Number(Buffer.from(bytes).toString())),
    ...servingPorts(),
    now: () => 0,
    onFailure: () => {},
    onLeak: () => {},
  });
}

async function createBroker(): Promise<MemoryBroker> {
  const broker = createMemoryBroker();
  const topic = (name: string) => ({ name, key: "", owner: "", readers: [], config: {} });
  await broker.ensureTopics([topic("flights.features"), topic("flights.predictions")], 1);
  return broker;
}

const put = (
  broker: MemoryBroker,
  values: readonly unknown[],
  headers: (i: number) => object = () => ({}),
): void =>
  broker.write(
    values.map((value, i) => ({
      topic: "flights.features",
      partition: 0,
      key: null,
      value: typeof value === "string" ? value : JSON.stringify(value),
      headers: headers(i) as Record<string, string>,
    })),
  );
const vector = (id: string, a: number | null, features = "f1", values: unknown[] = [a, 1]) => ({
  id,
  time: 1_000 + id.length,
  values,
  features,
});

const predictions = (broker: MemoryBroker): Prediction[] =>
  broker
    .records("flights.predictions")
    .map((record) => JSON.parse(Buffer.from(record.value as Uint8Array).toString()) as Prediction);

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 600 && !what(); i++) await sleep(5);
  expect(what()).toBe(true);
}

let present: string | null = null;
function start(broker: MemoryBroker, controller: SwapController, checkpoints = memoryCheckpoints()): Scoring {
  const line = { name: "flights", controller, featureDigest: () => present, use: async () => {} };
  return keepScoring(line, { broker, checkpoints, clock: systemClock, log });
}

describe("score", () => {
  it("writes one prediction for each vector, with the shadows' scores and where it came from", async () => {
    const broker = await createBroker();
    const controller = createController();
    await controller.aspire({
      line: "flights",
      generation: 1,
      rollout: null,
      models: [modelOf(2, "champion"), modelOf(1, "shadow"), modelOf(3, "shadow", "f0")],
    });
    put(broker, [vector("x", 0.5), vector("yy", null)]);
    const scoring = start(broker, controller);
    await until(() => predictions(broker).length === 2);
    await scoring.stop();
    expect(predictions(broker)).toEqual([
      {
        id: "x",
        time: 1_001,
        score: 2.5,
        version: 2,
        model: "d2",
        features: "f1",
        shadows: { "1": 1.5 },
        predictedAtMs: expect.any(Number),
        dataset: "",
        arm: "champion",
        propensity: 1,
        origin: "stream",
      },
      expect.objectContaining({ id: "yy", score: 2, shadows: { "1": 1 } }),
    ]);
    const [first] = broker.records("flights.predictions");
    expect(Buffer.from(first?.key as Uint8Array).toString()).toBe("x");
    expect(Buffer.from(first?.headers[HEADERS.source] as Uint8Array).toString()).toBe(
      "flights.features/0/0/0",
    );
    expect(scoring.counts()).toEqual({ predictions: 2, skipped: 0, streamTimeMs: 1_002 });
  });

  it("waits for a champion, and for one of the same feature definition, and says so", async () => {
    const broker = await createBroker();
    const controller = createController();
    put(broker, [vector("a", 1), vector("b", 1, "f2"), vector("c", 1, "f2")]);
    const scoring = start(broker, controller);
    await until(() => scoring.held() === "there is no champion yet");
    expect(predictions(broker)).toEqual([]);
    await controller.aspire({
      line: "flights",
      generation: 1,
      rollout: null,
      models: [modelOf(1, "champion")],
    });
    await until(() => scoring.held()?.includes("feature definition f2") === true);
    await controller.aspire({
      line: "flights",
      generation: 2,
      rollout: null,
      models: [modelOf(2, "champion", "f2")],
    });
    await until(() => predictions(broker).length === 3);
    expect(predictions(broker).map(({ id, version }) => [id, version])).toEqual([
      ["a", 1],
      ["b", 2],
      ["c", 2],
    ]);
    expect(scoring.held()).toBeNull();
    await scoring.stop();
  });

  it("passes over vectors of a former definition once the champion has the present one", async () => {
    const broker = await createBroker();
    const controller = createController();
    await controller.aspire({
      line: "flights",
      generation: 1,
      rollout: null,
      models: [modelOf(2, "champion", "f2")],
    });
    put(broker, [vector("old", 1, "f1"), vector("new", 1, "f2")]);
    const scoring = start(broker, controller);
    await until(() => scoring.held()?.includes("feature definition f1") === true);
    present = "f2";
    await until(() => predictions(broker).length === 1);
    present = null;
    await scoring.stop();
    expect(predictions(broker).map(({ id }) => id)).toEqual(["new"]);
    expect(scoring.counts()).toMatchObject({ predictions: 1, skipped: 1 });
  });

  it("waits while the champion fails or answers no number, and goes on with the next one", async () => {
    const broker = await createBroker();
    const controller = createController((version) => fake(version === 9 ? 0 : version));
    await controller.aspire({
      line: "flights",
      generation: 1,
      rollout: null,
      models: [modelOf(1, "champion")],
    });
    put(broker, [vector("a", 666)]);
    const scoring = start(broker, controller);
    await until(() => scoring.held() === "version 1 fails: cannot score 666");
    await controller.aspire({
      line: "flights",
      generation: 2,
      rollout: null,
      models: [modelOf(9, "champion"), modelOf(1, "shadow")],
    });
    await until(() => predictions(broker).length === 1);
    expect(predictions(broker)[0]).toMatchObject({ score: 666, version: 9, shadows: {} });
    put(broker, [vector("b", 13)]);
    await until(
      () =>
        scoring.held()?.includes("version 9 fails: ") === true && scoring.held()?.includes("NaN") === true,
    );
    await scoring.stop();
  });

  it("lets a rollout divide the vectors by id, and scores each with both versions", async () => {
    const broker = await createBroker();
    const controller = createController();
    const rollout = {
      version: 3,
      strategy: "ab",
      by: "request",
      share: 0.5,
      salt: "s",
      startedAtMs: 0,
    } as const;
    await controller.aspire({
      line: "flights",
      generation: 1,
      rollout,
      models: [modelOf(2, "champion"), modelOf(3, "challenger")],
    });
    const vectors = Array.from({ length: 200 }, (_, i) => vector(`v${i}`, 1_000 + i));
    put(broker, vectors);
    const scoring = start(broker, controller);
    await until(() => predictions(broker).length === vectors.length);
    await scoring.stop();
    const made = predictions(broker);
    const challengers = made.filter(({ version }) => version === 3);
    expect(challengers.length).toBeGreaterThan(60);
    expect(challengers.length).toBeLessThan(140);
    made.forEach(({ id, version, arm, score, shadows, propensity }, i) => {
      const { arm: assigned } = assign(controller.division?.plan as never, id);
      expect([version, arm]).toEqual([assigned.version, assigned.role]);
      expect([score, shadows, propensity]).toEqual([
        version + 1_000 + i,
        { [5 - version]: 5 - version + 1_000 + i },
        0.5,
      ]);
    });
  });

  it("passes over what is no feature vector", async () => {
    const broker = await createBroker();
    const controller = createController();
    await controller.aspire({
      line: "flights",
      generation: 1,
      rollout: null,
      models: [modelOf(1, "champion")],
    });
    const strange = [
      "",
      "null",
      "[]",
      "{",
      "{}",
      vector("x", 1, "f1", ["1", 2]),
      { ...vector("x", 1), time: "now" },
    ];
    put(broker, [...strange, vector("good", 1)]);
    const scoring = start(broker, controller);
    await until(() => predictions(broker).length === 1);
    await scoring.stop();
    expect(scoring.counts()).toMatchObject({ predictions: 1, skipped: strange.length });
  });

  it("stops while it waits, and a later start scores each vector once", async () => {
    const broker = await createBroker();
    const controller = createController();
    const checkpoints = memoryCheckpoints();
    await controller.aspire({
      line: "flights",
      generation: 1,
      rollout: null,
      models: [modelOf(1, "champion")],
    });
    put(broker, [vector("a", 1), vector("b", 1)]);
    const first = start(broker, controller, checkpoints);
    await until(() => predictions(broker).length === 2);
    put(broker, [vector("c", 1), vector("d", 1, "f2")]);
    await until(() => first.held() !== null);
    const stoppedAt = Date.now();
    await first.stop();
    expect(Date.now() - stoppedAt).toBeLessThan(1_000);
    await controller.aspire({
      line: "flights",
      generation: 2,
      rollout: null,
      models: [modelOf(2, "champion", "f2")],
    });
    await controller.aspire({
      line: "flights",
      generation: 3,
      rollout: null,
      models: [modelOf(1, "champion")],
    });
    const second = start(broker, controller, checkpoints);
    await until(() => second.held()?.includes("feature definition f2") === true);
    await controller.aspire({
      line: "flights",
      generation: 4,
      rollout: null,
      models: [modelOf(2, "champion", "f2")],
    });
    await until(() => predictions(broker).length === 4);
    await second.stop();
    expect(predictions(broker).map(({ id }) => id)).toEqual(["a", "b", "c", "d"]);
  });

  it("comes back after Kafka was away, and counts on", async () => {
    const broker = await createBroker();
    const controller = createController();
    await controller.aspire({
      line: "flights",
      generation: 1,
      rollout: null,
      models: [modelOf(1, "champion")],
    });
    put(broker, [vector("a", 1)]);
    let away = true;
    const flaky = {
      ...broker,
      writer: async (...name: Parameters<typeof broker.writer>) =>
        away ? Promise.reject(new Error("away")) : broker.writer(...name),
    };
    const scoring = start(flaky, controller);
    await sleep(50);
    away = false;
    await until(() => predictions(broker).length === 1);
    broker.loseNextAck();
    put(broker, [vector("b", 1)]);
    await until(() => predictions(broker).length === 2);
    put(broker, [vector("c", 1)]);
    await until(() => predictions(broker).length === 3);
    await scoring.stop();
    expect(predictions(broker).map(({ id }) => id)).toEqual(["a", "b", "c"]);
    expect(scoring.counts().predictions).toBe(3);
  });
});
