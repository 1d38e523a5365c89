import type { Tensor } from "@millrace/open-inference";
import { lineSignature, rowModel, servingPorts } from "@millrace/testkit";
import { describe, expect, it } from "vitest";
import {
  type AspiredSet,
  featureTensor,
  type Handle,
  type LoadFailure,
  type ServedModel,
  type Signature,
  SwapController,
  scoreRows,
  type VersionModel,
} from "./index.ts";

/** A seeded scheduler: every asynchronous step of the fakes waits for its turn, and chance picks whose it is. */
class World {
  readonly #pending: (() => void)[] = [];
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** mulberry32 */
  random(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  below(bound: number): number {
    return Math.floor(this.random() * bound);
  }

  turn(): Promise<void> {
    return new Promise((resolve) => this.#pending.push(resolve));
  }

  get pending(): number {
    return this.#pending.length;
  }

  async step(): Promise<void> {
    if (this.#pending.length > 0) this.#pending.splice(this.below(this.#pending.length), 1)[0]?.();
    await new Promise(setImmediate);
  }
}

const FEATURES = ["a", "b"];
const digestOf = (version: number): string => version.toString(16).padStart(64, "0");
const modelOf = (version: number, role: VersionModel["role"]): VersionModel => ({
  version,
  role,
  artifactDigest: digestOf(version),
  artifactBytes: 1,
  featureDigest: "f",
  featureNames: FEATURES,
  datasetDigest: "",
  signature: "",
  share: role === "champion" ? 1 : 0,
  recipe: "lightgbm",
});
const setOf = (generation: number, champion: number, ...shadows: number[]): AspiredSet => ({
  line: "flights",
  generation,
  models: [modelOf(champion, "champion"), ...shadows.map((version) => modelOf(version, "shadow"))],
  rollout: null,
});

/** A model that answers its version and notices every misuse. */
class FakeModel implements ServedModel {
  readonly signature: Signature = lineSignature(FEATURES.length);
  readonly place = "here";
  readonly memoryBytes = 1;
  readonly version: number;
  readonly #world: World;
  releases = 0;
  scoring = 0;

  constructor(version: number, world: World) {
    this.version = version;
    this.#world = world;
  }

  async run([input]: readonly Tensor[]): Promise<Tensor[]> {
    const rows = input?.shape[0] as number;
    if (this.releases > 0) throw new Error("run after release");
    this.scoring++;
    await this.#world.turn();
    this.scoring--;
    if (this.releases > 0) throw new Error("released while scoring");
    const data = new Float32Array(rows).fill(this.version);
    return [{ name: "score", datatype: "FP32", shape: [rows], data }];
  }

  async release(): Promise<void> {
    this.releases++;
    if (this.scoring > 0) throw new Error("release while scoring");
    await this.#world.turn();
  }
}

interface Scene {
  readonly world: World;
  readonly controller: SwapController;
  readonly models: FakeModel[];
  readonly failures: LoadFailure[];
  /** Generations that began to serve. */
  readonly served: number[];
  /** Lets ms go by. */
  readonly pass: (ms: number) => void;
  /** Share of loads that fail. */
  broken: number | ((version: number) => boolean);
}

function scene(seed: number): Scene {
  const world = new World(seed);
  const models: FakeModel[] = [];
  const failures: LoadFailure[] = [];
  const served: number[] = [];
  let time = 0;
  const self: Scene = {
    world,
    models,
    failures,
    served,
    pass: (ms) => void (time += ms),
    broken: 0,
    controller: new SwapController("flights", {
      fetch: async (model) => {
        await world.turn();
        const fails =
          typeof self.broken === "number" ? world.random() < self.broken : self.broken(model.version);
        if (fails) throw new Error("the store is away");
        return Buffer.from(String(model.version));
      },
      load: async (bytes) => {
        await world.turn();
        const model = new FakeModel(Number(Buffer.from(bytes).toString()), world);
        models.push(model);
        return model;
      },
      ...servingPorts(),
      now: () => time++,
      onFailure: (failure) => void failures.push(failure),
      onServing: (set) => {
        expect(self.controller.champion?.version).toBe(set.models[0]?.version);
        served.push(set.generation);
      },
      onLeak: (_version, error) => {
        throw error;
      },
      pause: () => world.turn(),
    }),
  };
  return self;
}

async function run(world: World, until: () => boolean): Promise<void> {
  for (let i = 0; i < 10_000 && !until(); i++) await world.step();
  expect(until()).toBe(true);
}

describe("swap controller", () => {
  it("serves nothing before the first champion, then always somebody", async () => {
    const { world, controller } = scene(1);
    expect(controller.acquire()).toBeNull();
    void controller.aspire(setOf(1, 1));
    await run(world, () => controller.champion !== null);
    void controller.aspire(setOf(2, 2));
    while (controller.champion?.version === 1) {
      expect(controller.acquire()?.of.version).toBe(1);
      await world.step();
    }
    expect(controller.acquire()?.of.version).toBe(2);
    expect(controller.generation).toBe(2);
  });

  it("keeps the old model until the last handle on it is released, and says how long that took", async () => {
    const { world, controller, models } = scene(2);
    void controller.aspire(setOf(1, 1));
    await run(world, () => controller.champion !== null);
    const held = controller.acquire() as Handle;
    const other = controller.acquire() as Handle;
    let outcome: unknown;
    void controller.aspire(setOf(2, 2)).then((result) => {
      outcome = result;
    });
    await run(world, () => controller.champion?.version === 2);
    other.release();
    other.release();
    for (let i = 0; i < 20; i++) await world.step();
    expect(models.map((model) => model.releases)).toEqual([0, 0]);
    expect(outcome).toBeUndefined();
    held.release();
    await run(world, () => outcome !== undefined);
    expect(models.map((model) => model.releases)).toEqual([1, 0]);
    expect(outcome).toMatchObject({ outcome: "applied", generation: 2, from: 1, to: 2 });
  });

  it("ignores older and equal generations", async () => {
    const { world, controller } = scene(3);
    void controller.aspire(setOf(5, 1));
    await run(world, () => controller.champion !== null);
    expect(await controller.aspire(setOf(4, 9))).toEqual({ outcome: "ignored" });
    expect(await controller.aspire(setOf(5, 9))).toEqual({ outcome: "ignored" });
    expect(controller.target).toBe(5);
  });

  it("refuses a set that gives a loaded version other bytes", async () => {
    const { world, controller } = scene(4);
    void controller.aspire(setOf(1, 1));
    await run(world, () => controller.champion !== null);
    const other = setOf(2, 1);
    const changed = { ...other, models: other.models.map((one) => ({ ...one, artifactDigest: "0" })) };
    expect(await controller.aspire(changed)).toMatchObject({ outcome: "refused" });
    expect(controller.champion?.version).toBe(1);
  });

  it("keeps the incumbent while a version does not load, tries again, and takes it when it does", async () => {
    const stage = scene(5);
    const { world, controller, failures } = stage;
    void controller.aspire(setOf(1, 1));
    await run(world, () => controller.champion !== null);
    stage.broken = (version) => version === 2;
    const swap = controller.aspire(setOf(2, 2));
    await run(world, () => failures.length === 3);
    expect(controller.champion?.version).toBe(1);
    expect(controller.failures).toMatchObject([{ version: 2, stage: "fetch" }]);
    expect(failures.map((failure) => failure.attempts)).toEqual([1, 2, 3]);
    stage.broken = 0;
    await run(world, () => controller.champion?.version === 2 && world.pending === 0);
    expect(await swap).toMatchObject({ outcome: "applied", to: 2 });
    expect(controller.failures).toEqual([]);
  });

  it("lets the newest set win while older ones load, and drops what they loaded", async () => {
    const { world, controller, models } = scene(6);
    void controller.aspire(setOf(1, 1));
    await run(world, () => controller.champion !== null);
    const swaps = [2, 3, 4, 5].map((n) => controller.aspire(setOf(n, n)));
    await run(world, () => controller.champion?.version === 5 && world.pending === 0);
    expect((await Promise.all(swaps)).map((swap) => swap.outcome)).toEqual([
      "superseded",
      "superseded",
      "superseded",
      "applied",
    ]);
    expect(controller.loaded.map((model) => model.version)).toEqual([5]);
    for (const model of models) expect(model.releases).toBe(model.version === 5 ? 0 : 1);
  });

  it("does not hold a champion back for a shadow that does not load", async () => {
    const stage = scene(7);
    const { world, controller } = stage;
    stage.broken = (version) => version === 2;
    const swap = controller.aspire(setOf(1, 1, 2));
    let done = false;
    void swap.then(() => {
      done = true;
    });
    await run(world, () => done);
    expect(controller.loaded.map((model) => model.version)).toEqual([1]);
    stage.broken = 0;
    await run(world, () => controller.loaded.length === 2);
    const all = controller.acquireAll();
    expect([all?.champion.of.version, all?.beside.map((one) => one.of.version)]).toEqual([1, [2]]);
    expect(controller.acquire(2)?.of.version).toBe(2);
    expect(controller.acquire(3)).toBeNull();
  });

  it("uses a loaded shadow as champion without loading it again", async () => {
    const { world, controller, models } = scene(8);
    void controller.aspire(setOf(1, 2, 1));
    await run(world, () => controller.loaded.length === 2 && world.pending === 0);
    const rollback = controller.aspire(setOf(2, 1));
    expect(controller.champion?.version).toBe(1);
    await run(world, () => models.some((model) => model.releases === 1) && world.pending === 0);
    expect(await rollback).toMatchObject({
      outcome: "applied",
      from: 2,
      to: 1,
      stages: { fetch: 0, load: 0 },
    });
    expect(models).toHaveLength(2);
  });

  it.each(["count", "score"])("refuses a model that breaks the contract: %s", async (what) => {
    const failures: LoadFailure[] = [];
    let released = 0;
    const controller = new SwapController("flights", {
      fetch: async () => new Uint8Array(),
      ...servingPorts(),
      load: async () => ({
        ...rowModel(what === "count" ? 3 : 2, () => Number.NaN),
        release: async () => void released++,
      }),
      now: () => 0,
      onFailure: (failure) => void failures.push(failure),
      onLeak: () => {},
    });
    void controller.aspire(setOf(1, 1));
    for (let i = 0; i < 10; i++) await new Promise(setImmediate);
    expect(failures).toMatchObject([{ stage: "warm", version: 1 }]);
    expect([controller.champion, released]).toEqual([null, 1]);
    await controller.stop();
  });

  it("divides requests once champion and challenger are both ready, and says what each is for", async () => {
    const { world, controller } = scene(11);
    void controller.aspire(setOf(1, 1));
    await run(world, () => controller.champion !== null);
    const rollout = {
      version: 2,
      strategy: "canary",
      by: "request",
      share: 0.2,
      salt: "s",
      startedAtMs: 0,
    } as const;
    const models = [modelOf(1, "champion"), modelOf(2, "challenger"), modelOf(3, "shadow")];
    void controller.aspire({ ...setOf(2, 1), rollout, models });
    expect(controller.division).toBeNull();
    await run(world, () => controller.loaded.length === 3);
    expect(controller.division).toEqual({
      strategy: "canary",
      by: "request",
      plan: {
        salt: "s",
        arms: [
          { version: 1, role: "champion", share: 0.8 },
          { version: 2, role: "challenger", share: 0.2 },
        ],
      },
    });
    expect([1, 2, 3, 4].map((version) => controller.roleOf(version))).toEqual([
      "champion",
      "challenger",
      "shadow",
      null,
    ]);
    void controller.aspire(setOf(3, 2, 1));
    await run(world, () => controller.champion?.version === 2);
    expect([controller.division, controller.roleOf(1)]).toEqual([null, "shadow"]);
  });

  it("parks: frees all memory, answers nobody, and comes back with the newest set", async () => {
    const { world, controller, models } = scene(12);
    void controller.aspire(setOf(1, 1, 2));
    await run(world, () => controller.loaded.length === 2);
    expect(controller.memoryBytes).toBe(2);
    const held = controller.acquire() as Handle;
    let parked = false;
    void controller.park().then(() => {
      parked = true;
    });
    expect([controller.acquire(), controller.isParked]).toEqual([null, true]);
    for (let i = 0; i < 20; i++) await world.step();
    expect(parked).toBe(false);
    held.release();
    await run(world, () => parked);
    expect(models.map((model) => model.releases)).toEqual([1, 1]);
    expect(await controller.aspire(setOf(2, 3))).toEqual({ outcome: "parked" });
    let awake = 0;
    for (const _ of [1, 2]) void controller.wake().then(() => awake++);
    await run(world, () => awake === 2);
    expect([controller.champion?.version, controller.isParked]).toEqual([3, false]);
    await controller.wake();
  });

  it("tells who wakes it why the champion cannot be loaded, and goes on trying", async () => {
    const stage = scene(13);
    const { world, controller } = stage;
    void controller.aspire(setOf(1, 1));
    await run(world, () => controller.champion !== null);
    const parked = controller.park();
    await run(world, () => world.pending === 0);
    await parked;
    stage.broken = () => true;
    const waking = controller.wake().catch((error: unknown) => error);
    let failed: unknown;
    void waking.then((error) => {
      failed = error;
    });
    await run(world, () => failed !== undefined);
    expect(failed).toEqual(new Error("the store is away"));
    stage.broken = () => false;
    await run(world, () => controller.champion?.version === 1);
  });

  it("lets no waker wait for what will never be", async () => {
    const { world, controller } = scene(14);
    const none = { ...setOf(1, 1), models: [] };
    await expect(controller.wake()).rejects.toMatchObject({ code: "unavailable" });
    void controller.aspire(none);
    await expect(controller.wake()).rejects.toMatchObject({ code: "unavailable" });

    await controller.park();
    await controller.aspire(setOf(2, 1));
    const parked = controller.wake();
    void controller.park();
    await expect(parked).rejects.toMatchObject({ code: "unavailable", message: "line flights was parked" });

    const emptied = controller.wake();
    void controller.aspire({ ...none, generation: 3 });
    await expect(emptied).rejects.toMatchObject({ code: "unavailable" });

    void controller.aspire(setOf(4, 2));
    const stopped = controller.wake();
    const stop = controller.stop();
    await expect(stopped).rejects.toMatchObject({ code: "unavailable", message: "line flights is stopped" });
    await expect(controller.wake()).rejects.toMatchObject({ code: "unavailable" });
    await run(world, () => world.pending === 0);
    await stop;
  });

  it("says when a set begins to serve: at the flip, and again after it was parked", async () => {
    const { world, controller, served } = scene(15);
    void controller.aspire(setOf(1, 1, 3));
    await run(world, () => controller.loaded.length === 2);
    expect(served).toEqual([1]);
    const held = controller.acquire() as Handle;
    void controller.aspire(setOf(2, 2));
    expect(controller.wanted.map(({ version }) => version)).toEqual([2]);
    await run(world, () => controller.champion?.version === 2);
    expect(served).toEqual([1, 2]);
    held.release();
    void controller.park();
    void controller.wake();
    await run(world, () => controller.champion !== null);
    expect(served).toEqual([1, 2, 2]);
    void controller.aspire({ ...setOf(3, 1), models: [] });
    expect(served).toEqual([1, 2, 2]);
  });

  it("drops a version that has died at once, and loads it again after a pause", async () => {
    const { world, controller, models, failures, served } = scene(16);
    void controller.aspire(setOf(1, 1, 2));
    await run(world, () => controller.loaded.length === 2 && world.pending === 0);
    controller.failed(9);
    const held = controller.acquire(2) as Handle;
    const dead = models.find(({ version }) => version === 2);
    controller.failed(2);
    expect([controller.champion?.version, controller.acquire(2)]).toEqual([1, null]);
    expect(failures).toMatchObject([{ version: 2, stage: "serve", attempts: 1 }]);
    await run(world, () => controller.acquire(2) !== null);
    expect(dead?.releases).toBe(0);
    held.release();
    await run(world, () => dead?.releases === 1);

    controller.failed(1);
    expect([controller.acquire(), controller.acquireAll(), controller.loaded]).toEqual([null, null, []]);
    await run(world, () => controller.champion?.version === 1 && world.pending === 0);
    expect([controller.loaded.length, controller.failures]).toEqual([2, []]);
    expect(served).toEqual([1, 1]);
  });

  it("does not serve a version that dies before it is ready, and waits longer each time", async () => {
    const { world, controller, models, failures, pass } = scene(17);
    const swap = controller.aspire(setOf(1, 1));
    for (let deaths = 1; deaths <= 3; deaths++) {
      await run(world, () => models.length === deaths);
      controller.failed(1);
      await run(world, () => failures.length === deaths);
      expect(controller.champion).toBeNull();
    }
    expect(failures.map(({ attempts }) => attempts)).toEqual([1, 2, 3]);
    await run(world, () => controller.champion !== null);
    expect(await swap).toMatchObject({ outcome: "applied", to: 1 });
    expect(models.map(({ releases }) => releases)).toEqual([1, 1, 1, 0]);
    controller.failed(1);
    await run(world, () => controller.champion !== null);
    pass(120_000);
    controller.failed(1);
    expect(failures.map(({ attempts }) => attempts)).toEqual([1, 2, 3, 4, 1]);
  });

  it("does not count a set as applied whose champion died before its shadow was there", async () => {
    const { world, controller } = scene(19);
    let outcome: unknown;
    void controller.aspire(setOf(1, 1, 2)).then((result) => {
      outcome = result;
    });
    await run(world, () => controller.champion !== null);
    expect([controller.loaded.length, outcome]).toEqual([1, undefined]);
    controller.failed(1);
    await run(world, () => outcome !== undefined);
    expect(outcome).toMatchObject({ outcome: "applied", to: 1 });
  });

  it("compares a new version with the champion on recorded requests before it serves", async () => {
    const inputs = [featureTensor(Float32Array.from([1, 2, 3, 4]), 2)];
    const controller = new SwapController("flights", {
      fetch: async ({ version }) => Uint8Array.of(version),
      load: async ([version = 0]) =>
        rowModel(2, ([first = 0]) => version + (Number.isNaN(first) ? 0 : first)),
      ...servingPorts(),
      recent: { offer: () => {}, all: () => [inputs] },
      now: () => 0,
      onFailure: () => {},
      onLeak: () => {},
    });
    expect(await controller.aspire(setOf(1, 1))).toMatchObject({ outcome: "applied", compared: null });
    expect(await controller.aspire(setOf(2, 4))).toMatchObject({
      outcome: "applied",
      compared: { pairs: 2, mean: 3, max: 3, shareBeyond: 1 },
    });
  });

  it("stops while loading and while handles are held, and frees everything once", async () => {
    const { world, controller, models } = scene(9);
    void controller.aspire(setOf(1, 1));
    await run(world, () => controller.champion !== null);
    const held = controller.acquire() as Handle;
    const swap = controller.aspire(setOf(2, 2));
    await world.step();
    let stopped = false;
    void controller.stop().then(() => {
      stopped = true;
    });
    expect(controller.acquire()).toBeNull();
    for (let i = 0; i < 30; i++) await world.step();
    expect(stopped).toBe(false);
    held.release();
    await run(world, () => stopped);
    expect(await swap).toEqual({ outcome: "superseded" });
    expect(models.every((model) => model.releases === 1)).toBe(true);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])(
    "keeps G1 to G5 through 500 swaps in random order (seed %i)",
    async (seed) => {
      const stage = scene(seed * 7_919);
      const { world, controller, models } = stage;
      stage.broken = 0.2;
      let generation = 0;
      let calls = 0;
      let wrong = 0;
      const outcomes: Promise<{ outcome: string }>[] = [];
      const call = async (): Promise<void> => {
        const handle = controller.acquire();
        if (handle === null) return void wrong++;
        const scores = await scoreRows(handle.model, new Float32Array(2), 1);
        if (scores[0] !== handle.of.version) wrong++;
        handle.release();
        calls++;
      };
      outcomes.push(controller.aspire(setOf(++generation, 1)));
      await run(world, () => controller.champion !== null);

      const errors: unknown[] = [];
      while (generation < 500) {
        const dice = world.random();
        if (dice < 0.12) {
          const champion = 1 + world.below(20);
          const shadow = 1 + world.below(20);
          const set = setOf(++generation, champion, ...(shadow === champion ? [] : [shadow]));
          outcomes.push(controller.aspire(set));
        } else if (dice < 0.15) {
          outcomes.push(controller.aspire(setOf(world.below(generation), 1 + world.below(20))));
        } else if (dice < 0.17) {
          const shadow = controller.loaded[1];
          if (shadow !== undefined) controller.failed(shadow.version);
        } else if (dice < 0.5) {
          call().catch((error: unknown) => errors.push(error));
        } else {
          await world.step();
        }
        expect(controller.champion).not.toBeNull();
      }
      stage.broken = 0;
      await run(world, () => world.pending === 0 && controller.generation === generation);
      const live = controller.loaded.map((model) => model.version);
      const stop = controller.stop();
      await run(world, () => world.pending === 0);
      await stop;
      expect(errors).toEqual([]);
      expect(wrong).toBe(0);
      expect(calls).toBeGreaterThan(500);
      expect(live.length).toBeGreaterThan(0);
      expect(models.filter((model) => model.releases !== 1)).toEqual([]);
      const results = (await Promise.all(outcomes)).map((one) => one.outcome);
      expect(results.at(-1)).toMatch(/applied|ignored/);
      expect(results).toContain("superseded");
    },
  );
});
