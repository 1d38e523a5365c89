import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  canonicalJson,
  type Decision,
  type DriftReport,
  type Example,
  formatPosition,
  HEADERS,
  registryApi,
  type Verdict,
} from "@millrace/contracts";
import { parseManifest } from "@millrace/datasets";
import { defineLine, featurePart, type LineDefinition } from "@millrace/lines";
import { loadModel } from "@millrace/onnx";
import { openParquet, type Parquet } from "@millrace/parquet";
import { buildRegistry, openSqliteStore, Refusal } from "@millrace/registry";
import { createRpcClient, RpcError, type RpcServer, serve, startRpcServer } from "@millrace/rpc";
import { bearerTokens, createLog, type Service, sha256Hex, sleep, systemClock } from "@millrace/runtime";
import { createMemoryBroker, type MemoryBroker, type MemoryObjects, memoryObjects } from "@millrace/testkit";
import { buildTrainer, type Ports } from "@millrace/trainer";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const TOKEN = "0123456789abcdef";
/** The registry trusts the trainer's key, and takes nothing else. */
const SIGNING = generateKeyPairSync("ed25519");
const log = createLog("test", "silent");
const HOUR_MS = 3_600_000;
/** So many examples are archived at once, without waiting for more. */
const BLOCK = 5_000;
const START_MS = Date.UTC(2001, 0, 1);
const RECIPES = new URL("../../services/trainer/recipes", import.meta.url).pathname;

const LINE: LineDefinition = defineLine({
  name: "parcels",
  title: "Late?",
  streams: {
    sent: {
      topic: "parcels.sent",
      id: "id",
      time: "at",
      key: ["id"],
      fields: {
        id: { type: "text" },
        at: { type: "time" },
        weight: { type: "number" },
        stops: { type: "number" },
      },
    },
    delivered: {
      topic: "parcels.delivered",
      id: "id",
      time: "at",
      key: ["id"],
      fields: { id: { type: "text" }, at: { type: "time" }, delay: { type: "number" } },
    },
  },
  predict: { on: "sent" },
  label: {
    name: "late",
    from: "delivered",
    match: "id",
    positive: { field: "delay", above: 1 },
    waitFor: "1d",
  },
  features: { weight: { kind: "field", field: "weight" }, stops: { kind: "field", field: "stops" } },
  recipes: [
    { recipe: "logistic", windows: ["all", "since-change"] },
    { recipe: "lightgbm", windows: ["all"] },
  ],
  retrain: {
    firstAfter: 1_000,
    minChange: 500,
    cooldown: "1h",
    staleAfter: "14d",
    maxRunsPerDay: 4,
    learnFrom: "42d",
  },
});
const FEATURES = sha256Hex(canonicalJson(featurePart(LINE)));

/** A repeatable draw from [0, 1). */
function draw(i: number): number {
  let x = Math.imul(i + 1, 2_654_435_761);
  x = Math.imul(x ^ (x >>> 16), 0x45d9f3b);
  x = Math.imul(x ^ (x >>> 15), 0x119de1f3);
  return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
}

/** One example a minute; `direction` says which way weight matters. */
function example(i: number, direction: 1 | -1): Example {
  const weight = 4 * draw(i) - 2;
  const time = START_MS + i * 60_000;
  const chance = 1 / (1 + Math.exp(-3 * direction * weight));
  return {
    id: `parcel-${i}`,
    time,
    knownAt: time + HOUR_MS,
    label: draw(i + 1_000_000) < chance ? 1 : 0,
    values: [weight, i % 5 === 0 ? null : i % 7],
    features: FEATURES,
    revision: 0,
    labelled: "event",
    vectorAcceptedAtMs: time,
    labelAcceptedAtMs: time + HOUR_MS,
  };
}

let folder: string;
let broker: MemoryBroker;
let objects: MemoryObjects;
let parquet: Parquet;
let registry: Service;
let server: RpcServer;
let client: ReturnType<typeof connect>;
let trainers: Service[];
let defects: unknown[];

const connect = () =>
  createRpcClient(registryApi.RegistryService, `127.0.0.1:${server.port}`, { token: TOKEN });

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "millrace-training-"));
  broker = createMemoryBroker(() => Date.now());
  objects = memoryObjects();
  parquet = await openParquet({ memoryMb: 256, threads: 1, scratch: join(folder, "spill") });
  trainers = [];
  defects = [];
  registry = buildRegistry({
    openStore: () => openSqliteStore(join(folder, "registry.sqlite")),
    broker,
    announcer: { publish: () => {}, connected: () => false, stop: async () => {} },
    trustedKeys: [SIGNING.publicKey.export({ format: "pem", type: "spki" }).toString()],
    serve: async (handlers) => {
      const mapped = Object.entries(handlers).map(([name, handler]) => [
        name,
        async (request: never, call: never) => {
          try {
            return await (handler as (request: never, call: never) => Promise<unknown>)(request, call);
          } catch (error) {
            throw error instanceof Refusal ? new RpcError(error.code, error.message) : error;
          }
        },
      ]);
      server = await startRpcServer({
        host: "127.0.0.1",
        port: 0,
        authorise: bearerTokens([TOKEN]),
        requestBytesMax: 8_000_000,
        onDefect: (_method, error) => void defects.push(error),
        services: [serve(registryApi.RegistryService, Object.fromEntries(mapped) as typeof handlers)],
      });
      return server;
    },
    clock: systemClock,
    log,
  });
  await registry.start(new AbortController().signal);
  client = connect();
  await client.applyLine({ definitionJson: JSON.stringify(LINE) });
});
afterEach(async () => {
  for (const trainer of trainers) await trainer.stop(5_000);
  expect(defects).toEqual([]);
  client.close();
  await registry.stop(1_000);
  parquet.close();
  rmSync(folder, { recursive: true });
});

interface Death {
  dead: boolean;
}

/**
 * A trainer, as a process with its own folder. With a death, every port refuses everything once it is dead: nothing
 * that it does has an effect any more.
 */
async function startTrainer(
  name: string,
  death?: Death,
  onCall?: (method: string, when: string) => void,
): Promise<Service> {
  const check = (): void => {
    if (death?.dead === true) throw new Error("this process is dead");
  };
  const own = connect();
  const mortal = <T extends object>(port: T): T =>
    new Proxy(port, {
      get: (target, key) => {
        const value = Reflect.get(target, key) as unknown;
        if (typeof value !== "function" || key === "close" || key === "stop") return value;
        return async (...args: unknown[]) => {
          check();
          onCall?.(String(key), "before");
          check();
          const answer = (await (value as (...all: unknown[]) => unknown).apply(target, args)) as unknown;
          onCall?.(String(key), "after");
          check();
          return answer;
        };
      },
    });
  const ports: Ports = {
    registry: mortal(own),
    codeOf: (error) => (error instanceof RpcError ? error.code : null),
    broker: {
      ...broker,
      send: mortal(broker).send,
    },
    objects: mortal(objects as Ports["objects"]),
    parquet,
    loadModel,
    onRegistryChange: () => () => {},
    clock: systemClock,
    log,
    fail: (error) => {
      if (death?.dead !== true) throw error;
    },
    close: async () => own.close(),
  };
  const trainer = buildTrainer(
    {
      data: join(folder, name),
      recipes: RECIPES,
      recipeEnvironment: { PATH: "/usr/bin:/bin" },
      threads: 1,
      seconds: 60,
      signingKey: SIGNING.privateKey,
    },
    ports,
  );
  trainers.push(trainer);
  await trainer.start(new AbortController().signal);
  return trainer;
}

/** Waits until `look` answers something. */
async function until<T>(what: string, look: () => Promise<T | null | undefined | false>): Promise<T> {
  for (const end = Date.now() + 25_000; Date.now() < end; await sleep(50)) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
  }
  throw new Error(
    `waited in vain for ${what}: ${JSON.stringify(await runs(), (_, v) => (typeof v === "bigint" ? Number(v) : v), 1)}`,
  );
}

const runs = async () => (await client.listRuns({ line: LINE.name })).runs;
const versions = async () => (await client.listVersions({ line: LINE.name })).versions;
const champion = async (): Promise<number> =>
  Number(
    (await client.getAspiredSet({ line: LINE.name })).sets[0]?.models.find(({ role }) => role === "champion")
      ?.version ?? 0n,
  );
const decisions = (): Decision[] =>
  broker.records("training.decisions").map((record) => JSON.parse(String(record.value)) as Decision);
const ended = (trigger: string) => () =>
  runs().then((all) =>
    all.find((run) => run.trigger === trigger && ["promoted", "rejected", "failed"].includes(run.state)),
  );

let offset = 0;
function publish(examples: readonly Example[]): void {
  broker.write(
    examples.map((one) => ({
      topic: "parcels.examples",
      partition: 0,
      key: one.id,
      value: JSON.stringify(one),
      headers: {
        [HEADERS.source]: formatPosition({
          topic: "parcels.events",
          partition: 0,
          offset: offset++,
          index: 0,
        }),
      },
    })),
  );
}

function report(id: string, change: Partial<DriftReport> = {}): void {
  const value: DriftReport = {
    id,
    line: LINE.name,
    kind: "harm",
    time: START_MS,
    changeTime: START_MS + BLOCK * 60_000,
    version: 2,
    statistic: 1e7,
    threshold: 1e6,
    reference: { rows: 1_000, loss: 0.1 },
    live: { rows: 1_000, loss: 0.4 },
    shifts: [],
    ...change,
  };
  broker.write([
    {
      topic: "parcels.drift",
      partition: 0,
      key: LINE.name,
      value: JSON.stringify(value),
      headers: { [HEADERS.traceparent]: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
    },
  ]);
}

describe("the trainer", () => {
  it("goes from nothing to a baseline, a first model, and after a change to a better one", async () => {
    const trainer = await startTrainer("a");
    expect((await until("the baseline", ended("bootstrap"))).state).toBe("promoted");
    expect(await champion()).toBe(1);
    expect((await versions())[0]).toMatchObject({ recipe: "baseline", passed: true });

    publish(Array.from({ length: BLOCK }, (_, i) => example(i, 1)));
    const first = await until("the first model", ended("first"));
    expect(first).toMatchObject({ state: "promoted", version: 2n, cause: "first/4000" });
    expect(first.reason).toMatch(/lightgbm\/all: recipe lightgbm needs MILLRACE_LIGHTGBM_LIBRARY/);
    const evidence = JSON.parse((await versions())[1]?.evidenceJson ?? "") as Verdict;
    expect(evidence.candidate.auc).toBeGreaterThan(0.8);
    expect(evidence.gates.map(({ gate, passed }) => [gate, passed])).toContainEqual(["parity", true]);

    // The world turns round: what was late is on time.
    report("too-early");
    await until("a delay", async () => decisions().find(({ cause }) => cause === "too-early"));
    expect(decisions().at(-1)).toMatchObject({
      outcome: "delayed",
      reason: expect.stringMatching(/0 examples.*500/),
    });
    publish(Array.from({ length: 2_000 }, (_, i) => example(BLOCK + i, -1)));
    const drift = await until("the retraining", ended("drift"));
    expect(drift).toMatchObject({ state: "promoted", version: 3n, cause: "too-early" });
    expect(drift.traceparent).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-/);
    const verdict = JSON.parse((await versions())[2]?.evidenceJson ?? "") as Verdict;
    expect(verdict.candidates[0]?.name).toBe("logistic/since-change");
    expect(verdict.champion?.auc).toBeLessThan(0.3);
    expect(verdict.candidate.auc).toBeGreaterThan(0.8);

    // What was trained on ends before what was judged on, and the dataset can be found again.
    const manifest = parseManifest(
      Buffer.from(await objects.get(drift.datasetDigest, { bytesMax: 1e7 })).toString(),
    );
    expect(manifest.training.maxTimeMs).toBeLessThan(manifest.heldOutFromMs);
    expect(manifest.rows).toBe(BLOCK + 2_000);

    // A report about a version of the past, and a storm about the present one.
    broker.write([{ topic: "parcels.drift", partition: 0, key: null, value: "no report", headers: {} }]);
    report("of-the-past");
    for (let i = 0; i < 50; i++)
      report(`storm-${i}`, { version: 3, changeTime: START_MS + (BLOCK + 1_900) * 60_000 });
    await until("all decisions", async () => decisions().some(({ cause }) => cause === "storm-49"));
    expect(decisions().find(({ cause }) => cause === "of-the-past")?.outcome).toBe("refused");
    expect((await runs()).length).toBe(3);
    const said = decisions().map(({ cause, outcome }) => `${cause} ${outcome}`);
    expect(new Set(said).size).toBe(said.length);

    const status = trainer.lines()[LINE.name];
    expect(status?.counts).toMatchObject({ runs: 3, examples: BLOCK + 2_000, decisions: said.length });
    expect(status?.details).toMatchObject({
      lastDecision: { cause: "storm-49" },
      lastVerdict: { passed: true },
    });
    const stages = broker
      .records("training.progress")
      .map((record) => JSON.parse(String(record.value)).stage);
    expect(new Set(stages)).toEqual(new Set(["build", "train", "judge", "register", "promote", "end"]));
  }, 60_000);

  it("lets a better model answer a share first, where the line asks for it, until labels have proven it", async () => {
    const rollout = { ...LINE.rollout, strategy: "canary" as const, share: 0.2, minLabels: 500 };
    await client.applyLine({ definitionJson: JSON.stringify({ ...LINE, rollout }) });
    const trainer = await startTrainer("a");
    await until("the baseline", ended("bootstrap"));
    publish(Array.from({ length: BLOCK }, (_, i) => example(i, 1)));
    // A constant is no rival.
    expect((await until("the first model", ended("first"))).state).toBe("promoted");
    report("turn");
    publish(Array.from({ length: 2_000 }, (_, i) => example(BLOCK + i, -1)));
    const set = await until("the rollout", async () => {
      const { sets } = await client.getAspiredSet({ line: LINE.name });
      return sets[0]?.rollout === undefined ? null : sets[0];
    });
    expect(set.models.map(({ version, role, share }) => [Number(version), role, share])).toEqual([
      [2, "champion", 0.8],
      [3, "challenger", 0.2],
    ]);
    await until("the run's end", async () =>
      (await runs()).find(({ state, version }) => state === "rolling-out" && version === 3n),
    );

    const trial = () =>
      trainer.lines()["parcels"]?.details["rollout"] as { labels: number; outcome: string } | null;
    await until("the trial", async () => trial());
    const from = BLOCK + 2_000;
    const rows = Array.from({ length: 2_000 }, (_, i) => example(from + i, -1));
    const sure = (one: Example, direction: 1 | -1): number =>
      1 / (1 + Math.exp(-direction * (one.values[0] as number)));
    broker.write(
      rows.map((one, i) => {
        const scores = { 2: sure(one, 1), 3: sure(one, -1) };
        const version = i % 5 === 0 ? 3 : 2;
        const { [version]: score, ...shadows } = scores;
        return {
          topic: "parcels.predictions",
          partition: 0,
          key: one.id,
          value: JSON.stringify({ id: one.id, time: one.time, version, score, shadows }),
          headers: {},
        };
      }),
    );
    publish(rows.slice(0, 400));
    await until("400 labels", async () => trial()?.labels === 400);
    expect(trial()).toMatchObject({ challenger: 3, outcome: "undecided" });

    // What was seen is not lost with the process.
    await trainer.stop(5_000);
    await startTrainer("a");
    publish(rows.slice(400));
    await until("the promotion", async () => (await champion()) === 3);
    const { sets } = await client.getHistory({ line: LINE.name });
    expect(sets.slice(0, 2)).toMatchObject([
      {
        change: "promote",
        reason: expect.stringMatching(/the challenger's loss is lower by .* over \d+ rows/),
      },
      { change: "rollout-start" },
    ]);
    expect(sets[0]?.rollout).toBeUndefined();
  });

  it("learns from corrected labels, and never from what they supersede", async () => {
    await startTrainer("a");
    await until("the baseline", ended("bootstrap"));
    // Every label is first told the wrong way round.
    const right = Array.from({ length: BLOCK }, (_, i) => example(i, 1));
    publish(right.map((one) => ({ ...one, label: 1 - one.label })));
    const first = await until("a first model that learnt the wrong way", ended("first"));
    expect(first.state).toBe("promoted");
    publish(right.map((one) => ({ ...one, revision: 1, knownAt: one.knownAt + 2 * HOUR_MS })));
    report("corrected", { changeTime: START_MS });
    const drift = await until("the retraining", ended("drift"));
    expect(drift.state).toBe("promoted");
    const manifest = parseManifest(
      Buffer.from(await objects.get(drift.datasetDigest, { bytesMax: 1e7 })).toString(),
    );
    expect([manifest.rows, manifest.positives]).toEqual([
      BLOCK,
      right.filter(({ label }) => label === 1).length,
    ]);
    const verdict = JSON.parse((await versions())[2]?.evidenceJson ?? "") as Verdict;
    expect(verdict.candidate.auc).toBeGreaterThan(0.8);
    expect(verdict.champion?.auc).toBeLessThan(0.3);
  }, 60_000);

  it("registers a model that is no better as evidence, and does not promote it", async () => {
    await startTrainer("a");
    await until("the baseline", ended("bootstrap"));
    // Labels that nothing explains.
    publish(
      Array.from({ length: BLOCK }, (_, i) => ({
        ...example(i, 1),
        label: draw(i + 5_000_000) < 0.5 ? 1 : 0,
      })),
    );
    const first = await until("the first run", ended("first"));
    expect(first).toMatchObject({
      state: "rejected",
      version: 2n,
      reason: expect.stringMatching(/not better/),
    });
    expect((await versions())[1]).toMatchObject({ passed: false });
    expect(await champion()).toBe(1);
  }, 60_000);

  it("waits while the object store is away, and goes on by itself", async () => {
    await startTrainer("a");
    await until("the baseline", ended("bootstrap"));
    objects.available = false;
    publish(Array.from({ length: BLOCK }, (_, i) => example(i, 1)));
    await sleep(1_500);
    objects.available = true;
    expect((await until("the first model", ended("first"))).state).toBe("promoted");
  }, 60_000);

  it("two trainers never work on the same line", async () => {
    await startTrainer("a");
    await until("the baseline", ended("bootstrap"));
    const second = await startTrainer("b");
    publish(Array.from({ length: BLOCK }, (_, i) => example(i, 1)));
    expect((await until("the first model", ended("first"))).state).toBe("promoted");
    expect(second.lines()[LINE.name]).toMatchObject({ counts: { runs: 0 }, details: { run: null } });
    expect((await versions()).length).toBe(2);
  }, 60_000);

  it.each([
    ["addRun", "after"],
    ["updateRun", "before"],
    ["registerVersion", "before"],
    ["registerVersion", "after"],
    ["promote", "after"],
  ])(
    "a trainer that dies at %s (%s) and starts again registers one version per run",
    async (method, when) => {
      const death: Death = { dead: false };
      let armed = false;
      const old = await startTrainer("a", death, (called, moment) => {
        if (armed && called === method && moment === when) death.dead = true;
      });
      await until("the baseline", ended("bootstrap"));
      armed = true;
      publish(Array.from({ length: BLOCK }, (_, i) => example(i, 1)));
      await until("its death", async () => death.dead);
      await old.stop(5_000);

      await startTrainer("a");
      const first = await until("the first model", ended("first"));
      expect(first).toMatchObject({ state: "promoted", version: 2n });
      expect((await versions()).map(({ version }) => Number(version))).toEqual([1, 2]);
      expect(await champion()).toBe(2);
      expect((await runs()).length).toBe(2);
      const blocks = (await client.listBlocks({ topic: "parcels.examples" })).blocks;
      expect(blocks.reduce((sum, { rows }) => sum + Number(rows), 0)).toBe(BLOCK);
    },
    60_000,
  );
});
