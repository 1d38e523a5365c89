import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { runCli } from "@millrace/cli";
import { canonicalJson, onnx, registryApi } from "@millrace/contracts";
import { defineLine, defineServedLine, featurePart, type LineDefinition } from "@millrace/lines";
import { loadModel, madeUpSamples } from "@millrace/onnx";
import { constantModel } from "@millrace/onnx-graph";
import { buildRegistry, openSqliteStore, Refusal } from "@millrace/registry";
import { createRpcClient, RpcError, type RpcServer, serve, startRpcServer } from "@millrace/rpc";
import { bearerTokens, createLog, type Service, sha256Hex, systemClock } from "@millrace/runtime";
import {
  createMemoryBroker,
  type MemoryBroker,
  type MemoryObjects,
  memoryObjects,
  random,
} from "@millrace/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const TOKEN = "0123456789abcdef";
const SIGNING = generateKeyPairSync("ed25519");

const EMBEDDER = defineServedLine({ name: "embedder", title: "Sentences as vectors" });
const PARCELS: LineDefinition = defineLine({
  name: "parcels",
  title: "How heavy?",
  streams: {
    sent: {
      topic: "parcels.sent",
      id: "id",
      time: "at",
      key: ["id"],
      fields: { id: { type: "text" }, at: { type: "time" }, weight: { type: "number" } },
    },
  },
  predict: { on: "sent" },
  features: { weight: { kind: "field", field: "weight" }, hour: { kind: "hour", of: "at" } },
  rollout: { strategy: "ab", share: 0.5, by: "entity" },
});
const DIGEST = sha256Hex(canonicalJson(featurePart(PARCELS)));

let folder: string;
let registry: Service;
let server: RpcServer;
let kafka: MemoryBroker;
let objects: MemoryObjects;
let key: KeyObject | null;

const connect = () =>
  createRpcClient(registryApi.RegistryService, `127.0.0.1:${server.port}`, { token: TOKEN });

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "millrace-serving-"));
  kafka = createMemoryBroker(() => Date.now());
  objects = memoryObjects();
  key = SIGNING.privateKey;
  registry = buildRegistry({
    openStore: () => openSqliteStore(join(folder, "registry.sqlite")),
    broker: kafka,
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
        onDefect: (_method, error) => {
          throw error;
        },
        services: [serve(registryApi.RegistryService, Object.fromEntries(mapped) as typeof handlers)],
      });
      return server;
    },
    clock: systemClock,
    log: createLog("test", "silent"),
  });
  await registry.start(new AbortController().signal);
  const client = connect();
  for (const line of [EMBEDDER, PARCELS]) {
    await client.applyLine({ definitionJson: JSON.stringify(line) });
  }
  client.close();
});
afterEach(async () => {
  await registry.stop(1_000);
  rmSync(folder, { recursive: true });
});

/** The command with `--json`, on the registry and the object store of this test. */
async function millrace(...args: string[]): Promise<{ code: number; answer: any }> {
  let [out, err] = ["", ""];
  const code = await runCli([...args, "--json"], {
    io: {
      write: (text: string) => void (out += text),
      writeError: (text: string) => void (err += text),
      readInput: async () => "",
      terminal: false,
      color: false,
      columns: () => 80,
      rows: () => 24,
    },
    config: { color: false, redraw: false, logLevel: "silent", environment: {} },
    repository: folder,
    localMesh: () =>
      ({
        home: folder,
        address: async () => ({ ops: { trainer: "http://127.0.0.1:1" } }),
        signingKey: async () => key,
      }) as never,
    connectMesh: () => {
      const client = connect();
      return {
        registry: client,
        objects,
        broker: kafka,
        loadModel: (bytes: Uint8Array) => loadModel(bytes, { threads: 1 }),
        madeUpRequests: madeUpSamples,
        close: async () => client.close(),
      } as never;
    },
    meshFailure: () => null,
    now: () => Date.now(),
    startedAtMs: Date.now(),
    stop: new AbortController().signal,
    self: [],
  });
  return { code, answer: JSON.parse(out || err) };
}

function modelFile(score: number, features = ["weight", "hour"], featureDigest = DIGEST): string {
  const file = join(folder, `model-${score}-${features.length}.onnx`);
  writeFileSync(file, constantModel({ features, featureDigest, recipe: "constant" }, score));
  return file;
}

describe("millrace models add", () => {
  it("stores, signs and registers a model, and promotes it when asked; once, however often it is said", async () => {
    const file = modelFile(0.25);
    const added = await millrace("models", "add", "embedder", file, "--note", "from the catalogue");
    expect(added).toMatchObject({
      code: 0,
      answer: { line: "embedder", version: 1, signed: true, promoted: false, generation: null },
    });
    const again = await millrace("models", "add", "embedder", file, "--promote");
    expect(again).toMatchObject({ code: 0, answer: { version: 1, promoted: true, generation: 1 } });
    const bytes = await objects.get(added.answer.artifactDigest, { bytesMax: 1e6 });
    expect(bytes.length).toBe(added.answer.artifactBytes);
    const { answer } = await millrace("versions", "embedder");
    expect(answer).toMatchObject({
      versions: [{ version: 1, recipe: "imported", passed: true, signed: true, verdict: null }],
      aliases: { champion: 1 },
    });
  });

  it("takes only models that keep the contract of a line with features", async () => {
    expect((await millrace("models", "add", "parcels", modelFile(0.5))).code).toBe(0);
    const wrong: [string, RegExp][] = [
      [modelFile(0.5, ["weight"]), /it takes 1 features, not 2/],
      [modelFile(0.6, ["hour", "weight"]), /it takes the features hour, weight/],
      [modelFile(0.7, ["weight", "hour"], sha256Hex("other")), /another feature definition/],
    ];
    for (const [file, problem] of wrong) {
      const { code, answer } = await millrace("models", "add", "parcels", file);
      expect(code).toBe(1);
      expect(answer.error.what).toMatch(problem);
      expect(answer.error.remedy).toContain("weight, hour");
    }
  });

  it("is refused without a trusted signature, and for a line that is not there", async () => {
    const file = modelFile(0.5);
    key = null;
    const unsigned = await millrace("models", "add", "embedder", file);
    expect(unsigned.answer.error.what).toMatch(/signature is missing/);
    key = generateKeyPairSync("ed25519").privateKey;
    const stranger = await millrace("models", "add", "embedder", file);
    expect(stranger.answer.error.what).toMatch(/no trusted key has signed it/);
    const nowhere = await millrace("models", "add", "nobody", file);
    expect(nowhere.answer.error.what).toBe('there is no line "nobody"');
  });
});

const HIDDEN = 512;

/** score = `size` times the mean of many tanh of both features. */
function networkFile(size: number): string {
  const { FLOAT, INT64 } = onnx.TensorProto_DataType;
  const draw = random(7);
  const weights = (
    name: string,
    dims: number[],
    scale: number,
  ): MessageInitShape<typeof onnx.TensorProtoSchema> => ({
    name,
    dims: dims.map(BigInt),
    dataType: FLOAT,
    floatData: Array.from({ length: (dims[0] ?? 0) * (dims[1] ?? 0) }, () => scale * (draw() - 0.5)),
  });
  const rows = { value: { case: "dimParam" as const, value: "rows" } };
  const tensor = (name: string, ...sizes: number[]): MessageInitShape<typeof onnx.ValueInfoProtoSchema> => {
    const dim = [
      rows,
      ...sizes.map((value) => ({ value: { case: "dimValue" as const, value: BigInt(value) } })),
    ];
    return { name, type: { value: { case: "tensorType", value: { elemType: FLOAT, shape: { dim } } } } };
  };
  const graph = {
    name: "network",
    node: [
      { opType: "MatMul", input: ["features", "w1"], output: ["hidden"] },
      { opType: "Tanh", input: ["hidden"], output: ["active"] },
      { opType: "MatMul", input: ["active", "w2"], output: ["column"] },
      { opType: "Squeeze", input: ["column", "axis"], output: ["score"] },
    ],
    initializer: [
      weights("w1", [2, HIDDEN], 1),
      weights("w2", [HIDDEN, 1], size / HIDDEN),
      { name: "axis", dims: [1n], dataType: INT64, int64Data: [1n] },
    ],
    input: [tensor("features", 2)],
    output: [tensor("score")],
  };
  const model = create(onnx.ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: "", version: 17n }],
    graph,
  });
  const file = join(folder, `network-${size}.onnx`);
  writeFileSync(file, toBinary(onnx.ModelProtoSchema, model));
  return file;
}

describe("millrace models quantise", () => {
  it("registers a version with int8 weights and how its answers differ on recorded vectors", async () => {
    await millrace("models", "add", "parcels", networkFile(10), "--promote");
    const none = await millrace("models", "quantise", "parcels", "1");
    expect(none.answer.error.what).toMatch(
      /parcels.features holds no vector of the features that version 1 takes/,
    );
    const vector = (weight: number, features: string): string =>
      JSON.stringify({ id: "p", time: 1, values: { weight, hour: weight % 24 }, features });
    const values = [
      vector(1e6, "of other features"),
      ...Array.from({ length: 700 }, (_, i) => vector(i / 100, DIGEST)),
    ];
    kafka.write(values.map((value) => ({ topic: "parcels.features", partition: 0, key: "p", value })));

    const made = await millrace("models", "quantise", "parcels", "1", "--promote", "--tolerance", "0.1");
    expect(made).toMatchObject({
      code: 0,
      answer: {
        version: 2,
        parentVersion: 1,
        signed: true,
        promoted: true,
        generation: 2,
        evidence: {
          passed: true,
          gates: [{ gate: "agreement", passed: true, bound: 0.01 }],
          quantisation: {
            method: "int8-dynamic",
            tensors: 2,
            rowsFrom: "recorded",
            tolerance: 0.1,
            alone: { rows: 500 },
            together: { rows: 700 },
          },
        },
      },
    });
    const { bytes, alone, together } = made.answer.evidence.quantisation;
    expect(bytes.after).toBe(made.answer.artifactBytes);
    expect(bytes.after).toBeLessThan(bytes.before);
    for (const { meanDifference, maxDifference } of [alone, together]) {
      expect(meanDifference).toBeGreaterThan(0);
      expect(maxDifference).toBeGreaterThan(meanDifference);
    }
    const { answer } = await millrace("versions", "parcels");
    expect(answer.versions[1]).toMatchObject({
      recipe: "quantised",
      parentVersion: 1,
      featureDigest: DIGEST,
      passed: true,
      signed: true,
    });

    const again = await millrace("models", "quantise", "parcels", "1", "--tolerance", "1e-9");
    expect(again).toMatchObject({ code: 0, answer: { version: 2, evidence: made.answer.evidence } });
    const twice = await millrace("models", "quantise", "parcels", "2");
    expect(twice.answer.error.what).toMatch(
      /version 2 of parcels cannot be quantised: it is quantised already/,
    );
  });

  it("registers one that answers otherwise as not passed, and does not promote it", async () => {
    await millrace("models", "add", "embedder", networkFile(1_000));
    const made = await millrace("models", "quantise", "embedder", "1", "--promote");
    expect(made).toMatchObject({
      code: 1,
      answer: {
        version: 2,
        promoted: false,
        evidence: {
          passed: false,
          reason: expect.stringMatching(/made-up rows, \d.*% answer otherwise by more than 0.01; 1 % may/),
          quantisation: { rowsFrom: "made-up" },
        },
      },
    });
    const { answer } = await millrace("versions", "embedder");
    expect(answer).toMatchObject({ versions: [{ passed: true }, { passed: false }], aliases: {} });
    const refused = await millrace("models", "quantise", "embedder", "2");
    expect(refused.answer.error.what).toBe("version 2 of embedder did not pass its verdict");
  });

  it("says why a model cannot be quantised, and which version there is not", async () => {
    await millrace("models", "add", "embedder", modelFile(0.5));
    const constant = await millrace("models", "quantise", "embedder", "1");
    expect(constant.answer.error.what).toMatch(/no MatMul or Gemm has FP32 weights/);
    expect((await millrace("models", "quantise", "embedder", "9")).answer.error.what).toBe(
      "embedder has no version 9",
    );
  });
});

describe("millrace rollout", () => {
  beforeEach(async () => {
    await millrace("models", "add", "parcels", modelFile(0.25), "--promote");
    await millrace("models", "add", "parcels", modelFile(0.75));
  });

  it("begins as the line says, changes its share, and ends", async () => {
    expect((await millrace("rollout", "status", "parcels")).answer).toMatchObject({ rollout: null });
    expect(await millrace("rollout", "start", "parcels", "2")).toMatchObject({
      code: 0,
      answer: {
        generation: 2,
        rollout: {
          strategy: "ab",
          by: "entity",
          arms: [
            { version: 1, role: "champion", share: 0.5 },
            { version: 2, role: "challenger", share: 0.5 },
          ],
        },
      },
    });
    await millrace("rollout", "share", "parcels", "0.75", "--reason", "no harm");
    const { answer } = await millrace("rollout", "status", "parcels");
    expect(answer.rollout.arms.map(({ share }: { share: number }) => share)).toEqual([0.25, 0.75]);
    expect(await millrace("rollout", "end", "parcels", "--promote", "--reason", "proven")).toMatchObject({
      code: 0,
      answer: { outcome: "promote", champion: 2, generation: 4 },
    });
    const { answer: told } = await millrace("versions", "parcels", "--history");
    expect(told.history).toMatchObject([
      { change: "promote", champion: 2, challengers: [], reason: "proven" },
      { change: "rollout-share", champion: 1, challengers: [{ version: 2, share: 0.75 }] },
      { change: "rollout-start", champion: 1, challengers: [{ version: 2, share: 0.5 }] },
      { change: "promote", champion: 1 },
    ]);
  });

  it("takes what the operator says instead, and names what is in the way", async () => {
    const start = ["rollout", "start", "parcels", "2", "--strategy", "canary", "--by", "request"];
    expect(await millrace(...start, "--share", "0.6")).toMatchObject({
      code: 1,
      answer: { error: { what: expect.stringContaining("share 0.6 is not one of canary") } },
    });
    expect((await millrace(...start, "--share", "0.05")).answer.rollout).toMatchObject({
      strategy: "canary",
      by: "request",
      arms: [{ share: 0.95 }, { share: 0.05 }],
    });
    expect(await millrace(...start)).toMatchObject({
      code: 1,
      answer: { error: { what: expect.stringContaining("version 2 is being rolled out") } },
    });
    expect((await millrace("rollout", "end", "parcels", "--rollback")).answer).toMatchObject({ champion: 1 });
    expect(await millrace("rollout", "end", "parcels", "--rollback")).toMatchObject({
      code: 1,
      answer: { error: { what: expect.stringContaining("no rollout runs") } },
    });
  });
});
