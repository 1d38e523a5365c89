import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { createConcurrencyLimit } from "@millrace/admission";
import { onnx } from "@millrace/contracts";
import { DEFAULT_SERVE } from "@millrace/lines";
import type { GrpcCall } from "@millrace/runtime";
import { createBatcher, recentRequests, type ServedModel, SwapController } from "@millrace/serving";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTextGenerator } from "./generate.ts";
import { NodeLine } from "./line.ts";
import { createNodeLoad } from "./node-load.ts";
import { type Node, until, World } from "./testing/world.ts";

const TEXT = "writer";
const VOCABULARY = 257;
const { FLOAT, INT64 } = onnx.TensorProto_DataType;
type Graph = MessageInitShape<typeof onnx.GraphProtoSchema>;
type Shape = readonly (number | string)[];

const value = (
  name: string,
  elemType: number,
  shape: Shape,
): MessageInitShape<typeof onnx.ValueInfoProtoSchema> => ({
  name,
  type: {
    value: {
      case: "tensorType",
      value: {
        elemType,
        shape: {
          dim: shape.map((size) =>
            typeof size === "string"
              ? { value: { case: "dimParam" as const, value: size } }
              : { value: { case: "dimValue" as const, value: BigInt(size) } },
          ),
        },
      },
    },
  },
});
const floats = (name: string, shape: readonly number[], data: Float32Array) => ({
  name,
  dims: shape.map(BigInt),
  dataType: FLOAT,
  rawData: new Uint8Array(data.buffer),
});
const ints = (name: string, values: readonly number[]) => ({
  name,
  dims: [BigInt(values.length)],
  dataType: INT64,
  int64Data: values.map(BigInt),
});
const axis = (name: string, i: number) => ({
  name,
  type: onnx.AttributeProto_AttributeType.INT,
  i: BigInt(i),
});

function languageModel(graph: Graph, metadata: Record<string, string>): Uint8Array {
  const model = create(onnx.ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: "", version: 17n }],
    graph: { name: "language", ...graph },
    metadataProps: Object.entries(metadata).map(([key, text]) => ({ key, value: text })),
  });
  return toBinary(onnx.ModelProtoSchema, model);
}

const BYTES = { "millrace.tokenizer": "bytes", "millrace.context-length": "1000" };

/** Logits of the next byte by the byte before: a row of the table [257, 257] for each. */
function bigramModel(
  logit: (from: number, to: number) => number,
  metadata: Record<string, string> = BYTES,
): Uint8Array {
  const table = Float32Array.from({ length: VOCABULARY ** 2 }, (_, i) =>
    logit(Math.floor(i / VOCABULARY), i % VOCABULARY),
  );
  return languageModel(
    {
      node: [{ opType: "Gather", input: ["table", "input_ids"], output: ["logits"] }],
      initializer: [floats("table", [VOCABULARY, VOCABULARY], table)],
      input: [value("input_ids", INT64, ["rows", "length"])],
      output: [value("logits", FLOAT, ["rows", "length", VOCABULARY])],
    },
    metadata,
  );
}

/** From each letter of the text to the next one, from the last one to the end of the text. */
const chain = (text: string): Uint8Array =>
  bigramModel((from, to) => {
    const at = text.indexOf(String.fromCharCode(from));
    return to === (at >= 0 && at + 1 < text.length ? text.charCodeAt(at + 1) : 256) ? 1 : 0;
  });

/** The same letters in turn, for longer than a test takes. */
const endless = (letters: string): Uint8Array =>
  bigramModel(
    (from, to) =>
      to === letters.charCodeAt((letters.indexOf(String.fromCharCode(from)) + 1) % letters.length) ? 1 : 0,
    { ...BYTES, "millrace.context-length": "100000" },
  );

/**
 * With a cache of the embeddings of all tokens before: each token has its own axis, and the logits are how often each
 * one was there, so that the most frequent one comes.
 */
function countingModel(): Uint8Array {
  const identity = Float32Array.from({ length: VOCABULARY ** 2 }, (_, i) =>
    i % (VOCABULARY + 1) === 0 ? 1 : 0,
  );
  const past: Shape = ["rows", 1, "past", VOCABULARY];
  return languageModel(
    {
      node: [
        { opType: "Gather", input: ["embeddings", "input_ids"], output: ["embedded"] },
        { opType: "Unsqueeze", input: ["embedded", "heads"], output: ["keys"] },
        {
          opType: "Concat",
          input: ["past_key_values.0.key", "keys"],
          output: ["present.0.key"],
          attribute: [axis("axis", 2)],
        },
        {
          opType: "ReduceSum",
          input: ["present.0.key", "tokens"],
          output: ["logits"],
          attribute: [axis("keepdims", 0)],
        },
      ],
      initializer: [
        floats("embeddings", [VOCABULARY, VOCABULARY], identity),
        ints("heads", [1]),
        ints("tokens", [2]),
      ],
      input: [value("input_ids", INT64, ["rows", "length"]), value("past_key_values.0.key", FLOAT, past)],
      output: [
        value("present.0.key", FLOAT, ["rows", 1, "all", VOCABULARY]),
        value("logits", FLOAT, ["rows", 1, VOCABULARY]),
      ],
    },
    BYTES,
  );
}

let world: World;
let node: Node;
beforeEach(async () => {
  world = await World.create();
  node = await world.startNode();
});
afterEach(() => world.stop());

/** A version of the line, its bytes in the object store. */
async function modelOf(bytes: Uint8Array, version: number, role: string) {
  const artifactDigest = await world.objects.put(bytes);
  return { version: BigInt(version), role, artifactDigest, artifactBytes: BigInt(bytes.length) };
}

/** Serves a model as the champion of a line of its own. */
async function serve(bytes: Uint8Array, version = 1): Promise<void> {
  world.put({
    line: TEXT,
    generation: BigInt(version),
    models: [await modelOf(bytes, version, "champion")],
  });
  await until(async () => (await fetch(`${node.http}/v2/models/${TEXT}/versions/${version}/ready`)).ok);
}

function post(path: string, body: unknown, signal: AbortSignal | null = null): Promise<Response> {
  return fetch(`${node.http}/v2/models/${path}`, { method: "POST", body: JSON.stringify(body), signal });
}
/** `any`: the answers are what is tested. */
async function generated(body: object, path = `${TEXT}/generate`): Promise<any> {
  const response = await post(path, body);
  return { status: response.status, ...((await response.json()) as object) };
}
async function streamed(body: object): Promise<any[]> {
  const response = await post(`${TEXT}/generate_stream`, body);
  expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  const events = (await response.text()).split("\n\n").filter((event) => event !== "");
  return events.map((event) => JSON.parse(event.slice("data: ".length)));
}

describe("generate", () => {
  it("answers with the whole text, by version and by name", async () => {
    await serve(chain("howl"));
    expect(await generated({ id: "7", text_input: "h", parameters: { temperature: 0, seed: 3 } })).toEqual({
      status: 200,
      id: "7",
      model_name: TEXT,
      model_version: "1",
      text_output: "owl",
      finish_reason: "stop",
      seed: 3,
    });
    const byVersion = await generated(
      { text_input: "h", temperature: 0, max_tokens: 2 },
      `${TEXT}/versions/1/generate`,
    );
    expect(byVersion).toMatchObject({ status: 200, text_output: "ow", finish_reason: "length" });
    expect(byVersion).not.toHaveProperty("id");
  });

  it("answers token by token", async () => {
    await serve(chain("wave"));
    const events = await streamed({ text_input: "w", temperature: 0, seed: 1 });
    const head = { model_name: TEXT, model_version: "1", seed: 1 };
    expect(events).toEqual([
      { ...head, text_output: "a", finish_reason: null },
      { ...head, text_output: "v", finish_reason: null },
      { ...head, text_output: "e", finish_reason: null },
      { ...head, text_output: "", finish_reason: "stop" },
    ]);
  });

  it("uses the cache of a model that has one", async () => {
    await serve(countingModel());
    const asked = { text_input: "abbcc", temperature: 0, max_tokens: 4 };
    expect(await generated(asked)).toMatchObject({ status: 200, text_output: "bbbb" });
    expect(await generated({ ...asked, stop: "bb" })).toMatchObject({
      text_output: "",
      finish_reason: "stop",
    });
  });

  it("gives the text of an answer's seed again, many at once as one alone", async () => {
    await serve(bigramModel((from, to) => (to >= 97 && to < 123 ? ((from * 7 + to * 13) % 17) / 4 : -20)));
    const asked = { text_input: "a", max_tokens: 30 };
    const first = await generated(asked);
    expect(first.text_output).toMatch(/^[a-z]{30}$/);
    const again = await generated({ ...asked, seed: first.seed });
    expect(again.text_output).toBe(first.text_output);
    const seeds = Array.from({ length: 12 }, (_, seed) => seed);
    const together = await Promise.all(seeds.map((seed) => generated({ ...asked, seed })));
    for (const seed of seeds) expect(await generated({ ...asked, seed })).toEqual(together[seed]);
    expect(new Set(together.map(({ text_output }) => text_output)).size).toBe(seeds.length);
  });

  it("answers mistakes with the right status and a sentence", async () => {
    await serve(chain("hello"));
    const cases: [string, unknown, number, string][] = [
      [`${TEXT}/generate`, {}, 400, "text_input: missing, expected a text"],
      [`${TEXT}/generate_stream`, { text_input: "" }, 400, "text_input: no tokens"],
      [`${TEXT}/generate`, { text_input: "h", max_token: 1 }, 400, '"max_token": unknown, expected one of'],
      [
        `${TEXT}/generate`,
        { text_input: "h".repeat(1_000) },
        400,
        "text_input: 1000 characters, expected at most 999",
      ],
      [
        `${TEXT}/generate`,
        { text_input: "h", stream: true },
        400,
        "stream: true, expected false: post it to generate_stream",
      ],
      [`${TEXT}/versions/9/generate`, { text_input: "h" }, 404, 'version "9"'],
      ["reader/generate_stream", { text_input: "h" }, 404, 'no line "reader"'],
    ];
    for (const [path, body, status, message] of cases) {
      const answer = await generated(body as object, path);
      expect([path, answer.status, answer.error]).toEqual([path, status, expect.stringContaining(message)]);
    }
  });

  it("says why a model does not generate", async () => {
    await serve(bigramModel(() => 0, {}));
    expect(await generated({ text_input: "h" })).toMatchObject({
      status: 501,
      error: expect.stringContaining(
        `line "${TEXT}" serves no model that generates: millrace.tokenizer: missing`,
      ),
    });
  });

  it("divides requests by their ids while a rollout runs", async () => {
    await serve(chain("ab"), 1);
    const models = [
      await modelOf(chain("ab"), 1, "champion"),
      { ...(await modelOf(chain("ac"), 2, "challenger")), share: 0.3 },
    ];
    const rollout = { strategy: "canary", by: "request", salt: "s", startedAtMs: 1n, version: 2n };
    world.put({ line: TEXT, generation: 2n, models, rollout });
    await until(() => node.service.lines()[TEXT]?.details["rollout"] !== null);
    const texts = { "1": "b", "2": "c" };
    let challengers = 0;
    for (let id = 0; id < 40; id++) {
      const asked = { id: `${id}`, text_input: "a", temperature: 0, seed: 1 };
      const answer = await generated(asked);
      expect(answer.text_output).toBe(texts[answer.model_version as keyof typeof texts]);
      expect(await generated(asked)).toEqual(answer);
      if (answer.model_version === "2") challengers++;
    }
    expect(challengers).toBeGreaterThan(4);
    expect(challengers).toBeLessThan(24);
  });

  it("does not load what an operator has unloaded", async () => {
    await serve(chain("ab"));
    await fetch(`${node.http}/v2/repository/models/${TEXT}/unload`, { method: "POST", body: "{}" });
    expect(await generated({ text_input: "a" })).toMatchObject({ status: 503 });
    await fetch(`${node.http}/v2/repository/models/${TEXT}/load`, { method: "POST", body: "{}" });
    expect(await generated({ text_input: "a", temperature: 0 })).toMatchObject({ text_output: "b" });
  });

  it("keeps the model of a text until its last token, and lets it go when the caller has gone", async () => {
    await serve(endless("ab"));
    const caller = new AbortController();
    const response = await post(
      `${TEXT}/generate_stream`,
      { text_input: "a", temperature: 0, max_tokens: 60_000 },
      caller.signal,
    );
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    const swapped = (): unknown => node.service.lines()[TEXT]?.details["lastSwap"];
    await until(() => swapped() !== null);
    await serve(chain("hello"), 2);
    expect(swapped()).toMatchObject({ version: 1 });
    caller.abort();
    await until(() => (swapped() as { version: number }).version === 2);
    expect(node.service.lines()[TEXT]?.details).toMatchObject({ loaded: [2] });
    expect(await generated({ text_input: "h", temperature: 0, max_tokens: 1 })).toMatchObject({
      model_version: "2",
    });
  });
});

describe("a deadline", () => {
  const now = (): number => performance.now();

  /** A line that serves one model, which answers each run with "a" after some ms. */
  async function slowLine(runMs: number): Promise<NodeLine> {
    const model: ServedModel = {
      signature: {
        inputs: [{ name: "input_ids", datatype: "INT64", shape: [-1, -1] }],
        outputs: [{ name: "logits", datatype: "FP32", shape: [-1, -1, VOCABULARY] }],
        batches: true,
        metadata: new Map(Object.entries(BYTES)),
      },
      place: "worker",
      memoryBytes: 0,
      run: async () => {
        await new Promise((resolve) => setTimeout(resolve, runMs));
        const data = new Float32Array(VOCABULARY);
        data[97] = 1;
        return [{ name: "logits", datatype: "FP32", shape: [1, 1, VOCABULARY], data }];
      },
      release: async () => {},
    };
    const recent = recentRequests({ keep: 1, everyMs: 1e9, bytesMax: 0 });
    const fail = (...what: unknown[]): never => expect.fail(String(what));
    const batcher = createBatcher({ now, rowsMax: 8, waitingRowsMax: 64, onDefect: fail });
    const controller = new SwapController(TEXT, {
      fetch: async () => new Uint8Array(0),
      prove: async () => {},
      load: async () => model,
      lane: (loaded) => batcher.lane(loaded, { objectiveMs: 1_000 }),
      recent,
      now,
      onServing: () => {},
      onFailure: fail,
      onLeak: fail,
    });
    const champion = {
      version: 1,
      role: "champion" as const,
      artifactDigest: "d",
      artifactBytes: 0,
      featureDigest: "",
      featureNames: [],
      datasetDigest: "",
      signature: "",
      share: 1,
      recipe: "",
    };
    await controller.aspire({ line: TEXT, generation: 1, models: [champion], rollout: null });
    return new NodeLine(TEXT, controller, recent, DEFAULT_SERVE);
  }

  const load = createNodeLoad(
    createConcurrencyLimit({ initial: 10, min: 10, max: 10, tolerance: 2, quickMs: 1_000 }),
  );
  const callUntil = (deadlineAt: number): GrpcCall => ({
    metadata: () => undefined,
    deadlineAt,
    peer: "",
    isCancelled: () => false,
  });

  it("ends a text that takes too long, with a remedy", async () => {
    const line = await slowLine(20);
    const generator = createTextGenerator({ lines: new Map([[TEXT, line]]), spend: () => {}, load, now });
    const asked = generator.whole(TEXT, "", { text_input: "a", temperature: 0 }, callUntil(now() + 100));
    await expect(asked).rejects.toMatchObject({ code: "deadlineExceeded" });
    expect([line.requests.cancelled, line.isBusy]).toEqual([1, false]);
  });

  it("takes the model from a caller who no longer reads", async () => {
    const line = await slowLine(1);
    const generator = createTextGenerator({ lines: new Map([[TEXT, line]]), spend: () => {}, load, now });
    const events = generator
      .stream(TEXT, "", { text_input: "a", temperature: 0 }, callUntil(now() + 150))
      [Symbol.asyncIterator]();
    expect(await events.next()).toMatchObject({ value: { text_output: "a" } });
    const startedAt = now();
    await line.controller.park();
    expect(now() - startedAt).toBeGreaterThan(50);
    await expect(events.next()).rejects.toMatchObject({ code: "deadlineExceeded" });
  });
});
