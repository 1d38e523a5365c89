import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Tensor } from "@millrace/open-inference";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createClient, line, MillraceError, type RestClient } from "./index.ts";

type Json = Record<string, unknown>;
interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  /** The JSON of the body, and the tensors behind it. */
  readonly body: Json;
  readonly binary: Buffer;
}
type Answer = (asked: Asked, response: ServerResponse) => void;

/** A server that speaks REST v2 by hand, so that this package's codec is not judged by itself. */
const asked: Asked[] = [];
let answer: Answer;
const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const bytes = Buffer.concat(chunks);
    const length = Number(request.headers["inference-header-content-length"] ?? bytes.length);
    const body = length === 0 ? {} : (JSON.parse(bytes.subarray(0, length).toString()) as Json);
    const one = {
      method: request.method ?? "",
      path: request.url ?? "",
      headers: request.headers,
      body,
      binary: bytes.subarray(length),
    };
    asked.push(one);
    answer(one, response);
  });
});
let client: RestClient;
const url = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/mesh`;
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  client = createClient({ url: url(), token: "secret" });
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
afterEach(() => asked.splice(0));

const json =
  (body: unknown, status = 200, headers: Record<string, string> = {}): Answer =>
  (_asked, response) =>
    void response
      .writeHead(status, { "content-type": "application/json", ...headers })
      .end(JSON.stringify(body));

/** Answers infer: the JSON, then the bytes of each output. */
const infer =
  (head: Json, outputs: readonly { readonly head: Json; readonly bytes: Uint8Array }[]): Answer =>
  (_asked, response) => {
    const text = Buffer.from(
      JSON.stringify({
        ...head,
        outputs: outputs.map((one) => ({
          ...one.head,
          parameters: { binary_data_size: one.bytes.length },
        })),
      }),
    );
    response
      .writeHead(200, { "inference-header-content-length": String(text.length) })
      .end(Buffer.concat([text, ...outputs.map(({ bytes }) => bytes)]));
  };

/** Answers with what it was asked. */
const echo: Answer = (one, response) => {
  let at = 0;
  const outputs = (one.body["inputs"] as Json[]).map(({ parameters, ...head }) => {
    const size = (parameters as { binary_data_size: number }).binary_data_size;
    at += size;
    return { head, bytes: one.binary.subarray(at - size, at) };
  });
  infer({ model_name: "echo", model_version: "3", id: one.body["id"] }, outputs)(one, response);
};

interface FlightsFeatures {
  readonly hour: number | null;
  readonly distance: number | null;
}
const flights = line<{ flight: string }, { origin: string }, FlightsFeatures>("flights", {
  features: ["hour", "distance"],
  featureDigest: "f00d",
});
const scored = (parameters: Json = {}): Answer =>
  infer({ model_name: "flights", model_version: "7", parameters }, [
    {
      head: { name: "score", datatype: "FP32", shape: [1] },
      bytes: new Uint8Array(Float32Array.of(0.25).buffer),
    },
  ]);

async function listOf<T>(values: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const value of values) list.push(value);
  return list;
}

describe("predict", () => {
  it("sends features in model order, NaN for null, and reads score, version and receipt", async () => {
    answer = scored({ model_digest: "aa", feature_digest: "f00d", arm: "challenger", trace_id: "t", x: [1] });
    const prediction = await client.predict(
      flights,
      { distance: 733, hour: null },
      { unit: "me", priority: 1, version: 7, timeoutMs: 2_000, traceparent: "00-1-2-01" },
    );
    expect(prediction).toEqual({
      score: 0.25,
      version: 7,
      receipt: { model: "aa", features: "f00d", dataset: null, arm: "challenger", trace: "t" },
      featureAgeMs: null,
    });
    const [one] = asked;
    expect(one?.path).toBe("/mesh/v2/models/flights/versions/7/infer");
    expect(one?.headers).toMatchObject({ authorization: "Bearer secret", traceparent: "00-1-2-01" });
    const { timeout, ...parameters } = (one?.body["parameters"] ?? {}) as Json;
    expect(parameters).toEqual({ unit: "me", priority: 1, binary_data_output: true });
    // Microseconds of what is left.
    expect(timeout).toBeGreaterThan(1_000_000);
    expect(timeout).toBeLessThanOrEqual(2_000_000);
    expect([one?.binary.readFloatLE(0), one?.binary.readFloatLE(4)]).toEqual([Number.NaN, 733]);
  });

  it("sends an entity in place of inputs, by a line or its name, and reads the features' age", async () => {
    answer = scored({ feature_digest: "other", feature_age_ms: 1500 });
    for (const asks of [flights, "flights"] as const) {
      const { featureAgeMs } = await client.predict(asks, { entity: { origin: "ORD" } });
      expect(featureAgeMs).toBe(1500);
      expect(asked.at(-1)?.body).toMatchObject({ inputs: [], parameters: { entity: '{"origin":"ORD"}' } });
    }
  });

  it("has no age of features that rest on nothing", async () => {
    answer = scored({ feature_age_ms: -1 });
    expect((await client.predict(flights, { entity: { origin: "ORD" } })).featureAgeMs).toBeNull();
  });

  it("refuses a score of other features than those that it sent", async () => {
    answer = scored({ feature_digest: "beef" });
    await expect(client.predict(flights, { hour: 1, distance: 2 })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringMatching(/beef.*f00d.*npx millrace types flights/),
    });
  });

  it.each([
    [{ hour: 1 }, "features.distance: missing"],
    [{ hour: "1", distance: 2 }, "features.hour: string"],
    [{ hour: 1, distance: 2, constructor: 3 }, 'no feature "constructor"'],
  ])("refuses %j before it is sent", async (features, message) => {
    const call = client.predict(flights, features as never);
    await expect(call).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining(message),
    });
    expect(asked).toEqual([]);
  });

  it("refuses features of a line whose types it does not have", async () => {
    await expect(client.predict("flights", { hour: 1 } as never)).rejects.toThrow(
      "npx millrace types flights",
    );
  });

  it("refuses an answer of several scores", async () => {
    answer = echo;
    const rows: Tensor = { name: "score", datatype: "FP32", shape: [2], data: Float32Array.of(1, 2) };
    await expect(client.predict("flights", [rows])).rejects.toThrow('2 of FP32 called "score"');
  });
});

describe("infer", () => {
  const floats = (float: "FP32" | "FP64", data: Float32Array | Float64Array): Tensor => ({
    name: float,
    datatype: float,
    shape: [data.length],
    data,
  });

  it("carries tensors of every datatype there and back", async () => {
    answer = echo;
    const list = { maxLength: 5 };
    const integers = (
      datatype: Tensor["datatype"],
      arrays: fc.Arbitrary<Exclude<Tensor["data"], readonly Uint8Array[]>>,
    ): fc.Arbitrary<Tensor> =>
      arrays.map((data) => ({ name: datatype, datatype, shape: [data.length], data }));
    const tensor = fc.oneof(
      integers("BOOL", fc.uint8Array({ ...list, max: 1 })),
      integers("UINT8", fc.uint8Array(list)),
      integers("UINT16", fc.uint16Array(list)),
      integers("UINT32", fc.uint32Array(list)),
      integers("UINT64", fc.bigUint64Array(list)),
      integers("INT8", fc.int8Array(list)),
      integers("INT16", fc.int16Array(list)),
      integers("INT32", fc.int32Array(list)),
      integers("INT64", fc.bigInt64Array(list)),
      integers("FP16", fc.uint16Array(list)),
      integers("BF16", fc.uint16Array(list)),
      fc.float32Array(list).map((data) => floats("FP32", data)),
      fc.float64Array(list).map((data) => floats("FP64", data)),
      fc
        .array(fc.uint8Array({ maxLength: 9 }), list)
        .map((data): Tensor => ({ name: "BYTES", datatype: "BYTES", shape: [data.length], data })),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 8 }),
        async (inputs) => {
          const { outputs, ...head } = await client.infer("echo", inputs, { id: "1" });
          expect([...outputs.values()]).toEqual(inputs);
          expect(head).toMatchObject({ model: "echo", version: "3", id: "1" });
        },
      ),
      { numRuns: 60 },
    );
  });

  it("names the outputs that it wants", async () => {
    answer = echo;
    await client.infer("echo", [], { outputs: ["b", "a"], parameters: { mine: 5n } });
    expect(asked[0]?.body).toMatchObject({
      outputs: [{ name: "b" }, { name: "a" }],
      parameters: { mine: 5 },
    });
  });

  it.each<[string, Tensor]>([
    ["Float32Array", { name: "a", datatype: "FP32", shape: [1], data: Float64Array.of(1) }],
    ["array of Uint8Arrays", { name: "a", datatype: "BYTES", shape: [1], data: ["x"] as never }],
    ["3 values, expected 4", { name: "a", datatype: "INT32", shape: [2, 2], data: Int32Array.of(1, 2, 3) }],
    ["inputs[0]", { name: "a", datatype: "INT32", shape: [-1], data: Int32Array.of(1) }],
    ['"FLOAT"', { name: "a", datatype: "FLOAT" as never, shape: [1], data: Int32Array.of(1) }],
  ])("says that it expected %s", async (message, tensor) => {
    await expect(client.infer("m", [tensor])).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining(message),
    });
    expect(asked).toEqual([]);
  });

  it.each<[string, Answer]>([
    ["not JSON", (_, response) => void response.end("<html>")],
    ["binary tensor data", json({ outputs: [{ name: "a", datatype: "FP32", shape: [1], data: [1] }] })],
    [
      "expected 8",
      infer({}, [{ head: { name: "a", datatype: "FP32", shape: [2] }, bytes: new Uint8Array(4) }]),
    ],
    [
      "a datatype of the protocol",
      infer({}, [{ head: { name: "a", datatype: "FP9" }, bytes: new Uint8Array(4) }]),
    ],
  ])("calls an answer INTERNAL that is wrong: %s", async (message, wrong) => {
    answer = wrong;
    await expect(client.infer("m", [])).rejects.toMatchObject({
      code: "INTERNAL",
      message: expect.stringContaining(message),
    });
  });
});

describe("errors", () => {
  it.each([
    [400, "INVALID_ARGUMENT"],
    [401, "UNAUTHENTICATED"],
    [404, "NOT_FOUND"],
    [418, "INVALID_ARGUMENT"],
    [500, "INTERNAL"],
    [504, "DEADLINE_EXCEEDED"],
  ])("gives status %d the code %s and the server's words", async (status, code) => {
    answer = json({ error: "model_name: no" }, status);
    const call = client.models.metadata("m");
    await expect(call).rejects.toEqual(expect.any(MillraceError));
    await expect(call).rejects.toMatchObject({ code, message: "model_name: no" });
    expect(asked).toHaveLength(1);
  });

  it("waits as long as Retry-After says and tries again", async () => {
    const answers = [json({ error: "full" }, 429, { "retry-after": "0.05" }), json([])];
    answer = (...call) => answers.shift()?.(...call);
    const before = performance.now();
    expect(await client.models.index()).toEqual([]);
    expect(performance.now() - before).toBeGreaterThan(45);
    expect(asked).toHaveLength(2);
  });

  it("says who did not answer", async () => {
    const nobody = createClient({ url: "http://127.0.0.1:1", attemptsMax: 2 });
    const call = nobody.models.index();
    await expect(call).rejects.toMatchObject({ code: "UNAVAILABLE", message: /127\.0\.0\.1:1/ });
  });

  it("says that the connection broke within an answer", async () => {
    answer = (_, response) => void response.write("[", () => response.destroy());
    const fragile = createClient({ url: url(), attemptsMax: 2 });
    await expect(fragile.models.index()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(asked).toHaveLength(2);
    await expect(listOf(fragile.generateStream("m", "x"))).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("ends at its deadline, whether the answer has not begun or does not end", async () => {
    for (const slow of [() => {}, (_: Asked, response: ServerResponse) => void response.write("[")]) {
      answer = slow;
      const call = client.models.index({ timeoutMs: 50 });
      await expect(call).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", message: /50 ms/ });
    }
  });

  it("ends when its caller says so", async () => {
    const ended = new AbortController();
    answer = () => ended.abort();
    await expect(client.models.index({ signal: ended.signal })).rejects.toMatchObject({ code: "CANCELLED" });
  });

  it("refuses a URL that is none", () => {
    expect(() => createClient({ url: "127.0.0.1:8000" })).toThrow(/url: "127.0.0.1:8000", expected/);
  });
});

describe("models", () => {
  it("reads metadata, index and statistics", async () => {
    const input = { name: "features", datatype: "FP32", shape: [-1, 17] };
    answer = json({ name: "m", versions: ["1"], platform: "onnx_onnxv1", inputs: [input], outputs: [] });
    expect(await client.models.metadata("a/b", { version: 1 })).toEqual({
      name: "m",
      versions: ["1"],
      platform: "onnx_onnxv1",
      inputs: [input],
      outputs: [],
      properties: {},
    });
    expect(asked[0]).toMatchObject({ method: "GET", path: "/mesh/v2/models/a%2Fb/versions/1" });

    answer = json([{ name: "m", version: "1", state: "READY" }]);
    expect(await client.models.index()).toEqual([{ name: "m", version: "1", state: "READY", reason: "" }]);
    expect(asked[1]).toMatchObject({ method: "POST", path: "/mesh/v2/repository/index" });

    const success = { count: 2, ns: 5 };
    answer = json({ model_stats: [{ name: "m", inference_count: "9", inference_stats: { success } }] });
    const [statistics] = await client.models.statistics("m");
    expect(statistics).toMatchObject({ inferenceCount: 9, success, fail: { count: 0, ns: 0 } });
    expect(asked[2]).toMatchObject({ method: "GET", path: "/mesh/v2/models/m/stats" });
  });

  it("knows a model that is not there or not loaded from a server that fails", async () => {
    for (const status of [200, 400, 404, 503]) {
      answer = json({ ready: status === 200 }, status);
      expect(await client.models.ready("m")).toBe(status === 200);
    }
    answer = json({ error: "who are you" }, 401);
    await expect(client.models.ready("m")).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  });
});

describe("generation", () => {
  const piece = (text: string): string =>
    `data: ${JSON.stringify({ text_output: text, model_version: "2" })}\n\n`;

  it("asks with the protocol's names and reads the text", async () => {
    answer = json({ model_name: "bard", model_version: "2", text_output: "Hi", reason: "stop" });
    const options = { maxTokens: 5, topK: 3, seed: 1, stop: ["\n"], parameters: { min_p: 0.1 } };
    expect(await client.generate("bard", "Say hi", options)).toEqual({
      text: "Hi",
      model: "bard",
      version: "2",
      details: { reason: "stop" },
    });
    expect(asked[0]?.path).toBe("/mesh/v2/models/bard/generate");
    expect(asked[0]?.body).toEqual({
      text_input: "Say hi",
      parameters: { max_tokens: 5, top_k: 3, seed: 1, stop: ["\n"], min_p: 0.1 },
    });
  });

  it("streams pieces as they come, after trying again", async () => {
    let goOn = (): void => {};
    const stream: Answer = (_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(piece("a"));
      goOn = () => response.end(piece("b"));
    };
    const answers = [json({}, 503, { "retry-after": "0" }), stream];
    answer = (...call) => answers.shift()?.(...call);
    const texts: string[] = [];
    for await (const { text } of client.generateStream("bard", "x")) {
      texts.push(text);
      // The second piece is sent only when the first has arrived.
      goOn();
    }
    expect(texts).toEqual(["a", "b"]);
    expect(asked[1]?.path).toBe("/mesh/v2/models/bard/generate_stream");
  });

  it("hangs up when the loop is left", async () => {
    const closed = new Promise<void>((resolve) => {
      answer = (_, response) => {
        response.on("close", resolve);
        response.write(piece("a"));
      };
    });
    for await (const _ of client.generateStream("bard", "x")) break;
    await closed;
  });

  it.each<[string, string, Answer]>([
    ["INTERNAL", "out of memory", (_, response) => void response.end('data: {"error":"out of memory"}\n\n')],
    ["DEADLINE_EXCEEDED", "50 ms", (_, response) => void response.write(piece("a"))],
    ["NOT_FOUND", "no model", json({ error: "no model" }, 404)],
  ])("ends with %s: %s", async (code, message, failing) => {
    answer = failing;
    const call = listOf(client.generateStream("bard", "x", { timeoutMs: 50 }));
    await expect(call).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });
});
