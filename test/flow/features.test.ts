import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlockFiles, isReproduced, verifySpan } from "@millrace/archive";
import { type featureApi, HEADERS, parsePosition, readVector } from "@millrace/contracts";
import { buildFeature, type FeaturePorts } from "@millrace/feature";
import { buildIngest } from "@millrace/ingest";
import { defineLine, type LineDefinition } from "@millrace/lines";
import { openParquet, type Parquet } from "@millrace/parquet";
import type { Handlers } from "@millrace/rpc";
import { createLog, RpcError, type Service, sha256Hex, sleep, systemClock } from "@millrace/runtime";
import { type Block, headerText } from "@millrace/stream";
import {
  createMemoryBroker,
  type MemoryBroker,
  type MemoryObjects,
  memoryObjects,
  random,
} from "@millrace/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const log = createLog("test", "silent");
const START_MS = Date.now() - 3 * 3_600_000;
const ACCOUNTS = 20;

/** Payments and refunds: two streams, so that accepted events stand in the line's own log. */
function shop(window: "10m" | "1h", partitions = 1): LineDefinition {
  const from = { from: "payments", by: ["account"], window } as const;
  return defineLine({
    name: "shop",
    title: "Shop",
    partitions,
    streams: {
      payments: {
        topic: "shop.payments",
        id: "id",
        time: "at",
        key: ["account"],
        lateMax: "5m",
        fields: {
          id: { type: "text" },
          at: { type: "time" },
          account: { type: "category" },
          merchant: { type: "category" },
          amount: { type: "decimal", scale: 2 },
        },
      },
      refunds: {
        topic: "shop.refunds",
        id: "id",
        time: "at",
        key: ["account"],
        fields: { id: { type: "text" }, at: { type: "time" }, account: { type: "category" } },
      },
    },
    predict: { on: "payments" },
    features: {
      count: { kind: "window", aggregate: "count", ...from },
      sum: { kind: "window", aggregate: "sum", of: "amount", ...from },
      merchants: { kind: "window", aggregate: "distinct", of: "merchant", ...from },
      refunds: { kind: "window", aggregate: "count", from: "refunds", by: ["account"], window },
      ratio: { kind: "expression", value: "amount / (sum / count)" },
    },
  });
}

let folder: string;
let broker: MemoryBroker;
let objects: MemoryObjects;
let parquet: Parquet;
let blocks: Block[];
let applied: { definitionJson: string; digest: string }[];
let handlers: Handlers<typeof featureApi.FeatureService>;
let running: Service[];
let defects: unknown[];
let sent: number;
const draw = random(7);

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "millrace-features-"));
  broker = createMemoryBroker(() => Date.now());
  objects = memoryObjects();
  parquet = await openParquet({ memoryMb: 256, threads: 1, scratch: join(folder, "spill") });
  blocks = [];
  applied = [];
  running = [];
  defects = [];
  sent = 0;
});

afterEach(async () => {
  for (const service of running) await service.stop(5_000);
  parquet.close();
  rmSync(folder, { recursive: true, force: true });
  expect(defects).toEqual([]);
});

const lines = { list: async () => applied, onChange: () => () => {} };
const apply = (line: LineDefinition): void => {
  const definitionJson = JSON.stringify(line);
  applied = [{ definitionJson, digest: sha256Hex(definitionJson) }];
};

async function startIngest(): Promise<Service> {
  const service = buildIngest(
    { MILLRACE_DATA: join(folder, "ingest") },
    {
      broker,
      lines,
      objects,
      index: {
        nextOffset: async (topic, partition) =>
          blocks.filter((block) => block.topic === topic && block.partition === partition).at(-1)
            ?.nextOffset ?? null,
        add: async (block) => void blocks.push(block),
      },
      blocks: async (topic, partition) =>
        blocks.filter((block) => block.topic === topic && block.partition === partition),
      readRows: async (file) => {
        const { columns } = await parquet.read([file], { id: "text", time: "float64" });
        return { ids: columns.id as string[], times: columns.time };
      },
      writeParquet: (file, columns) => parquet.write(file, columns),
      schemas: null,
      clock: systemClock,
      log,
      fail: (error) => defects.push(error),
      close: async () => {},
    },
  );
  return started(service);
}

const featurePorts = (name: string): FeaturePorts => ({
  broker,
  lines,
  objects,
  checkpointIndex: () => ({
    acquire: async () => ({ epoch: 1, newest: [] }),
    put: async () => ({ kept: [], dropped: [] }),
  }),
  blocks: async (topic) => blocks.filter((block) => block.topic === topic),
  files: new BlockFiles(join(folder, name, "blocks"), objects),
  parquet,
  serveOnline: async (_service, served) => {
    handlers = served;
    return { port: 0, stop: async () => {} };
  },
  verifyEveryMs: 100,
  clock: systemClock,
  log,
  fail: (error) => defects.push(error),
  close: async () => {},
});

/** `name` is its folder: another one is another machine. */
async function startFeature(name = "feature"): Promise<Service> {
  return started(buildFeature({ MILLRACE_DATA: join(folder, name) }, featurePorts(name)));
}

async function started(service: Service): Promise<Service> {
  await service.start(new AbortController().signal);
  running.push(service);
  return service;
}

async function stop(service: Service): Promise<void> {
  running = running.filter((one) => one !== service);
  await service.stop(5_000);
}

/** Writes payments, every fifth with a refund, one every two seconds of event time. */
function play(payments: number): void {
  for (let i = 0; i < payments; i++, sent++) {
    const at = START_MS + sent * 2_000 - (draw() < 0.05 ? Math.floor(draw() * 200_000) : 0);
    const account = `a${Math.floor(ACCOUNTS * draw() ** 2)}`;
    const value = {
      id: `p${sent}`,
      at,
      account,
      merchant: `m${Math.floor(30 * draw())}`,
      amount: Math.floor(draw() * 1e4) / 100,
    };
    const put = (topic: string, event: object): void =>
      broker.write([{ topic, partition: 0, key: account, value: JSON.stringify(event) }]);
    put("shop.payments", value);
    if (sent % 5 === 0) put("shop.refunds", { id: `r${sent}`, at, account });
  }
}

interface Served {
  readonly id: string;
  readonly offset: number;
  readonly values: readonly (number | null)[];
  readonly features: string;
}

const served = (): Served[] =>
  broker.records("shop.features").map((record) => {
    const vector = readVector(record.value);
    if (vector === null) throw new Error("no vector");
    const { offset } = parsePosition(headerText(record, HEADERS.source) ?? "") ?? { offset: -1 };
    return { ...vector, offset };
  });

const settled = async (payments: number): Promise<void> => {
  for (let i = 0; i < 800 && served().length < payments; i++) await sleep(20);
  expect(served()).toHaveLength(payments);
};

/** The vectors that a mesh with this line alone would have served. */
async function cleanRun(line: LineDefinition): Promise<ReadonlyMap<string, readonly (number | null)[]>> {
  const log = broker.records("shop.events");
  const { createComputeTask } = await import("@millrace/feature");
  const task = createComputeTask(line, "00".repeat(32), null);
  const vectors = new Map<string, readonly (number | null)[]>();
  await task.process(log, (_cause, _topic, { value }) => {
    const vector = readVector(Buffer.from(value as Uint8Array));
    if (vector !== null) vectors.set(vector.id, vector.values);
  });
  return vectors;
}

describe("features over their life", () => {
  it("change over to a new definition without a gap: back-filled, each event once, values as if it had always been so", async () => {
    apply(shop("10m"));
    await startIngest();
    const feature = await startFeature();
    play(2_000);
    await settled(2_000);
    const [ingest] = running as [Service];
    await stop(ingest); // writes its last block
    await startIngest();
    play(500);
    await settled(2_500);

    apply(shop("1h"));
    for (let i = 0; i < 600 && digestOf(feature) === served()[0]?.features; i++) {
      if (i % 10 === 0) play(5);
      await sleep(20);
    }
    play(500);
    await settled(sent);

    const vectors = served();
    expect(new Set(vectors.map(({ id }) => id)).size).toBe(sent);
    const changes = vectors.filter((vector, i) => i > 0 && vector.features !== vectors[i - 1]?.features);
    expect(changes).toHaveLength(1);
    expect(vectors.every((vector, i) => i === 0 || vector.offset > (vectors[i - 1] as Served).offset)).toBe(
      true,
    );
    const [before, after] = [await cleanRun(shop("10m")), await cleanRun(shop("1h"))];
    const former = vectors[0]?.features;
    for (const { id, values, features } of vectors) {
      expect(values).toEqual((features === former ? before : after).get(id));
    }
  });

  it("are built again on another machine, from the archive and the log, as if nothing had happened", async () => {
    apply(shop("1h"));
    const ingest = await startIngest();
    const first = await startFeature();
    play(1_500);
    await settled(1_500);
    await stop(ingest);
    await stop(first);
    await startIngest();
    play(500);
    await startFeature("another-machine");
    await settled(2_000);
    const clean = await cleanRun(shop("1h"));
    for (const { id, values } of served()) expect(values).toEqual(clean.get(id));
  });

  it("are verified: what was served is what the archive gives, and a value that is not is found and named", async () => {
    apply(shop("1h"));
    const ingest = await startIngest();
    const feature = await startFeature();
    play(1_500);
    await settled(1_500);
    await stop(ingest);
    const [block] = blocks.filter(({ topic }) => topic === "shop.events") as [Block];
    const span = { from: block.firstOffset + 300, until: block.nextOffset };
    const ports = featurePorts("verify");
    const digest = digestOf(feature);
    const signal = new AbortController().signal;
    const good = await verifySpan(shop("1h"), digest, 0, span, blocks, ports, signal);
    expect(good.vectors).toBeGreaterThan(1_000);
    expect(isReproduced(good)).toBe(true);
    const verified = (): { vectors: number; differing: number }[] =>
      (feature.lines()["shop"]?.details["verified"] ?? []) as never;
    for (let i = 0; i < 100 && verified().length === 0; i++) await sleep(50);
    expect(verified()).toEqual([expect.objectContaining({ differing: 0, missing: 0, surplus: 0 })]);

    // Another definition under the same digest stands for a defect: one feature of five is computed otherwise.
    const wrong = {
      ...shop("1h"),
      features: shop("1h").features.map((one) =>
        one.name === "merchants" && one.kind === "window" ? { ...one, where: "amount > 50" } : one,
      ),
    };
    const bad = await verifySpan(wrong, digest, 0, span, blocks, ports, signal);
    expect(isReproduced(bad)).toBe(false);
    expect(new Set(bad.differences.map(({ feature: name }) => name))).toEqual(new Set(["merchants"]));
  });

  it("answer online as the stream would, tell how fresh they are, and say what is wrong with a question", async () => {
    apply(shop("1h"));
    await startIngest();
    await startFeature();
    play(1_000);
    await settled(1_000);
    const call = { signal: new AbortController().signal } as never;
    const event = { id: "new", at: START_MS + 2_000_500, account: "a0", merchant: "m1", amount: 12.5 };
    const ask = async (query: object): Promise<Awaited<ReturnType<typeof handlers.getVector>>> =>
      handlers.getVector(
        { line: "shop", eventJson: "", entityJson: "", timeMs: 0n, ...query } as never,
        call,
      );
    const asked = await ask({ eventJson: JSON.stringify(event) });
    expect(asked.names).toEqual(["count", "sum", "merchants", "refunds", "ratio"]);
    broker.write([{ topic: "shop.payments", partition: 0, key: "a0", value: JSON.stringify(event) }]);
    await settled(1_001);
    const streamed = served().at(-1) as Served;
    expect(asked.values).toEqual(streamed.values);

    const entity = await ask({ entityJson: '{"account":"a0"}', timeMs: BigInt(event.at + 60_000) });
    expect(entity.values?.slice(0, 4)).toEqual(streamed.values.slice(0, 4));
    expect(entity.values?.[4]).toBeNaN();
    expect(Number(entity.updatedMs)).toBe(event.at);
    expect(Number(entity.ageMs)).toBe(60_000);
    const stranger = await ask({ entityJson: '{"account":"nobody"}' });
    expect(stranger.values?.[0]).toBe(0);
    expect(Number(stranger.ageMs)).toBe(-1);

    const many = await handlers.getVectors(
      {
        line: "shop",
        withoutNames: true,
        queries: [
          { eventJson: "", entityJson: '{"account":"a0"}', timeMs: BigInt(event.at + 60_000) },
          { eventJson: "", entityJson: '{"account":"nobody"}', timeMs: 0n },
        ],
      } as never,
      call,
    );
    expect(many.answers?.[0]?.values).toEqual(entity.values);
    expect(many.names).toEqual([]);

    for (const [query, problem] of [
      [{}, /either event_json or entity_json/],
      [{ entityJson: "{" }, /not JSON/],
      [{ entityJson: "{}" }, /account.*missing/],
      [{ entityJson: '{"account":7}' }, /account.*number/],
      [{ eventJson: '{"account":"a0"}' }, /missing/],
    ] as const) {
      const refused = await ask(query).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(RpcError);
      expect(refused).toMatchObject({ code: "invalidArgument", message: expect.stringMatching(problem) });
    }
  });
});

function digestOf(feature: Service): string {
  return String(feature.lines()["shop"]?.details["featureDigest"]);
}
