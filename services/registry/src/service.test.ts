import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canonicalJson, type RegistryChange, registryApi } from "@millrace/contracts";
import {
  defineLine,
  defineServedLine,
  featurePart,
  type LabelDefinition,
  type LineDefinition,
} from "@millrace/lines";
import { createRpcClient, type RpcClient } from "@millrace/rpc";
import { createLog, type Service, sha256Hex } from "@millrace/runtime";
import { signModel } from "@millrace/signing";
import { type Broker, headerText } from "@millrace/stream";
import { createMemoryBroker, type MemoryBroker } from "@millrace/testkit";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { buildRegistry, openSqliteStore } from "./service.ts";
import { serveRegistry } from "./wiring.ts";

const TOKEN = "0123456789abcdef";
const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const log = createLog("test", "silent");
const hex = (text: string): string => sha256Hex(text);

/** Kafka in memory that can be away. */
class Kafka {
  away = false;
  readonly memory: MemoryBroker = createMemoryBroker();
  readonly broker: Broker = {
    ...this.memory,
    ensureTopics: async (topics, partitions) => await this.#reach().ensureTopics(topics, partitions),
    offsets: async (topic) => await this.#reach().offsets(topic),
    send: async (records) => await this.#reach().send(records),
  };
  #reach(): MemoryBroker {
    if (this.away) throw new Error("no broker answers");
    return this.memory;
  }
  /** Number of partitions; 0 where there is no such topic. */
  async partitions(topic: string): Promise<number> {
    return await this.memory.offsets(topic).then(
      (offsets) => offsets.length,
      () => 0,
    );
  }
  async create(topic: string, partitions: number): Promise<void> {
    await this.memory.ensureTopics(
      [{ name: topic, key: "", owner: "", readers: [], config: {} }],
      partitions,
    );
  }
  changes(): RegistryChange[] {
    return this.memory
      .records("registry.changes")
      .map((record) => JSON.parse(String(Buffer.from(record.value ?? []))) as RegistryChange);
  }
}

class FakeAnnouncer {
  isConnected = true;
  readonly sent: { subject: string; payload: object; traceparent: string | undefined }[] = [];
  publish(subject: string, payload: object, traceparent?: string): void {
    if (this.isConnected) this.sent.push({ subject, payload, traceparent });
  }
  connected = (): boolean => this.isConnected;
  stop = async (): Promise<void> => {};
}

const FLIGHTS: LineDefinition = defineLine({
  name: "flights",
  title: "Late?",
  streams: {
    departures: {
      topic: "departures",
      id: "id",
      time: "due",
      key: ["id"],
      fields: { id: { type: "text" }, due: { type: "time" }, distance: { type: "integer" } },
    },
    arrivals: {
      topic: "arrivals",
      id: "id",
      time: "landed",
      key: ["id"],
      fields: { id: { type: "text" }, landed: { type: "time" }, delay: { type: "integer" } },
    },
  },
  predict: { on: "departures" },
  label: {
    name: "late",
    from: "arrivals",
    match: "id",
    positive: { field: "delay", above: 15 },
    waitFor: "3d",
  },
  features: { distance: { kind: "field", field: "distance" }, hour: { kind: "hour", of: "due" } },
  recipes: [{ recipe: "lightgbm", windows: ["all"] }],
  retrain: {
    firstAfter: 100,
    minChange: 100,
    cooldown: "12h",
    staleAfter: "14d",
    maxRunsPerDay: 4,
    learnFrom: "42d",
  },
});
const FEATURES = hex(canonicalJson(featurePart(FLIGHTS)));

let folder: string;
let kafka: Kafka;
let announcer: FakeAnnouncer;
let nowMs: number;
let registry: Service;
let port: number;
let client: RpcClient<typeof registryApi.RegistryService>;

async function start(trustedKeys: readonly string[] = []): Promise<void> {
  registry = buildRegistry({
    openStore: () => openSqliteStore(join(folder, "registry.sqlite")),
    broker: kafka.broker,
    announcer,
    trustedKeys,
    serve: async (handlers) => {
      const server = await serveRegistry(handlers, { host: "127.0.0.1", port: 0, token: TOKEN, log });
      port = server.port;
      return server;
    },
    clock: { now: () => nowMs },
    log,
  });
  await registry.start(new AbortController().signal);
  client = createRpcClient(registryApi.RegistryService, `127.0.0.1:${port}`, { token: TOKEN });
}
async function stop(): Promise<void> {
  client.close();
  await registry.stop(1_000);
}
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "millrace-registry-"));
  kafka = new Kafka();
  announcer = new FakeAnnouncer();
  nowMs = 1_000_000;
  await start();
});
afterEach(async () => {
  await stop();
  rmSync(folder, { recursive: true });
});

const apply = (line: LineDefinition = FLIGHTS) => client.applyLine({ definitionJson: JSON.stringify(line) });
const lease = async (holder = "trainer-1"): Promise<bigint> =>
  (await client.acquireLease({ line: "flights", holder, ttlMs: 10_000n })).epoch;
const version = (name: string, epoch: bigint, more: object = {}) => ({
  version: {
    line: "flights",
    artifactDigest: hex(name),
    artifactBytes: 100n,
    recipe: "lightgbm",
    featureDigest: FEATURES,
    featureNames: ["distance", "hour"],
    datasetDigest: hex("dataset"),
    epoch,
    passed: true,
    evidenceJson: '{"passed":true}',
    ...more,
  },
});
const register = async (name: string, epoch: bigint, more: object = {}): Promise<bigint> =>
  (await client.registerVersion(version(name, epoch, more))).version?.version ?? 0n;
const promote = async (number: bigint, generation: bigint, epoch: bigint) =>
  (
    await client.promote({
      line: "flights",
      version: number,
      expectedGeneration: generation,
      epoch,
      reason: "better",
    })
  ).aspired;
const aspired = async () => (await client.getAspiredSet({ line: "flights" })).sets[0];
const roles = (set: Awaited<ReturnType<typeof aspired>>) =>
  Object.fromEntries(set?.models.map((model) => [model.role, Number(model.version)]) ?? []);

describe("lines", () => {
  it("applies a line once per definition, after its topics are there", async () => {
    const first = await apply();
    expect(first).toMatchObject({
      changed: true,
      line: { name: "flights", revision: 1n, appliedAtMs: 1_000_000n },
    });
    expect(first.line?.digest).toBe(hex(canonicalJson(FLIGHTS)));
    for (const topic of ["departures", "arrivals", "flights.events", "flights.rejected", "flights.drift"]) {
      expect(await kafka.partitions(topic), topic).toBe(1);
    }
    expect(await apply(JSON.parse(canonicalJson(FLIGHTS)) as LineDefinition)).toMatchObject({
      changed: false,
      line: { revision: 1n },
    });
    expect(await apply({ ...FLIGHTS, title: "Later?" })).toMatchObject({
      changed: true,
      line: { revision: 2n },
    });
    expect((await client.listLines({})).lines.map((line) => [line.name, line.revision])).toEqual([
      ["flights", 2n],
    ]);
    await vi.waitFor(() =>
      expect(kafka.changes().map((change) => [change.kind, change.reason])).toEqual([
        ["applied", "revision 1"],
        ["applied", "revision 2"],
      ]),
    );
  });

  it("refuses a wrong definition with field and remedy, and text that is no JSON", async () => {
    const label = { ...(FLIGHTS.label as LabelDefinition), from: "landings" };
    const wrong = apply({ ...FLIGHTS, label });
    await expect(wrong).rejects.toMatchObject({
      code: "invalidArgument",
      message: expect.stringMatching(/label\.from: there is no stream "landings"\. Use one of/),
    });
    await expect(client.applyLine({ definitionJson: "{" })).rejects.toMatchObject({
      code: "invalidArgument",
      message: expect.stringContaining("not JSON"),
    });
    expect((await client.listLines({})).lines).toEqual([]);
  });

  it("answers unavailable with a remedy while Kafka is away, stores nothing, and works afterwards", async () => {
    kafka.away = true;
    await expect(apply()).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/no broker answers.*Start Kafka/),
    });
    expect((await client.listLines({})).lines).toEqual([]);
    kafka.away = false;
    expect((await apply()).changed).toBe(true);
  });

  it("refuses another number of partitions, of the line or of an existing topic", async () => {
    await kafka.create("departures", 3);
    await expect(apply()).rejects.toMatchObject({
      code: "failedPrecondition",
      message: expect.stringContaining("topic departures has 3 partitions"),
    });
    expect((await client.listLines({})).lines).toEqual([]);
    const other = { ...FLIGHTS.streams, departures: { ...FLIGHTS.streams["departures"], topic: "d2" } };
    const line = { ...FLIGHTS, streams: other } as LineDefinition;
    await apply(line);
    await expect(apply({ ...line, partitions: 2 })).rejects.toMatchObject({
      code: "failedPrecondition",
      message: expect.stringContaining("cannot change to 2"),
    });
  });
});

describe("blocks", () => {
  const block = (firstOffset: bigint, nextOffset: bigint, name = "block", more: object = {}) => ({
    block: {
      line: "flights",
      topic: "flights.examples",
      partition: 0,
      firstOffset,
      nextOffset,
      rows: nextOffset - firstOffset,
      digest: hex(`${name}${firstOffset}`),
      bytes: 10n,
      minTimeMs: 5n,
      maxTimeMs: firstOffset + 10n,
      maxKnownAtMs: 50n,
      ...more,
    },
  });

  it("follow each other; a repeated one is no error; a gap or an overlap names the expected offset", async () => {
    await apply();
    expect((await client.addBlock(block(7n, 20n))).nextOffset).toBe(20n);
    expect((await client.addBlock(block(20n, 30n))).nextOffset).toBe(30n);
    expect((await client.addBlock(block(7n, 20n))).nextOffset).toBe(30n);
    for (const wrong of [block(31n, 40n), block(25n, 40n), block(20n, 30n, "other"), block(20n, 31n)]) {
      await expect(client.addBlock(wrong)).rejects.toMatchObject({
        code: "outOfRange",
        message: expect.stringContaining("Expected offset: 30"),
      });
    }
    expect((await client.addBlock(block(0n, 5n, "block", { partition: 1 }))).nextOffset).toBe(5n);
    const { blocks } = await client.listBlocks({ topic: "flights.examples", sinceTimeMs: 17n });
    expect(blocks.map((found) => [found.partition, found.firstOffset])).toEqual([
      [0, 7n],
      [0, 20n],
    ]);
    expect((await client.listBlocks({ topic: "nobody.events" })).blocks).toEqual([]);
  });

  it("of two archivers that add the same range, one wins", async () => {
    await apply();
    const answers = await Promise.allSettled(
      ["a", "b", "c"].map((name) => client.addBlock(block(0n, 5n, name))),
    );
    expect(answers.filter((answer) => answer.status === "fulfilled")).toHaveLength(1);
  });

  it.each<[string, object, string]>([
    ["foreign topic", { topic: "other.examples" }, "topic"],
    ["empty range", { nextOffset: 0n }, "next_offset"],
    ["no digest", { digest: "x" }, "digest"],
    ["upper case digest", { digest: hex("a").toUpperCase() }, "digest"],
    ["negative offset", { firstOffset: -1n }, "first_offset"],
    ["too large for a number", { nextOffset: 2n ** 60n }, "next_offset"],
    ["bad name", { line: "../x" }, "line"],
  ])("refuses a block with %s, naming the field", async (_case, more, field) => {
    await apply();
    await expect(client.addBlock(block(0n, 5n, "b", more))).rejects.toMatchObject({
      code: "invalidArgument",
      message: expect.stringMatching(new RegExp(`${field} .*\\. \\w+`)),
    });
  });
});

describe("checkpoints", () => {
  const of = (partition = 0) => ({ line: "flights", step: "flights.compute", partition });
  const checkpoint = (epoch: bigint, name: string, more: object = {}) => ({
    checkpoint: {
      ...of(),
      manifestDigest: hex(name),
      bytes: 10n,
      version: "v1",
      offsets: { "flights.events": 7n },
      epoch,
      ...more,
    },
  });
  const names = async () =>
    (await client.listCheckpoints({ line: "flights" })).checkpoints.map((one) => one.manifestDigest);

  it("are kept three per partition, newest first; a repeated one is no error", async () => {
    await apply();
    const { epoch, checkpoints } = await client.acquireCheckpoints(of());
    expect([epoch, checkpoints]).toEqual([1n, []]);
    for (const name of ["a", "b", "c", "c"]) await client.putCheckpoint(checkpoint(epoch, name));
    expect(await client.putCheckpoint(checkpoint(epoch, "d"))).toMatchObject({
      keptManifestDigests: ["d", "c", "b"].map(hex),
      droppedManifestDigests: [hex("a")],
    });
    expect(await names()).toEqual(["d", "c", "b"].map(hex));
    await client.acquireCheckpoints(of(1));
    await client.putCheckpoint(checkpoint(1n, "e", { partition: 1 }));
    expect(await names()).toEqual(["d", "c", "b", "e"].map(hex));
    expect((await client.acquireCheckpoints(of())).checkpoints[0]).toMatchObject({
      manifestDigest: hex("d"),
      version: "v1",
      offsets: { "flights.events": 7n },
      epoch: 1n,
      savedAtMs: 1_000_000n,
    });
  });

  it("are taken from the newest owner only, after a restart too", async () => {
    await apply();
    const first = (await client.acquireCheckpoints(of())).epoch;
    await client.putCheckpoint(checkpoint(first, "a"));
    await stop();
    await start();
    const second = (await client.acquireCheckpoints(of())).epoch;
    expect(second).toBe(first + 1n);
    await expect(client.putCheckpoint(checkpoint(first, "b"))).rejects.toMatchObject({
      code: "failedPrecondition",
      message: expect.stringContaining("is not its owner's, which is 2"),
    });
    await client.putCheckpoint(checkpoint(second, "c"));
    expect(await names()).toEqual(["c", "a"].map(hex));
  });

  it.each<[string, object, string]>([
    ["no digest", { manifestDigest: "x" }, "manifest_digest"],
    ["a negative offset", { offsets: { a: -1n } }, "offsets"],
    ["no epoch", { epoch: 0n }, "epoch"],
    ["a bad step", { step: "../x" }, "step"],
  ])("are refused with %s, naming the field", async (_case, more, field) => {
    await apply();
    await expect(client.putCheckpoint(checkpoint(1n, "a", more))).rejects.toMatchObject({
      code: "invalidArgument",
      message: expect.stringContaining(field),
    });
  });
});

describe("leases", () => {
  it("are held by one, renewed under the same epoch, and taken over under the next", async () => {
    await apply();
    expect(await lease("a")).toBe(1n);
    nowMs += 5_000;
    expect(await lease("a")).toBe(1n);
    await expect(lease("b")).rejects.toMatchObject({
      code: "aborted",
      message: expect.stringContaining("held by a"),
    });
    nowMs += 10_000;
    expect(await lease("b")).toBe(2n);
    await expect(register("m", 1n)).rejects.toMatchObject({ code: "failedPrecondition" });
    await expect(client.acquireLease({ line: "nobody", holder: "a", ttlMs: 1_000n })).rejects.toMatchObject({
      code: "notFound",
      message: expect.stringContaining("flights"),
    });
  });
});

describe("runs", () => {
  const run = (id: string, cause: string, epoch: bigint, more: object = {}) => ({
    run: { id, line: "flights", cause, trigger: "drift", reason: "harm", epoch, streamTimeMs: 9n, ...more },
  });

  it("are admitted once per cause, move on by their states, and merge stage times", async () => {
    await apply();
    const epoch = await lease();
    const first = await client.addRun(run("r1", "report-1", epoch, { traceparent: TRACE }));
    expect(first).toMatchObject({ created: true, run: { state: "admitted", traceparent: TRACE } });
    expect(await client.addRun(run("r9", "report-1", epoch))).toMatchObject({
      created: false,
      run: { id: "r1" },
    });
    await expect(client.addRun(run("r1", "report-2", epoch))).rejects.toMatchObject({
      code: "failedPrecondition",
    });
    nowMs += 1;
    await client.updateRun({
      run: { id: "r1", epoch, state: "building", attempts: 1, stageMs: { build: 7n } },
    });
    const dataset = hex("dataset");
    const updated = await client.updateRun({
      run: { id: "r1", epoch, state: "training", datasetDigest: dataset, stageMs: { train: 8n } },
    });
    expect(updated.run).toMatchObject({
      state: "training",
      reason: "harm",
      attempts: 1,
      datasetDigest: dataset,
      stageMs: { build: 7n, train: 8n },
      createdAtMs: 1_000_000n,
      updatedAtMs: 1_000_001n,
    });
    await client.updateRun({ run: { id: "r1", epoch, state: "building", attempts: 2 } });
    await client.updateRun({ run: { id: "r1", epoch, state: "rejected", reason: "no gain" } });
    await expect(client.updateRun({ run: { id: "r1", epoch, state: "building" } })).rejects.toMatchObject({
      code: "failedPrecondition",
      message: expect.stringContaining("is rejected and cannot become building"),
    });
    await client.addRun(run("r2", "tick-1", epoch, { trigger: "stale" }));
    expect((await client.listRuns({ line: "flights" })).runs.map((found) => found.id)).toEqual(["r2", "r1"]);
    expect((await client.listRuns({ line: "flights", limit: 1 })).runs).toHaveLength(1);
  });

  it("refuse a trainer that lost the lease", async () => {
    await apply();
    const old = await lease("a");
    await client.addRun(run("r1", "c1", old));
    nowMs += 20_000;
    const epoch = await lease("b");
    for (const call of [
      client.updateRun({ run: { id: "r1", epoch: old, state: "building" } }),
      client.addRun(run("r2", "c2", old)),
    ]) {
      await expect(call).rejects.toMatchObject({
        code: "failedPrecondition",
        message: expect.stringContaining("Acquire the lease again"),
      });
    }
    expect(await client.updateRun({ run: { id: "r1", epoch, state: "building" } })).toMatchObject({
      run: { epoch, state: "building" },
    });
  });

  it("can be asked for by a person, without a lease", async () => {
    await apply();
    expect(await client.addRun(run("r1", "cli-1", 0n, { trigger: "manual" }))).toMatchObject({
      created: true,
    });
    await expect(client.addRun(run("r2", "cli-2", 0n, { trigger: "mood" }))).rejects.toMatchObject({
      code: "invalidArgument",
    });
    await expect(client.addRun({})).rejects.toMatchObject({ code: "invalidArgument" });
    await expect(client.updateRun({ run: { id: "r7", epoch: 1n } })).rejects.toMatchObject({
      code: "notFound",
    });
  });
});

describe("versions", () => {
  it("are numbered from 1, and the same artifact of the same run is one version", async () => {
    await apply();
    const epoch = await lease();
    await client.addRun({ run: { id: "r1", line: "flights", cause: "c", trigger: "first", epoch } });
    expect(await register("base", epoch, { recipe: "baseline", datasetDigest: "" })).toBe(1n);
    expect(await register("m", epoch, { runId: "r1" })).toBe(2n);
    expect(await register("m", epoch, { runId: "r1" })).toBe(2n);
    expect(await register("m", epoch)).toBe(3n);
    const { versions, aliases } = await client.listVersions({ line: "flights" });
    expect(versions.map((found) => found.version)).toEqual([1n, 2n, 3n]);
    expect(versions[1]).toMatchObject({
      artifactDigest: hex("m"),
      featureNames: ["distance", "hour"],
      passed: true,
      runId: "r1",
    });
    expect(aliases).toEqual({ baseline: 1n });
  });

  it.each<[string, object, string, RegExp]>([
    ["a digest that is none", { artifactDigest: "abc" }, "invalidArgument", /artifact_digest/],
    ["other features", { featureDigest: hex("x") }, "failedPrecondition", /feature_digest .*revision 1/],
    [
      "features in another order",
      { featureNames: ["hour", "distance"] },
      "invalidArgument",
      /distance, hour/,
    ],
    ["evidence that contradicts it", { evidenceJson: '{"passed":false}' }, "invalidArgument", /evidence/],
    ["evidence that is no JSON", { evidenceJson: "{" }, "invalidArgument", /evidence_json/],
    ["a run that is not there", { runId: "r1" }, "notFound", /run_id/],
    ["a parent that is not there", { parentVersion: 4n }, "notFound", /parent_version/],
    ["an old epoch", { epoch: 7n }, "failedPrecondition", /epoch 7/],
    ["no bytes", { artifactBytes: 0n }, "invalidArgument", /artifact_bytes/],
  ])("are refused with %s", async (_case, more, code, message) => {
    await apply();
    await lease();
    await expect(register("m", 1n, more)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
    expect((await client.listVersions({ line: "flights" })).versions).toEqual([]);
  });
});

describe("promotion", () => {
  /** A baseline (1) and three trained versions (2 to 4). */
  async function trained(): Promise<bigint> {
    await apply();
    const epoch = await lease();
    await register("base", epoch, { recipe: "baseline", datasetDigest: "" });
    for (const name of ["a", "b", "c"]) await register(name, epoch);
    return epoch;
  }

  it("makes a champion per generation, with the first trained one as a shadow", async () => {
    const epoch = await trained();
    expect(await aspired()).toMatchObject({ line: "flights", generation: 0n, models: [] });
    expect(roles(await promote(1n, 0n, epoch))).toEqual({ champion: 1, shadow: 2 });
    expect(roles(await promote(2n, 1n, epoch))).toEqual({ champion: 2 });
    nowMs += 10;
    const set = await promote(4n, 2n, epoch);
    expect(set).toMatchObject({
      generation: 3n,
      change: "promote",
      reason: "better",
      changedAtMs: 1_000_010n,
      models: [
        {
          version: 4n,
          role: "champion",
          artifactDigest: hex("c"),
          artifactBytes: 100n,
          featureDigest: FEATURES,
        },
        { version: 2n, role: "shadow", artifactDigest: hex("a"), featureNames: ["distance", "hour"] },
      ],
    });
    expect(await aspired()).toEqual(set);
    expect((await client.getAspiredSet({})).sets).toEqual([set]);
    expect((await client.listVersions({ line: "flights" })).aliases).toEqual({
      champion: 4n,
      first: 2n,
      baseline: 1n,
    });
  });

  it("of many writers with the same expectation lets one win, each time", async () => {
    const epoch = await trained();
    for (let generation = 0n; generation < 5n; generation++) {
      const answers = await Promise.allSettled(
        [1n, 2n, 3n, 4n, 2n, 3n].map((number) => promote(number, generation, epoch)),
      );
      const lost = answers.filter((answer) => answer.status === "rejected");
      expect(lost).toHaveLength(5);
      for (const { reason } of lost) expect(reason).toMatchObject({ code: "aborted" });
      expect((await aspired())?.generation).toBe(generation + 1n);
    }
  });

  it("refuses what did not pass, an old epoch, a version that is not there, and other features", async () => {
    const epoch = await trained();
    await register("bad", epoch, { passed: false, evidenceJson: '{"passed":false}' });
    await expect(promote(5n, 0n, epoch)).rejects.toMatchObject({
      code: "failedPrecondition",
      message: expect.stringContaining("did not pass"),
    });
    await expect(promote(9n, 0n, epoch)).rejects.toMatchObject({
      code: "notFound",
      message: expect.stringContaining("1, 2, 3, 4, 5"),
    });
    await apply({ ...FLIGHTS, features: FLIGHTS.features.slice(0, 1) });
    await expect(promote(2n, 0n, epoch)).rejects.toMatchObject({ code: "failedPrecondition" });
    nowMs += 60_000;
    await lease("other");
    await apply(FLIGHTS);
    await expect(promote(2n, 0n, epoch)).rejects.toMatchObject({
      code: "failedPrecondition",
      message: expect.stringContaining("epoch 1"),
    });
    expect((await aspired())?.generation).toBe(0n);
  });

  it("carries the trace of the call, or else of the run that made the version", async () => {
    const epoch = await trained();
    const run = { id: "r1", line: "flights", cause: "c", trigger: "drift", epoch, traceparent: TRACE };
    await client.addRun({ run });
    const number = await register("traced", epoch, { runId: "r1" });
    expect((await promote(number, 0n, epoch))?.traceparent).toBe(TRACE);
    const other = TRACE.replace("0af7", "1af7");
    const request = { line: "flights", version: 2n, expectedGeneration: 1n, epoch };
    expect((await client.promote(request, { traceparent: other })).aspired?.traceparent).toBe(other);
    await vi.waitFor(() => {
      const last = kafka.memory.records("registry.changes").at(-1);
      expect(last && headerText(last, "traceparent")).toBe(other);
      expect(announcer.sent.at(-1)?.traceparent).toBe(other);
    });
  });

  it("rolls back step by step, or to a former champion, as a new generation", async () => {
    const epoch = await trained();
    await expect(client.rollback({ line: "flights" })).rejects.toMatchObject({ code: "failedPrecondition" });
    for (const [i, number] of [1n, 2n, 3n].entries()) await promote(number, BigInt(i), epoch);
    const back = await client.rollback({ line: "flights", reason: "worse" });
    expect(back.aspired).toMatchObject({ generation: 4n, change: "rollback", reason: "worse" });
    expect(roles(back.aspired)).toEqual({ champion: 2 });
    expect(roles((await client.rollback({ line: "flights" })).aspired)).toEqual({ champion: 1, shadow: 2 });
    const again = await client.rollback({ line: "flights", toVersion: 3n });
    expect(again.aspired?.generation).toBe(6n);
    expect((await client.rollback({ line: "flights", toVersion: 3n })).aspired?.generation).toBe(6n);
    await expect(client.rollback({ line: "flights", toVersion: 4n })).rejects.toMatchObject({
      code: "failedPrecondition",
      message: expect.stringContaining("never was champion. Roll back to one of: 1, 2, 3"),
    });
    await expect(client.rollback({ line: "flights", toVersion: 8n })).rejects.toMatchObject({
      code: "notFound",
    });
    await expect(promote(4n, 3n, epoch)).rejects.toMatchObject({ code: "aborted" });
  });

  it("tells what served at any time, also when the clock was set back", async () => {
    const epoch = await trained();
    nowMs = 5_000_000;
    await promote(1n, 0n, epoch);
    nowMs = 6_000_000;
    await promote(2n, 1n, epoch);
    nowMs = 5_500_000;
    await promote(3n, 2n, epoch);
    const at = async (atMs: bigint) =>
      (await client.getHistory({ line: "flights", atMs })).sets.map((set) => set.generation);
    expect(await at(4_999_999n)).toEqual([]);
    expect(await at(5_000_000n)).toEqual([1n]);
    expect(await at(5_999_999n)).toEqual([1n]);
    expect(await at(6_000_000n)).toEqual([3n]);
    expect(await at(0n)).toEqual([3n, 2n, 1n]);
  });
});

describe("rollouts", () => {
  const plan = { strategy: "canary", by: "request", share: 0.1 };
  /** A baseline (1) and three trained versions (2 to 4); 2 serves. */
  async function serving(): Promise<bigint> {
    await apply();
    const epoch = await lease();
    await register("base", epoch, { recipe: "baseline", datasetDigest: "" });
    for (const name of ["a", "b", "c"]) await register(name, epoch);
    await promote(2n, 0n, epoch);
    return epoch;
  }
  const begin = async (number: bigint, generation: bigint, more: object = {}) =>
    (
      await client.startRollout({
        line: "flights",
        version: number,
        expectedGeneration: generation,
        ...plan,
        reason: "passed",
        ...more,
      })
    ).aspired;
  const end = async (outcome: string, generation: bigint, more: object = {}) =>
    (await client.endRollout({ line: "flights", outcome, expectedGeneration: generation, ...more })).aspired;

  it("give a challenger a share beside the champion, more of it, and then everything", async () => {
    const epoch = await serving();
    nowMs += 5;
    const set = await begin(4n, 1n, { epoch });
    expect(set).toMatchObject({
      generation: 2n,
      change: "rollout-start",
      reason: "passed",
      rollout: {
        version: 4n,
        strategy: "canary",
        by: "request",
        salt: "flights/2",
        startedAtMs: 1_000_005n,
      },
      models: [
        { version: 2n, role: "champion", share: 0.9 },
        {
          version: 4n,
          role: "challenger",
          share: 0.1,
          artifactDigest: hex("c"),
          datasetDigest: hex("dataset"),
          recipe: "lightgbm",
        },
      ],
    });
    expect(await aspired()).toEqual(set);
    const request = { line: "flights", expectedGeneration: 2n, share: 0.25, reason: "no harm" };
    const more = (await client.setRolloutShare(request)).aspired;
    expect(more).toMatchObject({ generation: 3n, change: "rollout-share", rollout: set?.rollout });
    expect(more?.models.map(({ share }) => share)).toEqual([0.75, 0.25]);
    const ended = await end("promote", 3n, { epoch, reason: "proven" });
    expect(ended).toMatchObject({ generation: 4n, change: "promote", reason: "proven" });
    expect(ended?.rollout).toBeUndefined();
    expect(roles(ended)).toEqual({ champion: 4, shadow: 2 });
    await vi.waitFor(() =>
      expect(
        kafka
          .changes()
          .slice(-4)
          .map((change) => [change.kind, change.version]),
      ).toEqual([
        ["promoted", 2],
        ["rollout-started", 4],
        ["rollout-changed", 4],
        ["promoted", 4],
      ]),
    );
    expect(roles((await client.rollback({ line: "flights" })).aspired)).toEqual({ champion: 2 });
  });

  it("leave the champion alone when they are rolled back, and the history as it was", async () => {
    const epoch = await serving();
    await promote(3n, 1n, epoch);
    await begin(4n, 2n);
    const ended = await end("rollback", 3n, { reason: "worse" });
    expect(ended).toMatchObject({ generation: 4n, change: "rollback-rollout", reason: "worse" });
    expect(roles(ended)).toEqual({ champion: 3, shadow: 2 });
    expect((await aspired())?.models.map(({ share }) => share)).toEqual([1, 0]);
    expect(roles((await client.rollback({ line: "flights" })).aspired)).toEqual({ champion: 2 });
  });

  it("are ended by a promotion and by a rollback, also to the champion itself", async () => {
    const epoch = await serving();
    await begin(4n, 1n);
    expect((await promote(3n, 2n, epoch))?.rollout).toBeUndefined();
    await begin(4n, 3n);
    const back = (await client.rollback({ line: "flights", toVersion: 3n })).aspired;
    expect(back).toMatchObject({ generation: 5n, change: "rollback" });
    expect(roles(back)).toEqual({ champion: 3, shadow: 2 });
  });

  it("run one at a time, of what passed, fits and does not serve already, by who has read the newest set", async () => {
    await serving();
    await register("bad", 1n, { passed: false, evidenceJson: '{"passed":false}' });
    const refusals: [Promise<unknown>, string, RegExp][] = [
      [begin(2n, 1n), "failedPrecondition", /is champion/],
      [begin(5n, 1n), "failedPrecondition", /did not pass/],
      [begin(9n, 1n), "notFound", /has no version 9/],
      [begin(4n, 0n), "aborted", /generation of flights is 1/],
      [begin(4n, 1n, { epoch: 7n }), "failedPrecondition", /epoch 7/],
      [begin(4n, 1n, { share: 0.6 }), "failedPrecondition", /share 0.6 is not one of canary.*at most 0.5/],
      [begin(4n, 1n, { share: 1 }), "invalidArgument", /share is 1\. Send a number above 0 and below 1/],
      [begin(4n, 1n, { share: Number.NaN }), "invalidArgument", /share is NaN/],
      [begin(4n, 1n, { strategy: "blue" }), "invalidArgument", /strategy .*canary, ab, interleave/],
      [begin(4n, 1n, { by: "user" }), "invalidArgument", /by .*request, entity/],
      [end("promote", 1n), "failedPrecondition", /no rollout runs/],
      [end("win", 1n), "invalidArgument", /outcome .*promote, rollback/],
    ];
    for (const [call, code, message] of refusals) {
      await expect(call).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    }
    await begin(4n, 1n);
    await expect(begin(3n, 2n)).rejects.toMatchObject({
      code: "failedPrecondition",
      message: expect.stringContaining("version 4 is being rolled out"),
    });
    await expect(end("rollback", 1n)).rejects.toMatchObject({ code: "aborted" });
    const changed = { ...FLIGHTS, features: FLIGHTS.features.slice(0, 1) };
    await apply(changed);
    await expect(end("promote", 2n)).rejects.toMatchObject({ code: "failedPrecondition" });
    expect((await end("rollback", 2n))?.generation).toBe(3n);
  });

  it("of many that begin at once, one does", async () => {
    await serving();
    const answers = await Promise.allSettled([3n, 4n, 3n, 4n].map((number) => begin(number, 1n)));
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect((await aspired())?.generation).toBe(2n);
  });
});

describe("signatures", () => {
  const ours = generateKeyPairSync("ed25519");
  const theirs = generateKeyPairSync("ed25519");
  const TRUSTED = [ours.publicKey.export({ format: "pem", type: "spki" }).toString()];
  const signed = (name: string, epoch: bigint, more: object = {}, key = ours.privateKey): object => ({
    signature: signModel(
      {
        digest: hex(name),
        bytes: 100,
        name: "flights.onnx",
        predicate: {
          line: "flights",
          recipe: "lightgbm",
          runId: "",
          datasetDigest: hex("dataset"),
          featureDigest: FEATURES,
          parentVersion: 0,
          epoch: Number(epoch),
          ...more,
        },
      },
      key,
    ),
  });
  beforeEach(async () => {
    await stop();
    await start(TRUSTED);
    await apply();
  });

  it("are kept with the version, and given to whoever serves it", async () => {
    const epoch = await lease();
    const { signature } = signed("a", epoch) as { signature: string };
    await register("a", epoch, { signature });
    expect((await client.listVersions({ line: "flights" })).versions[0]?.signature).toBe(signature);
    expect((await promote(1n, 0n, epoch))?.models[0]?.signature).toBe(signature);
  });

  it.each<[string, (epoch: bigint) => object, RegExp]>([
    ["none", () => ({}), /signature is missing\. Sign the model/],
    [
      "an unknown key's",
      (epoch) => signed("a", epoch, {}, theirs.privateKey),
      /no trusted key has signed it/,
    ],
    ["another model's", (epoch) => signed("b", epoch), /is about the model/],
    [
      "another line's",
      (epoch) => signed("a", epoch, { line: "shop" }),
      /made for line "shop", not "flights"/,
    ],
    ["another epoch's", (epoch) => signed("a", epoch + 1n), /made for epoch 2, not 1/],
    ["text", () => ({ signature: "trust me" }), /no DSSE envelope/],
  ])("refuses %s", async (_what, signature, message) => {
    const epoch = await lease();
    await expect(register("a", epoch, signature(epoch))).rejects.toMatchObject({
      code: "failedPrecondition",
      message: expect.stringMatching(message),
    });
    expect((await client.listVersions({ line: "flights" })).versions).toEqual([]);
  });
});

describe("imported models", () => {
  const imported = { recipe: "imported", epoch: 0n, datasetDigest: "" };
  const EMBEDDER = defineServedLine({ name: "embedder", title: "Sentences as vectors" });

  it("are registered and promoted by an operator, who needs no lease", async () => {
    await apply();
    expect(await register("m", 0n, imported)).toBe(1n);
    expect(roles(await promote(1n, 0n, 0n))).toEqual({ champion: 1 });
    await expect(register("n", 0n)).rejects.toMatchObject({
      code: "invalidArgument",
      message: expect.stringContaining(
        'epoch 0 is an operator\'s, whose models have the recipe "imported" or "quantised"',
      ),
    });
  });

  it("may be quantised by him, as versions that name what they were made of", async () => {
    await apply();
    await register("m", 0n, imported);
    const quantised = { ...imported, recipe: "quantised" };
    await expect(register("n", 0n, quantised)).rejects.toMatchObject({
      code: "invalidArgument",
      message: expect.stringContaining("parent_version"),
    });
    await expect(register("n", 0n, { ...quantised, parentVersion: 7n })).rejects.toMatchObject({
      code: "notFound",
    });
    expect(await register("n", 0n, { ...quantised, parentVersion: 1n })).toBe(2n);
    const { versions } = await client.listVersions({ line: "flights" });
    expect(versions).toMatchObject([{ recipe: "imported" }, { recipe: "quantised", parentVersion: 1n }]);
  });

  it("of a line without streams have no features; its only topic is that of predictions", async () => {
    await apply(EMBEDDER);
    expect(await kafka.partitions("embedder.predictions")).toBe(1);
    for (const topic of ["embedder.events", "embedder.examples"])
      expect(await kafka.partitions(topic)).toBe(0);
    const served = { ...imported, line: "embedder", featureDigest: "", featureNames: [] };
    expect(await register("m", 0n, served)).toBe(1n);
    await expect(register("n", 0n, { ...served, featureDigest: FEATURES })).rejects.toMatchObject({
      code: "failedPrecondition",
    });
    await expect(register("n", 0n, { ...served, featureNames: ["x"] })).rejects.toMatchObject({
      code: "invalidArgument",
    });
    const { aspired: set } = await client.promote({ line: "embedder", version: 1n });
    expect(set?.models).toMatchObject([{ version: 1n, role: "champion", share: 1, recipe: "imported" }]);
  });

  it("may be of a line that has streams later, but not of one that has none any more", async () => {
    await apply({ ...EMBEDDER, name: "flights" });
    await apply(FLIGHTS);
    await expect(apply({ ...EMBEDDER, name: "flights" })).rejects.toMatchObject({
      code: "failedPrecondition",
      message: expect.stringContaining("has streams and cannot go on without"),
    });
  });
});

describe("announcements", () => {
  it("reach Kafka in order, in spite of a lost acknowledgement and a time without Kafka, and stop no call", async () => {
    await apply();
    const epoch = await lease();
    kafka.memory.loseNextAck();
    await register("a", epoch);
    await vi.waitFor(() => expect(kafka.changes().length).toBeGreaterThanOrEqual(3));
    kafka.away = true;
    const startedAt = performance.now();
    await register("b", epoch);
    await promote(1n, 0n, epoch);
    await promote(2n, 1n, epoch);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(registry.ready()).toBe(true);
    kafka.away = false;
    const expected = ["applied 0", "registered 1", "registered 2", "promoted 1", "promoted 2"];
    await vi.waitFor(
      () => {
        const texts = kafka.changes().map((change) => `${change.kind} ${change.version}`);
        expect(texts.filter((text, i) => text !== texts[i - 1])).toEqual(expected);
      },
      { timeout: 5_000 },
    );
    const keys = kafka.memory
      .records("registry.changes")
      .map((record) => String(Buffer.from(record.key ?? [])));
    expect(new Set(keys)).toEqual(new Set(["flights"]));
  });

  it("that were not delivered are delivered by the next process", async () => {
    await apply();
    await vi.waitFor(() => expect(kafka.changes()).toHaveLength(1));
    kafka.away = true;
    await register("a", await lease());
    await stop();
    kafka.away = false;
    await start();
    await vi.waitFor(() =>
      expect(kafka.changes().map((change) => change.kind)).toEqual(["applied", "registered"]),
    );
  });

  it("say over NATS which line to look at, and all of them once NATS is back", async () => {
    await apply();
    const epoch = await lease();
    await register("a", epoch);
    announcer.isConnected = false;
    await promote(1n, 0n, epoch);
    await vi.waitFor(() => expect(registry.lines()["flights"]?.details).toMatchObject({ generation: 1 }), {
      timeout: 3_000,
    });
    expect(announcer.sent.map((sent) => sent.payload)).toEqual([
      { line: "flights", generation: 0, traceparent: "" },
      { line: "flights", generation: 0, traceparent: "" },
    ]);
    announcer.isConnected = true;
    await vi.waitFor(
      () =>
        expect(announcer.sent.at(-1)).toMatchObject({
          subject: "millrace.registry.changed",
          payload: { line: "flights", generation: 1 },
        }),
      { timeout: 3_000 },
    );
  });
});

describe("the service", () => {
  it("is ready without Kafka and NATS, and creates the topics once Kafka is there", async () => {
    await apply();
    await stop();
    kafka = new Kafka();
    kafka.away = true;
    announcer.isConnected = false;
    await start();
    expect(registry.ready()).toBe(true);
    expect((await client.listLines({})).lines).toHaveLength(1);
    kafka.away = false;
    await vi.waitFor(async () => expect(await kafka.partitions("flights.drift")).toBe(1), { timeout: 5_000 });
    expect(await kafka.partitions("registry.changes")).toBe(1);
  });

  it("is not ready before its start and after its end, and ends twice without harm", async () => {
    await registry.stop(1_000);
    expect(registry.ready()).toBe(false);
    await registry.stop(1_000);
  });

  it("shows each line's counts, champion, generation and revision", async () => {
    await apply();
    const epoch = await lease();
    await register("a", epoch);
    await promote(1n, 0n, epoch);
    await vi.waitFor(
      () =>
        expect(registry.lines()).toEqual({
          flights: {
            counts: { versions: 1, runs: 0, blocks: 0 },
            lag: {},
            streamTimeMs: 0,
            details: { champion: 1, generation: 1, revision: 1 },
          },
        }),
      { timeout: 3_000 },
    );
  });

  it("goes on from what it stored", async () => {
    await apply();
    const epoch = await lease();
    await register("a", epoch);
    const set = await promote(1n, 0n, epoch);
    await stop();
    await start();
    expect(await aspired()).toEqual(set);
    await expect(promote(1n, 0n, epoch)).rejects.toMatchObject({ code: "aborted" });
  });

  it("refuses every method to callers without the token", async () => {
    const stranger = createRpcClient(registryApi.RegistryService, `127.0.0.1:${port}`, { token: null });
    for (const { localName } of registryApi.RegistryService.methods) {
      const call = stranger[localName as "listLines"];
      await expect(call({}), localName).rejects.toMatchObject({ code: "unauthenticated" });
    }
    stranger.close();
  });
});
