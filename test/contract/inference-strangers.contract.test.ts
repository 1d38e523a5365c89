import { createClient, createGrpcClient, line, type Tensor } from "@millrace/client";
import { GRPCInferenceService } from "@millrace/contracts";
import flights from "@millrace/line-flights";
import { assign } from "@millrace/rollout";
import { createRpcClient } from "@millrace/rpc";
import { sha256Hex } from "@millrace/runtime";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addModel, DATATYPES, echoModel } from "./inference/models.ts";
import {
  FEATURE_DIGEST,
  flightsModel,
  type InferenceProcess,
  NAMES,
  report,
  type Stage,
  startStage,
  until,
} from "./inference/stage.ts";
import { ensureStrangers, type Strangers } from "./inference/strangers.ts";

/** The inference service as a process, beside real servers, as everybody else's clients see it. */
let strangers: Strangers;
let stage: Stage;
/** By what carries gRPC. */
const nodes = new Map<string, InferenceProcess>();
const TRANSPORTS = ["http2", "grpc-js"] as const;
const nodeOf = (transport: string): InferenceProcess => nodes.get(transport) as InferenceProcess;
const NODE = (): InferenceProcess => nodeOf("http2");

const KEYS = Array.from({ length: 10_000 }, (_, i) => `user-${i}`);

beforeAll(async () => {
  strangers = await ensureStrangers();
  stage = await startStage();
  for (const [name, bytes] of [
    ["echo", echoModel()],
    ["add", addModel(0.5)],
  ] as const) {
    await stage.define({ name, title: name });
    await stage.promote(name, await stage.register(name, bytes));
  }
  await stage.promote("flights", await stage.register("flights", flightsModel(0)));
  for (const transport of TRANSPORTS) {
    nodes.set(transport, await stage.startInference({ MILLRACE_INFERENCE_TRANSPORT: transport }));
  }
  for (const node of nodes.values()) {
    for (const name of ["echo", "add", "flights"]) await until(async () => (await node.champion(name)) === 1);
  }
}, 900_000);
afterAll(() => stage.stop());

describe("tritonclient", () => {
  const STREAMED = Object.fromEntries(
    Array.from({ length: 20 }, (_, i) => [String(i), i + 0.5]).filter(([id]) => id !== "7"),
  );
  const STATUS: Readonly<Record<string, readonly [grpc: string, http: string, message: RegExp]>> = {
    "no such model": ["StatusCode.NOT_FOUND", "404", /no line "nobody"/],
    "no such version": ["StatusCode.NOT_FOUND", "404", /version "99" of line "add" is not loaded/],
    "wrong shape": ["StatusCode.INVALID_ARGUMENT", "400", /inputs\[0\]/],
    "wrong datatype": ["StatusCode.INVALID_ARGUMENT", "400", /FP64/],
    "no inputs": ["StatusCode.INVALID_ARGUMENT", "400", /missing "x"/],
    "load of nothing": ["StatusCode.NOT_FOUND", "404", /no line "nobody"/],
    "a caller's files": ["StatusCode.INVALID_ARGUMENT", "400", /registry/],
    "shared memory": ["StatusCode.UNIMPLEMENTED", "404", /.*/],
    "log settings": ["StatusCode.UNIMPLEMENTED", "404", /.*/],
  };

  const checkAll = (told: any, errorAt: 0 | 1): void => {
    expect(told.server).toMatchObject({ live: true, ready: true, metadata: { name: "millrace" } });
    expect(told.model).toMatchObject({
      ready: true,
      stranger_ready: false,
      metadata: {
        name: "flights",
        platform: "onnx_onnxv1",
        inputs: [{ name: "features", datatype: "FP32" }],
      },
    });
    const config = told.model.config.config ?? told.model.config;
    expect(config).toMatchObject({ name: "echo", max_batch_size: 4096 });
    expect(config.input.map((input: any) => input.data_type)).toEqual(
      DATATYPES.map((type) => (type === "BYTES" ? "TYPE_STRING" : `TYPE_${type}`)),
    );
    expect(told.binary).toEqual({ same: DATATYPES, id: "call-7", version: "1" });
    expect(told.repository).toEqual({
      before: { echo: "READY", add: "READY", flights: "READY" },
      unloaded: false,
      loaded: true,
    });
    expect(told.statistics).toMatchObject({ name: "echo", count: expect.any(Number) });
    expect(told.statistics.success).toBe(told.statistics.count);
    expect(told.statistics.count).toBeGreaterThan(0);
    expect(told.statistics.ns).toBeGreaterThan(0);
    expect(told.asynchronous).toEqual(Array.from({ length: 20 }, (_, i) => i + 0.5));
    for (const [name, expected] of Object.entries(STATUS)) {
      expect([name, told.errors[name]]).toEqual([
        name,
        { status: expected[errorAt], message: expect.stringMatching(expected[2]) },
      ]);
    }
  };

  it.each(TRANSPORTS)("over gRPC by %s", async (transport) => {
    const told = await strangers.python("triton_client.py", "grpc", `127.0.0.1:${nodeOf(transport).grpc}`);
    checkAll(told, 0);
    expect(told.stream).toEqual({ scores: STREAMED, errors: [expect.stringMatching(/no line "nobody"/)] });
    report(
      `tritonclient: gRPC by ${transport}: ${DATATYPES.length} datatypes, 20 streamed, 9 kinds of error: as expected`,
    );
  });

  it("over HTTP, in JSON and in binary", async () => {
    const told = await strangers.python("triton_client.py", "http", `127.0.0.1:${NODE().http}`);
    checkAll(told, 1);
    expect(told.json).toEqual({
      same: DATATYPES.filter((type) => type !== "FP16"),
      id: "call-7",
      version: "1",
    });
  });
});

describe("KServe's clients", () => {
  it.each(TRANSPORTS)("over REST, and over gRPC by %s with their own field numbers", async (transport) => {
    const node = nodeOf(transport);
    const told = await strangers.python(
      "kserve_client.py",
      `127.0.0.1:${node.grpc}`,
      `http://127.0.0.1:${node.http}`,
    );
    const answer = {
      id: "call-7",
      model: "add",
      version: "1",
      y: [
        [1.5, 2.5],
        [3.5, 4.5],
      ],
    };
    const alive = { live: true, ready: true, model_ready: true };
    // Its REST client loses the version that it was told.
    const { version: _, ...answerOverRest } = answer;
    expect(told.rest).toMatchObject({ ...alive, json: answerOverRest, binary: answerOverRest });
    expect(told.rest.error).toMatch(/404.*nobody/s);
    expect(told.grpc).toMatchObject({ ...alive, typed: answer, raw: answer });
    expect(told.grpc.repository).toEqual({ unloaded: ["add", true], ready: false, loaded: ["add", true] });
    report(
      `KServe: REST in JSON and binary, gRPC typed and raw by ${transport}, load and unload: as expected`,
    );
  });
});

describe("grpcurl", () => {
  const SERVICE = "inference.GRPCInferenceService";
  it.each(TRANSPORTS)("calls what is in the .proto files, by %s", async (transport) => {
    const { grpc } = nodeOf(transport);
    const call = (method: string, request: unknown): Promise<any> => strangers.grpcurl(grpc, method, request);
    expect(await call(`${SERVICE}/ServerReady`, {})).toEqual({ ready: true });
    expect(await call(`${SERVICE}/ModelMetadata`, { name: "add" })).toMatchObject({
      versions: ["1"],
      inputs: [{ name: "x", datatype: "FP32", shape: ["-1", "2"] }],
    });
    const inputs = [{ name: "x", datatype: "FP32", shape: [1, 2], contents: { fp32_contents: [1, 2] } }];
    expect(await call(`${SERVICE}/ModelInfer`, { model_name: "add", id: "7", inputs })).toMatchObject({
      id: "7",
      modelVersion: "1",
      outputs: [{ name: "y", shape: ["1", "2"], contents: { fp32Contents: [1.5, 2.5] } }],
    });
    const streamed = await call(`${SERVICE}/ModelStreamInfer`, { model_name: "add", id: "7", inputs });
    expect(streamed).toMatchObject({ inferResponse: { id: "7", modelVersion: "1" } });
    await expect(call(`${SERVICE}/ModelInfer`, { model_name: "nobody", inputs })).rejects.toThrow(
      /Code: NotFound/,
    );
    const index = await call("inference.model_repository.ModelRepositoryService/RepositoryIndex", {});
    expect(index.models.map(({ name }: any) => name).sort()).toEqual(["add", "echo", "flights"]);
  });
});

describe("the client of Millrace", () => {
  const x: Tensor = { name: "x", datatype: "FP32", shape: [1, 2], data: Float32Array.of(1, 2) };
  const types = line<object, object, Record<string, number | null>>("flights", {
    features: NAMES,
    featureDigest: FEATURE_DIGEST,
  });
  const features = Object.fromEntries(NAMES.map((name, i) => [name, i === 0 ? 1 : null]));

  it.each(["REST", ...TRANSPORTS])("over %s", async (way) => {
    const client =
      way === "REST"
        ? createClient({ url: `http://127.0.0.1:${NODE().http}` })
        : await createGrpcClient({ inference: `127.0.0.1:${nodeOf(way).grpc}` });
    const predicted = await client.predict(types, features, { unit: "user-1", id: "call-7" });
    expect(predicted).toMatchObject({
      version: 1,
      receipt: { model: sha256Hex(flightsModel(0)), features: FEATURE_DIGEST, arm: "champion" },
    });
    expect(predicted.score).toBeCloseTo(1 / (1 + Math.exp(-1)), 6);
    const inferred = await client.infer("add", [x], { id: "call-8" });
    expect(inferred).toMatchObject({ model: "add", version: "1", id: "call-8" });
    expect(inferred.outputs.get("y")?.data).toEqual(Float32Array.of(1.5, 2.5));
    expect(await client.models.ready("add")).toBe(true);
    expect(await client.models.metadata("add")).toMatchObject({ name: "add", versions: ["1"] });
    expect((await client.models.index()).map(({ name }) => name).sort()).toEqual(["add", "echo", "flights"]);
    expect((await client.models.statistics("add")).length).toBe(1);
    await expect(client.infer("nobody", [x])).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(client.infer("add", [{ ...x, name: "z" }])).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await expect(client.predict({ ...types, featureDigest: "f".repeat(64) }, features)).rejects.toMatchObject(
      { code: "FAILED_PRECONDITION" },
    );
    if ("close" in client) client.close();
  });
});

describe("OpenFeature", () => {
  const versions: number[] = [];

  beforeAll(async () => {
    const challenger = await stage.register("flights", flightsModel(1));
    const { sets } = await stage.registry.getAspiredSet({ line: "flights" });
    const { aspired } = await stage.registry.startRollout({
      line: "flights",
      version: BigInt(challenger),
      expectedGeneration: sets[0]?.generation ?? 0n,
      strategy: "ab",
      by: "entity",
      share: 0.3,
      reason: "test",
    });
    for (const node of nodes.values()) {
      await until(async () => (await node.status("flights"))?.details["rollout"] !== null);
    }
    const salt = aspired?.rollout?.salt as string;
    const arms = [
      { version: 1, role: "champion", share: 0.7 },
      { version: challenger, role: "challenger", share: 0.3 },
    ] as const;
    for (const key of KEYS) versions.push(assign({ salt, arms }, key).arm.version);
    expect(versions.filter((version) => version === challenger).length / KEYS.length).toBeCloseTo(0.3, 1);
  });

  it("gives 10,000 keys the versions that the rollout gives them, by its own SDK for Node", async () => {
    await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: `http://127.0.0.1:${NODE().http}` }));
    const client = OpenFeature.getClient();
    const evaluated = await mapAbreast(KEYS, 32, (targetingKey) =>
      client.getNumberDetails("flights", -1, { targetingKey }),
    );
    expect(evaluated.map(({ value }) => value)).toEqual(versions);
    expect(new Set(evaluated.map(({ reason }) => reason))).toEqual(new Set(["SPLIT"]));
    expect(new Set(evaluated.map(({ variant }) => variant))).toEqual(new Set(["champion", "challenger"]));
    const missing = await client.getNumberDetails("nobody", -1, { targetingKey: "user-1" });
    expect(missing).toMatchObject({ value: -1, errorCode: "FLAG_NOT_FOUND" });
    report(`OpenFeature: ${KEYS.length} keys by the SDK for Node: the versions of @millrace/rollout`);
    const keyless = await client.getNumberDetails("flights", -1, {});
    expect(keyless).toMatchObject({ value: -1, errorCode: "TARGETING_KEY_MISSING" });
    await OpenFeature.close();
  });

  it("gives them what ModelInfer answers to the same unit", async () => {
    const client = createRpcClient(GRPCInferenceService, `127.0.0.1:${NODE().grpc}`, { token: null });
    const row = new Uint8Array(NAMES.length * 4);
    const answered = await mapAbreast(KEYS, 128, (unit) =>
      client.modelInfer({
        modelName: flights.name,
        parameters: { unit: { parameterChoice: { case: "stringParam", value: unit } } },
        inputs: [{ name: "features", datatype: "FP32", shape: [1n, BigInt(NAMES.length)] }],
        rawInputContents: [row],
      }),
    );
    client.close();
    expect(answered.map(({ modelVersion }) => Number(modelVersion))).toEqual(versions);
    report(`OpenFeature: ${KEYS.length} keys by ModelInfer: the same`);
  });

  it("gives them the same by the SDK for Python", async () => {
    const count = 1_000;
    const told = await strangers.python(
      "openfeature_client.py",
      `http://127.0.0.1:${NODE().http}`,
      String(count),
    );
    expect(told).toMatchObject({
      versions: versions.slice(0, count),
      missing: expect.stringMatching(/FLAG_NOT_FOUND/),
    });
  });

  it("answers all flags at once, and 304 while nothing changes", async () => {
    const ask = (key: string, etag?: string): Promise<Response> =>
      fetch(`http://127.0.0.1:${NODE().http}/ofrep/v1/evaluate/flags`, {
        method: "POST",
        body: JSON.stringify({ context: { targetingKey: key } }),
        headers: etag === undefined ? {} : { "if-none-match": etag },
      });
    const first = await ask("user-1");
    const { flags } = (await first.json()) as { flags: { key: string; value: number }[] };
    expect(flags.map(({ key }) => key).sort()).toEqual(["add", "echo", "flights"]);
    expect(flags.find(({ key }) => key === "flights")?.value).toBe(versions[1]);
    const etag = first.headers.get("etag") as string;
    const again = await ask("user-1", etag);
    expect([again.status, await again.text()]).toEqual([304, ""]);
    const other = KEYS[versions.findIndex((version) => version !== versions[1])] as string;
    expect((await ask(other, etag)).status).toBe(200);
  });
});

/** The results of `work` on each item, in their order, with at most `abreast` under way. */
async function mapAbreast<T, R>(
  items: readonly T[],
  abreast: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const i = next++;
      results[i] = await work(items[i] as T);
    }
  };
  await Promise.all(Array.from({ length: abreast }, worker));
  return results;
}
