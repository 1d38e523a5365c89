import { constantModel } from "@millrace/onnx-graph";
import { sha256Hex } from "@millrace/runtime";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  expectedScore,
  FEATURE_DIGEST,
  LINE,
  modelBytes,
  NAMES,
  type Node,
  rowOf,
  until,
  WIDTH,
  World,
} from "./testing/world.ts";

let world: World;
let node: Node;
beforeEach(async () => {
  world = await World.create();
  await world.aspire(1, 2, 1);
  node = await world.startNode();
  await until(() => node.client.modelReady({ name: LINE, version: "1" }).then(({ ready }) => ready));
});
afterEach(() => world.stop());

/** `any`: the answers are what is tested. */
async function get(path: string): Promise<{ status: number; body: any }> {
  const response = await fetch(node.http + path);
  return { status: response.status, body: await response.json() };
}
async function post(
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: any }> {
  const text = body instanceof Uint8Array ? body : JSON.stringify(body);
  const response = await fetch(node.http + path, { method: "POST", body: text as string, headers });
  return { status: response.status, body: await response.json() };
}
const restRow = (x: number): object => ({
  inputs: [
    { name: "features", datatype: "FP32", shape: [1, WIDTH], data: NAMES.map((_, i) => (i === 0 ? x : 0)) },
  ],
});

describe("REST", () => {
  it("says what the server and its models are", async () => {
    expect(await get("/v2")).toMatchObject({ status: 200, body: { name: "millrace" } });
    expect(await get("/v2/health/live")).toEqual({ status: 200, body: { live: true } });
    expect(await get("/v2/health/ready")).toEqual({ status: 200, body: { ready: true } });
    expect(await get("/v2/models/flights/ready")).toMatchObject({ status: 200, body: { ready: true } });
    expect(await get("/v2/models/flights/versions/9/ready")).toMatchObject({ status: 503 });
    expect(await get("/v2/models/flights")).toMatchObject({
      status: 200,
      body: {
        name: "flights",
        versions: ["2", "1"],
        platform: "onnx_onnxv1",
        inputs: [{ name: "features", datatype: "FP32", shape: [-1, WIDTH] }],
        outputs: [{ name: "score", datatype: "FP32", shape: [-1] }],
        properties: { model_digest: sha256Hex(modelBytes(2)) },
      },
    });
    expect(await get("/v2/models/flights/versions/1/config")).toMatchObject({
      status: 200,
      body: {
        name: "flights",
        max_batch_size: 4096,
        input: [{ name: "features", data_type: "TYPE_FP32", dims: [WIDTH] }],
        parameters: { version: { string_value: "1" } },
      },
    });
    expect(await get("/v2/models/trains")).toMatchObject({
      status: 404,
      body: { error: expect.any(String) },
    });
  });

  it("infers with JSON and with binary tensors", async () => {
    const json = await post("/v2/models/flights/infer", { id: "a", ...restRow(0.5) });
    expect(json).toMatchObject({
      status: 200,
      body: { id: "a", model_name: "flights", model_version: "2", outputs: [{ name: "score", shape: [1] }] },
    });
    expect(json.body.outputs[0].data[0]).toBeCloseTo(expectedScore(2, 0.5), 6);
    expect(json.body.parameters).toMatchObject({ arm: "champion", feature_digest: FEATURE_DIGEST });
    const one = await post("/v2/models/flights/versions/1/infer", restRow(0.5));
    expect(one.body).toMatchObject({ model_version: "1", outputs: [{ data: [0.25] }] });

    const values = new Float32Array(WIDTH);
    values[0] = 0.5;
    const head = Buffer.from(
      JSON.stringify({
        inputs: [
          {
            name: "features",
            datatype: "FP32",
            shape: [1, WIDTH],
            parameters: { binary_data_size: values.byteLength },
          },
        ],
        parameters: { binary_data_output: true },
      }),
    );
    const response = await fetch(`${node.http}/v2/models/flights/infer`, {
      method: "POST",
      body: Buffer.concat([head, Buffer.from(values.buffer)]),
      headers: { "inference-header-content-length": String(head.length) },
    });
    const length = Number(response.headers.get("inference-header-content-length"));
    const body = Buffer.from(await response.arrayBuffer());
    expect(JSON.parse(body.subarray(0, length).toString())).toMatchObject({ model_version: "2" });
    expect(body.readFloatLE(length)).toBeCloseTo(expectedScore(2, 0.5), 6);
  });

  it("answers mistakes with the right status and a sentence", async () => {
    const cases: [string, unknown, number, RegExp][] = [
      ["/v2/models/trains/infer", restRow(0), 404, /no line "trains"/],
      ["/v2/models/flights/versions/7/infer", restRow(0), 404, /version "7"/],
      ["/v2/models/flights/infer", { inputs: [] }, 400, /inputs: missing "features"/],
      ["/v2/models/flights/infer", Buffer.from("{"), 400, /JSON/i],
      [
        "/v2/models/flights/infer",
        { inputs: [{ ...(restRow(0) as any).inputs[0], shape: [1, 3] }] },
        400,
        /inputs\[0\]/,
      ],
      ["/v2/models/flights/generate", { text_input: "a" }, 501, /generate/],
      ["/v2/nothing", {}, 404, /no such path/],
    ];
    for (const [path, body, status, message] of cases) {
      const answer = await post(path, body);
      expect([path, answer.status, answer.body.error]).toEqual([
        path,
        status,
        expect.stringMatching(message),
      ]);
    }
    expect((await fetch(`${node.http}/v2`, { method: "POST" })).status).toBe(405);
    const large = await fetch(`${node.http}/v2/models/flights/infer`, {
      method: "POST",
      body: new Uint8Array(17 * 1024 * 1024),
    }).catch(() => null);
    expect([null, 413]).toContain(large?.status ?? null);
  });

  it("lists, counts, unloads and loads", async () => {
    await post("/v2/models/flights/infer", restRow(0));
    expect(await get("/v2/models/flights/stats")).toMatchObject({
      body: { model_stats: [{ name: "flights", version: "2", inference_count: 1, execution_count: 1 }] },
    });
    expect((await post("/v2/repository/index", {})).body).toEqual([
      { name: "flights", version: "2", state: "READY", reason: "" },
      { name: "flights", version: "1", state: "READY", reason: "" },
    ]);
    expect(await post("/v2/repository/models/flights/unload", {})).toMatchObject({ status: 200 });
    expect(await post("/v2/models/flights/infer", restRow(0))).toMatchObject({ status: 503 });
    expect(node.service.ready()).toBe(true);
    expect(await post("/v2/repository/models/flights/load", {})).toMatchObject({ status: 200 });
    expect(await post("/v2/models/flights/infer", restRow(0))).toMatchObject({ status: 200 });
  });

  it("tells metrics under our names and Triton's", async () => {
    await post("/v2/models/flights/infer", restRow(0));
    await post("/v2/models/flights/infer", { inputs: [] });
    const text = node.service.metricsText?.() ?? "";
    expect(text).toContain(
      'millrace_inference_requests_total{line="flights",version="2",outcome="answered"} 1',
    );
    expect(text).toContain(
      'millrace_inference_duration_seconds_bucket{line="flights",version="2",le="+Inf"} 2',
    );
    expect(text).toContain('nv_inference_request_success{model="flights",version="2"} 1');
    expect(text).toContain('nv_inference_request_failure{model="flights",version="2",reason="REJECTED"} 1');
  });

  it("lets only pages of the named origins call", async () => {
    const open = await world.startNode(null, { MILLRACE_INFERENCE_ORIGINS: ["https://shop.example"] });
    const ask = (origin: string) => fetch(`${open.http}/v2/health/live`, { headers: { origin } });
    const allowed = (await ask("https://shop.example")).headers.get("access-control-allow-origin");
    expect(allowed).toBe("https://shop.example");
    expect((await ask("https://evil.example")).headers.get("access-control-allow-origin")).toBeNull();
  });

  it("asks for the token, but for the health of the process", async () => {
    const closed = await world.startNode("0123456789abcdef");
    await until(() => closed.service.ready());
    expect((await fetch(`${closed.http}/v2/health/live`)).status).toBe(200);
    expect((await fetch(`${closed.http}/v2/models/flights`)).status).toBe(401);
    const headers = { authorization: "Bearer 0123456789abcdef" };
    expect((await fetch(`${closed.http}/v2/models/flights`, { headers })).status).toBe(200);
  });
});

describe("entities", () => {
  it("takes the features from the online store, and says how old they are", async () => {
    world.entityVector = async (line, entity) => {
      expect([line, JSON.parse(entity)]).toEqual(["flights", { origin: "ORD" }]);
      const values = NAMES.map((_, i) => (i === 0 ? 0.5 : Number.NaN));
      return { values, featureDigest: FEATURE_DIGEST, ageMs: 1_500 };
    };
    const entity = { parameterChoice: { case: "stringParam", value: '{"origin":"ORD"}' } } as const;
    const answer = await node.client.modelInfer({ modelName: LINE, parameters: { entity } });
    expect(answer.outputs[0]?.contents?.fp32Contents[0] ?? rawScore(answer)).toBeCloseTo(
      expectedScore(2, 0.5),
      6,
    );
    expect(answer.parameters["feature_age_ms"]?.parameterChoice.value).toBe(1_500n);
    await expect(node.client.modelInfer(rowOf(0, { parameters: { entity } }))).rejects.toMatchObject({
      code: "invalidArgument",
    });
  });

  it("refuses features of another definition than the model's", async () => {
    world.entityVector = async () => ({
      values: NAMES.map(() => 0),
      featureDigest: "f".repeat(64),
      ageMs: 0,
    });
    const entity = { parameterChoice: { case: "stringParam", value: "{}" } } as const;
    await expect(node.client.modelInfer({ modelName: LINE, parameters: { entity } })).rejects.toMatchObject({
      code: "failedPrecondition",
      message: expect.stringContaining("feature definition"),
    });
  });
});

function rawScore(answer: { rawOutputContents: Uint8Array[] }): number {
  const bytes = Uint8Array.from(answer.rawOutputContents[0] as Uint8Array);
  return new DataView(bytes.buffer).getFloat32(0, true);
}

describe("rollouts", () => {
  it("divide requests by the caller's unit, with the propensity in the receipt, and as OpenFeature flags", async () => {
    world.put({
      line: LINE,
      generation: 2n,
      models: [await world.modelOf(2, "champion"), { ...(await world.modelOf(3, "challenger")), share: 0.3 }],
      rollout: { strategy: "canary", by: "entity", salt: "s1", startedAtMs: 1n, version: 3n },
    });
    await until(() => node.service.lines()[LINE]?.details["rollout"] !== null);
    let challengers = 0;
    for (let i = 0; i < 100; i++) {
      const unit = { parameterChoice: { case: "stringParam", value: `user-${i}` } } as const;
      const answer = await node.client.modelInfer(rowOf(0, { parameters: { unit } }));
      const arm = answer.parameters["arm"]?.parameterChoice.value;
      const expected = arm === "challenger" ? 0.3 : 0.7;
      expect(answer.parameters["propensity"]?.parameterChoice.value).toBeCloseTo(expected, 9);
      expect(answer.modelVersion).toBe(arm === "challenger" ? "3" : "2");
      if (arm === "challenger") challengers++;
      const flag = await post(`/ofrep/v1/evaluate/flags/${LINE}`, { context: { targetingKey: `user-${i}` } });
      expect(flag).toMatchObject({ status: 200, body: { key: LINE, variant: arm, reason: "SPLIT" } });
      expect(flag.body.value).toBe(Number(answer.modelVersion));
    }
    expect(challengers).toBeGreaterThan(15);
    expect(challengers).toBeLessThan(45);
    expect(await post(`/ofrep/v1/evaluate/flags/${LINE}`, {})).toMatchObject({
      status: 400,
      body: { errorCode: "TARGETING_KEY_MISSING" },
    });
    expect(await post("/ofrep/v1/evaluate/flags/trains", {})).toMatchObject({ status: 404 });
  });

  it("interleave two rankings of a request's rows, each row logged with the version that gave it its place", async () => {
    world.put({
      line: LINE,
      generation: 2n,
      models: [await world.modelOf(2, "champion"), { ...(await world.modelOf(1, "challenger")), share: 0.5 }],
      rollout: { strategy: "interleave", by: "request", salt: "s1", startedAtMs: 1n, version: 1n },
    });
    await until(() => node.service.lines()[LINE]?.details["rollout"] !== null);
    const rows = 6;
    const values = Array.from({ length: rows }, (_, row) => NAMES.map((__, i) => (i === 0 ? row : 0)));
    const answer = await post("/v2/models/flights/infer", {
      id: "search-1",
      inputs: [{ name: "features", datatype: "FP32", shape: [rows, WIDTH], data: values }],
    });
    expect(answer).toMatchObject({ status: 200, body: { parameters: { arm: "interleaved" } } });
    const scores = answer.body.outputs[0].data as number[];
    const order = scores.map((_, row) => row).sort((a, b) => (scores[b] as number) - (scores[a] as number));
    // The champion ranks by the row, from the last one; the challenger does not care, and takes them as they come.
    expect(order).not.toEqual([5, 4, 3, 2, 1, 0]);
    expect(new Set(order.slice(0, 2))).toEqual(new Set([5, 0]));
    const expected = values.map((_, row) => expectedScore(2, row)).sort((a, b) => a - b);
    expect(
      scores.toSorted((a, b) => a - b).every((score, i) => Math.abs(score - (expected[i] as number)) < 1e-6),
    ).toBe(true);
    const logged = () =>
      world.broker
        .records("flights.predictions")
        .map((record) => JSON.parse(Buffer.from(record.value as Uint8Array).toString()))
        .filter(({ id }) => String(id).startsWith("search-1#"));
    await until(() => logged().length === rows);
    expect(logged().filter(({ arm }) => arm === "champion")).toHaveLength(3);
    expect(logged().filter(({ arm }) => arm === "challenger")).toHaveLength(3);
  });

  it("mirror direct requests to the versions beside, which never answer", async () => {
    const mirrored = () => node.service.lines()[LINE]?.details["mirrored"] as any;
    // Not each is: those that come one after another at once are sampled.
    await until(async () => {
      expect((await node.client.modelInfer(rowOf(4))).modelVersion).toBe("2");
      return mirrored()["2/1"]?.pairs >= 5;
    });
    expect(mirrored()["2/1"].max).toBeCloseTo(expectedScore(2, 4) - 0.25, 5);
  });
});

describe("models of any signature", () => {
  it("serve beside lines, and are let go and loaded on demand", async () => {
    const bytes = constantModel({ features: ["a", "b"], featureDigest: "", recipe: "imported" }, 0.75);
    world.put({
      line: "imported",
      generation: 1n,
      models: [
        {
          version: 1n,
          role: "champion",
          artifactDigest: await world.objects.put(bytes),
          artifactBytes: BigInt(bytes.length),
        },
      ],
    });
    const ask = () =>
      post("/v2/models/imported/infer", {
        inputs: [{ name: "features", datatype: "FP32", shape: [2, 2], data: [1, 2, 3, 4] }],
      });
    await until(async () => (await get("/v2/models/imported/ready")).status === 200);
    expect(await ask()).toMatchObject({ status: 200, body: { outputs: [{ data: [0.75, 0.75] }] } });
  });
});
