import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { GRPCInferenceService, HealthCheckResponse_ServingStatus } from "@millrace/contracts";
import { createRpcClient } from "@millrace/rpc";
import { sha256Hex, sleep } from "@millrace/runtime";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  championOf,
  expectedScore,
  FakeRegistry,
  FEATURE_DIGEST,
  type Infer,
  LINE,
  modelBytes,
  NAMES,
  rowOf,
  until,
  WIDTH,
  World,
} from "./testing/world.ts";

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.stop());

describe("inference", () => {
  it("speaks the Open Inference Protocol about a line and its versions", async () => {
    await world.aspire(1, 2, 1);
    const node = await world.startNode();
    const { client } = node;
    await until(() => node.service.ready());
    expect(await client.serverLive({})).toMatchObject({ live: true });
    expect(await client.serverReady({})).toMatchObject({ ready: true });
    expect(await client.serverMetadata({})).toMatchObject({ name: "millrace", version: "0.1.0" });
    const ready = async (name: string, version = ""): Promise<boolean> =>
      (await client.modelReady({ name, version })).ready;
    expect(await Promise.all([ready("flights"), ready("flights", "1"), ready("flights", "2")])).toEqual([
      true,
      true,
      true,
    ]);
    expect(await Promise.all([ready("flights", "3"), ready("flights", "x"), ready("trains")])).toEqual([
      false,
      false,
      false,
    ]);
    const metadata = await client.modelMetadata({ name: "flights" });
    expect(metadata).toMatchObject({
      name: "flights",
      versions: ["2", "1"],
      platform: "onnx_onnxv1",
      inputs: [{ name: "features", datatype: "FP32", shape: [-1n, BigInt(WIDTH)] }],
      outputs: [{ name: "score", datatype: "FP32", shape: [-1n] }],
    });
    expect(JSON.parse(metadata.properties["features"] as string)).toEqual(NAMES);
    await expect(client.modelMetadata({ name: "flights", version: "7" })).rejects.toMatchObject({
      code: "notFound",
    });
  });

  it("answers typed and raw requests alike, with id, version and receipt", async () => {
    await world.aspire(1, 2, 1);
    const node = await world.startNode();
    const { client } = node;
    await until(() => node.service.ready());
    const typed = await client.modelInfer(rowOf(0.5, { id: "call-1" }));
    expect(typed).toMatchObject({ modelName: "flights", modelVersion: "2", id: "call-1" });
    expect(typed.outputs[0]).toMatchObject({ name: "score", datatype: "FP32", shape: [1n] });
    expect(typed.outputs[0]?.contents?.fp32Contents[0]).toBeCloseTo(expectedScore(2, 0.5), 6);
    expect(typed.parameters["model_digest"]?.parameterChoice.value).toBe(sha256Hex(modelBytes(2)));
    expect(typed.parameters["feature_digest"]?.parameterChoice.value).toBe(FEATURE_DIGEST);

    const row = new Float32Array(2 * WIDTH).fill(Number.NaN);
    row[0] = 0.5;
    const raw = await client.modelInfer({
      modelName: "flights",
      inputs: [{ name: "features", datatype: "FP32", shape: [2n, BigInt(WIDTH)] }],
      outputs: [{ name: "score" }],
      rawInputContents: [new Uint8Array(row.buffer)],
    });
    expect(raw.outputs[0]?.contents).toBeUndefined();
    const view = new DataView(Uint8Array.from(raw.rawOutputContents[0] as Uint8Array).buffer);
    expect(view.getFloat32(0, true)).toBeCloseTo(expectedScore(2, 0.5), 6);
    expect(view.getFloat32(4, true)).toBeCloseTo(expectedScore(2, 0), 6);

    const shadow = await client.modelInfer(rowOf(9, { modelVersion: "1" }));
    expect([shadow.modelVersion, shadow.outputs[0]?.contents?.fp32Contents]).toEqual(["1", [0.25]]);
  });

  it("says what is wrong with a request, and whose fault it is", async () => {
    await world.aspire(1, 1);
    const node = await world.startNode();
    const { client } = node;
    await until(() => node.service.ready());
    const cases: [Infer, string, RegExp][] = [
      [rowOf(0, { modelName: "trains" }), "notFound", /model_name: no line "trains"; lines here: flights/],
      [rowOf(0, { modelName: "" }), "notFound", /no line ""/],
      [rowOf(0, { modelVersion: "9" }), "notFound", /version "9" of line "flights" is not loaded; loaded: 1/],
      [rowOf(0, { modelVersion: "01" }), "notFound", /version "01"/],
      [rowOf(0, { modelVersion: "../1" }), "notFound", /version/],
      [rowOf(0, { inputs: [] }), "invalidArgument", /inputs: missing "features"/],
      [rowOf(0, { outputs: [{ name: "label" }] }), "invalidArgument", /outputs\[0\]\.name: "label"/],
    ];
    for (const [request, code, message] of cases) {
      await expect(client.modelInfer(request)).rejects.toMatchObject({
        code,
        message: expect.stringMatching(message),
      });
    }
    const status = node.service.lines()[LINE];
    expect(status?.counts).toMatchObject({ requests: 5, failed: 5 });
  });

  it("answers the standard health check", async () => {
    await world.aspire(1, 1);
    const node = await world.startNode();
    await until(() => node.service.ready());
    const { SERVING } = HealthCheckResponse_ServingStatus;
    for (const service of ["", "inference.GRPCInferenceService"]) {
      expect((await node.health.check({ service })).status).toBe(SERVING);
    }
    await expect(node.health.check({ service: "x" })).rejects.toMatchObject({ code: "notFound" });
  });

  it("is not ready before each known line has a champion, and stays ready when a line comes later", async () => {
    const node = await world.startNode();
    await until(async () => node.service.lines()[LINE] !== undefined);
    expect(node.service.ready()).toBe(false);
    expect(await node.client.serverReady({})).toMatchObject({ ready: false });
    expect(await node.client.serverLive({})).toMatchObject({ live: true });
    await expect(node.client.modelInfer(rowOf(0))).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("no champion yet"),
    });
    await world.aspire(1, 1);
    await until(() => node.service.ready());
    await node.stop();
    expect(node.service.ready()).toBe(false);

    world.registry = new FakeRegistry();
    world.registry.hasLine = false;
    await rm(join(world.folder, "last-good.json"));
    const empty = await world.startNode();
    await until(() => empty.service.ready());
    world.registry.hasLine = true;
    world.registry.announce();
    await until(() => empty.service.lines()[LINE] !== undefined);
    expect(empty.service.ready()).toBe(true);
  });

  it("asks for the token where one is set", async () => {
    const node = await world.startNode("0123456789abcdef");
    expect(await node.client.serverLive({})).toMatchObject({ live: true });
    const stranger = createRpcClient(GRPCInferenceService, node.url, {
      token: null,
    });
    await expect(stranger.serverLive({})).rejects.toMatchObject({ code: "unauthenticated" });
    stranger.close();
  });

  it("swaps under load without a failed or a wrong answer, and keeps few files", async () => {
    await world.aspire(1, 1);
    const node = await world.startNode();
    await until(() => node.service.ready());
    let stop = false;
    let calls = 0;
    const versions = new Set<string>();
    const wrong: unknown[] = [];
    const caller = async (seed: number): Promise<void> => {
      while (!stop) {
        const x = ((calls * 7 + seed) % 13) / 13;
        const answer = await node.client.modelInfer(rowOf(x)).catch((error: unknown) => {
          wrong.push(error);
          return null;
        });
        calls++;
        if (answer === null) continue;
        versions.add(answer.modelVersion);
        const score = answer.outputs[0]?.contents?.fp32Contents[0] as number;
        if (Math.abs(score - expectedScore(Number(answer.modelVersion), x)) > 1e-5) wrong.push(answer);
        if (!node.service.ready()) wrong.push("not ready");
      }
    };
    const callers = Array.from({ length: 16 }, (_, i) => caller(i));
    const SWAPS = 30;
    await until(() => versions.has("1"));
    for (let n = 2; n <= SWAPS; n++) {
      await world.aspire(n, n, n - 1);
      await until(() => championOf(node) === n && versions.has(String(n)));
    }
    stop = true;
    await Promise.all(callers);
    expect(wrong).toEqual([]);
    expect(versions.size).toBe(SWAPS);
    const status = node.service.lines()[LINE];
    expect(status?.counts).toMatchObject({ requests: calls, failed: 0 });
    expect(status?.details).toMatchObject({ generation: SWAPS, loaded: [SWAPS, SWAPS - 1], failures: [] });
    await until(async () => (await readdir(join(world.folder, "models"))).length <= 8);
    await until(() => node.service.lines()[LINE]?.details["lastSwap"] !== null);
    expect(node.service.lines()[LINE]?.details["lastSwap"]).toMatchObject({
      version: expect.any(Number),
      atMs: expect.any(Number),
      ms: { fetch: expect.any(Number), drain: expect.any(Number), total: expect.any(Number) },
    });
  }, 60_000);

  it("serves on when the new artifact is missing or damaged, says why, and heals by itself", async () => {
    await world.aspire(1, 1);
    const node = await world.startNode();
    await until(() => node.service.ready());
    const digest = sha256Hex(modelBytes(2));
    await world.aspire(2, 2);
    await until(() => championOf(node) === 2);
    await world.aspire(3, 3);
    await until(() => championOf(node) === 3);

    const bytes = modelBytes(4);
    const broken = sha256Hex(bytes);
    await world.objects.put(bytes);
    world.objects.damage(broken, modelBytes(2));
    await aspireDamaged(4, 4, broken);
    const failures = (): { version: number; stage: string; reason: string }[] =>
      node.service.lines()[LINE]?.details["failures"] as never;
    await until(() => failures().length === 1);
    expect(failures()[0]).toMatchObject({ version: 4, stage: "fetch" });
    expect((await node.client.modelInfer(rowOf(1))).modelVersion).toBe("3");
    world.objects.damage(broken, bytes);
    await until(() => championOf(node) === 4);
    expect(failures()).toEqual([]);
    expect(digest).not.toBe(broken);
  });

  async function aspireDamaged(generation: number, version: number, digest: string): Promise<void> {
    const model = {
      ...(await world.modelOf(1, "champion")),
      version: BigInt(version),
      artifactDigest: digest,
    };
    world.put({
      line: LINE,
      generation: BigInt(generation),
      models: [{ ...model, artifactBytes: BigInt(modelBytes(version).length) }],
    });
  }

  it("starts from its own disk in seconds when nobody else can be reached", async () => {
    await world.aspire(6, 5, 1);
    const first = await world.startNode();
    await until(() => championOf(first) === 5);
    await until(() =>
      readFile(join(world.folder, "last-good.json")).then(
        () => true,
        () => false,
      ),
    );
    await first.stop();

    world.registry.available = false;
    world.objects.available = false;
    const startedAt = performance.now();
    const second = await world.startNode();
    await until(() => second.service.ready());
    const answer = await second.client.modelInfer(rowOf(0.5));
    expect(performance.now() - startedAt).toBeLessThan(3_000);
    expect(answer.modelVersion).toBe("5");
    expect(answer.outputs[0]?.contents?.fp32Contents[0]).toBeCloseTo(expectedScore(5, 0.5), 6);

    world.registry.available = true;
    world.objects.available = true;
    await world.aspire(7, 6);
    await until(() => championOf(second) === 6);
    await world.aspire(2, 1);
    world.registry.announce();
    await sleep(50);
    expect(championOf(second)).toBe(6);
  });

  it("does not serve a damaged file from its disk, and waits for the store instead", async () => {
    await world.aspire(1, 2);
    const first = await world.startNode();
    await until(() => championOf(first) === 2);
    await until(() =>
      readFile(join(world.folder, "last-good.json")).then(
        () => true,
        () => false,
      ),
    );
    await first.stop();
    const [file] = await readdir(join(world.folder, "models"));
    const path = join(world.folder, "models", file as string);
    const bytes = await readFile(path);
    bytes[bytes.length - 20] = (bytes[bytes.length - 20] as number) ^ 1;
    await writeFile(path, bytes);

    world.registry.available = false;
    world.objects.available = false;
    const second = await world.startNode();
    await sleep(100);
    expect(second.service.ready()).toBe(false);
    world.objects.available = true;
    await until(() => second.service.ready());
  });

  it("starts with a damaged last-good file as a new node does", async () => {
    await writeFile(join(world.folder, "last-good.json"), '{"flights": {"generation": "x"}}');
    await world.aspire(1, 1);
    const node = await world.startNode();
    await until(() => championOf(node) === 1);
  });
});
