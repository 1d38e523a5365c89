import { connect } from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials } from "@grpc/grpc-js";
import {
  HealthCheckRequestSchema,
  ModelInferRequestSchema,
  ModelStreamInferResponseSchema,
} from "@millrace/contracts";
import { sleep } from "@millrace/runtime";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Called, type Caller, createCaller, keepCalling, rowsOf } from "./inference/callers.ts";
import { addModel, slowModel } from "./inference/models.ts";
import { type InferenceProcess, report, type Stage, startStage, until } from "./inference/stage.ts";

/** What callers ask of the inference service, a process: nonsense, too much, and answers that they do not wait for. */
let stage: Stage;
let node: InferenceProcess;
let caller: Caller;
const INVALID_ARGUMENT = 3;
/** Lines of a model that takes milliseconds for a row. */
const SLOW = "slow";

beforeAll(async () => {
  stage = await startStage();
  await stage.define({ name: "add", title: "add" });
  await stage.promote("add", await stage.register("add", addModel(1)));
  await stage.define({ name: SLOW, title: SLOW, serve: { priority: "high", latencyMs: 100 } });
  await stage.promote(SLOW, await stage.register(SLOW, slowModel(1_600)));
  node = await stage.startInference();
  for (const line of ["add", SLOW]) await until(async () => (await node.champion(line)) === 1);
  caller = createCaller(node.grpc);
}, 300_000);
afterAll(async () => {
  caller?.close();
  await stage?.stop();
});

/** Counts of a model since it was loaded. */
async function statisticsOf(line: string): Promise<{ rows: number; success: number; fail: number }> {
  const response = await fetch(`http://127.0.0.1:${node.http}/v2/models/${line}/stats`);
  const { model_stats: stats } = (await response.json()) as any;
  const { inference_count: rows, inference_stats: of } = stats[0];
  return { rows, success: of.success.count, fail: of.fail.count };
}

describe("nonsense", () => {
  const request = (change: object): Uint8Array =>
    toBinary(
      ModelInferRequestSchema,
      create(ModelInferRequestSchema, {
        modelName: "add",
        inputs: [{ name: "x", datatype: "FP32", shape: [1n, 2n] }],
        rawInputContents: [new Uint8Array(8)],
        ...change,
      }),
    );
  const x = (shape: bigint[], datatype = "FP32"): object => ({ inputs: [{ name: "x", datatype, shape }] });
  const GRPC: Readonly<Record<string, Uint8Array>> = {
    "a negative dimension": request(x([-1n, 2n])),
    "no rows": request(x([0n, 2n])),
    "a huge dimension": request(x([2n ** 62n, 2n])),
    "a shape that overflows 64 bits": request(x([2n ** 33n, 2n ** 33n])),
    "a shape that overflows doubles": request(x([2n ** 53n + 1n, 2n])),
    "10,000 dimensions": request(x(new Array<bigint>(10_000).fill(1n))),
    "fewer bytes than its shape": request(x([2n, 2n])),
    "more bytes than its shape": request({ rawInputContents: [new Uint8Array(9)] }),
    "no bytes": request({ rawInputContents: [] }),
    "bytes for two inputs": request({ rawInputContents: [new Uint8Array(8), new Uint8Array(8)] }),
    "both kinds of contents": request({
      inputs: [{ name: "x", datatype: "FP32", shape: [1n, 2n], contents: { fp32Contents: [1, 2] } }],
    }),
    "another datatype": request(x([1n, 1n], "FP64")),
    "no such datatype": request(x([1n, 2n], "FP31")),
    "the same input twice": request({
      inputs: [0, 1].map(() => ({ name: "x", datatype: "FP32", shape: [1n, 2n] })),
      rawInputContents: [new Uint8Array(8), new Uint8Array(8)],
    }),
    "100,000 inputs": request({
      inputs: Array.from({ length: 100_000 }, (_, i) => ({
        name: `x${i}`,
        datatype: "FP32",
        shape: [1n, 2n],
      })),
    }),
    "100,000 outputs": request({ outputs: Array.from({ length: 100_000 }, (_, i) => ({ name: `y${i}` })) }),
    "100,000 parameters": request({
      parameters: Object.fromEntries(
        Array.from({ length: 100_000 }, (_, i) => [
          `p${i}`,
          { parameterChoice: { case: "int64Param", value: 1n } },
        ]),
      ),
    }),
    "no message": Buffer.from("no protobuf at all"),
    "a message cut off": request({}).subarray(0, 20),
    "a length beyond the message": Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x07),
    "10,000 groups in groups": new Uint8Array(10_000).fill(0x0b),
  };
  const rest = (text: string): string => `{"inputs": [{"name": "x", "datatype": "FP32", ${text}}]}`;
  const REST: Readonly<Record<string, string>> = {
    "a negative dimension": rest('"shape": [-1, 2], "data": [1, 2]'),
    "a huge dimension": rest('"shape": [4611686018427387904, 2], "data": [1, 2]'),
    "a fraction of a row": rest('"shape": [0.5, 2], "data": [1]'),
    "a shape that overflows": rest('"shape": [1e308, 1e308], "data": []'),
    "fewer values": rest('"shape": [2, 2], "data": [1, 2]'),
    "more values": rest('"shape": [1, 2], "data": [1, 2, 3]'),
    "100,000 brackets": rest(`"shape": [1, 2], "data": ${"[".repeat(100_000)}`),
    "a text for a number": rest('"shape": [1, 2], "data": ["1", "2"]'),
    "binary data that is not there": rest(
      '"shape": [1, 2], "parameters": {"binary_data_size": 9007199254740993}',
    ),
    "no JSON": "\u0000\u0001",
    "a list": "[]",
    "the prototype for a name":
      '{"inputs": [{"name": "__proto__", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}',
    "the prototype for inputs": '{"__proto__": {"inputs": []}, "constructor": {"prototype": {"inputs": []}}}',
  };
  const post = (body: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${node.http}/v2/models/add/infer`, { method: "POST", body });

  it("is refused with its reason, quickly, and takes no memory", async () => {
    for (const [what, message] of Object.entries(GRPC)) {
      const called = await caller.infer(message);
      const expected =
        what === "10,000 groups in groups" || what === "no message" ? expect.any(Number) : INVALID_ARGUMENT;
      expect([what, called]).toEqual([
        what,
        expect.objectContaining({ ok: false, code: expected, message: expect.stringMatching(/./) }),
      ]);
    }
    for (const [what, body] of Object.entries(REST)) {
      const response = await post(body);
      expect([what, response.status, await response.json()]).toEqual([
        what,
        400,
        { error: expect.stringMatching(/./) },
      ]);
    }
    const small = Object.values(GRPC).filter((message) => message.length < 100_000);
    const rssBefore = await node.rssBytes();
    const times: number[] = [];
    for (let round = 0; round < 100; round++) {
      for (const message of small) times.push((await caller.infer(message)).ms);
    }
    const grown = ((await node.rssBytes()) - rssBefore) / 2 ** 20;
    const median = times.sort((a, b) => a - b)[times.length >> 1] as number;
    expect(median).toBeLessThan(5);
    expect(grown).toBeLessThan(64);
    expect(await caller.infer(rowsOf("add", 1))).toMatchObject({ ok: true, y: 2 });
    report(
      `nonsense: ${Object.keys(GRPC).length + Object.keys(REST).length} kinds refused; ${times.length} calls, ` +
        `median ${median.toFixed(2)} ms with the way there and back, memory +${Math.round(grown)} MiB`,
    );
  });

  it("in numbers comes back as it is: infinities, not a number, denormals", async () => {
    for (const value of [Number.NaN, Infinity, -Infinity, 1.401298464324817e-45, -0]) {
      const called = await caller.infer(rowsOf("add", value));
      expect(called).toMatchObject({ ok: true, y: Math.fround(value + 1) });
    }
  });
});

describe("callers who do not wait", () => {
  it("cost nothing: what they asked for does not run", async () => {
    const busy = keepCalling(
      caller,
      4,
      () => rowsOf(SLOW, 1, 8),
      () => {},
    );
    await sleep(500);
    await busy.stop();
    const before = await statisticsOf(SLOW);
    // One long run is under way; all that comes meanwhile waits behind it.
    const long = caller.infer(rowsOf(SLOW, 1, 64));
    await sleep(20);
    const abandoned = await Promise.all(
      Array.from({ length: 100 }, () => caller.abandon(rowsOf(SLOW, 1), 20)),
    );
    expect(abandoned.filter(({ ok }) => ok)).toEqual([]);
    const late = await Promise.all(Array.from({ length: 100 }, () => caller.infer(rowsOf(SLOW, 1), 1)));
    expect(late.filter(({ ok }) => ok)).toEqual([]);
    const gone = await Promise.all(Array.from({ length: 20 }, () => hangUp(node.http, 20)));
    expect(gone.length).toBe(20);
    expect(await long).toMatchObject({ ok: true });
    await until(async () => (await statisticsOf(SLOW)).fail >= before.fail + 100);
    const after = await statisticsOf(SLOW);
    report(
      `not waited for: 100 cancelled, 100 with 1 ms, 20 hung up; rows run ${after.rows - before.rows} (64 were waited for)`,
    );
    expect(after.rows - before.rows).toBe(64);
  });

  /** A REST request whose client goes away. */
  function hangUp(port: number, afterMs: number): Promise<void> {
    const body = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 2], data: [1, 1] }] });
    return new Promise((resolve, reject) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("error", reject).once("close", () => resolve());
      const head = [`POST /v2/models/${SLOW}/infer HTTP/1.1`, "host: x", `content-length: ${body.length}`];
      socket.write(`${head.join("\r\n")}\r\n\r\n${body}`);
      setTimeout(() => socket.destroy(), afterMs);
    });
  }
});

describe("five times what it can do", () => {
  it("leaves it doing what it can, and is over when it is over", async () => {
    const DEADLINE_MS = 1_000;
    const closed: Called[] = [];
    const peak = keepCalling(
      caller,
      32,
      () => rowsOf(SLOW, 1),
      (called) => void closed.push(called),
    );
    await sleep(1_000);
    const from = closed.length;
    await sleep(2_000);
    const capacity = (closed.length - from) / 2;
    await peak.stop();

    const seconds = 6;
    const total = Math.round(5 * capacity * seconds);
    const calls: Promise<{ called: Called; isUrgent: boolean }>[] = [];
    const startedAt = performance.now();
    for (let i = 0; i < total; ) {
      const due = Math.min(total, ((performance.now() - startedAt) / 1_000) * 5 * capacity);
      for (; i < due; i++) {
        const isUrgent = i % 20 === 0;
        const message = rowsOf(SLOW, 1, 1, { priority: isUrgent ? 1 : 3 });
        calls.push(caller.infer(message, DEADLINE_MS).then((called) => ({ called, isUrgent })));
      }
      await sleep(5);
    }
    const endedAt = performance.now();
    const done = await Promise.all(calls);
    const offered = total / ((endedAt - startedAt) / 1_000);
    const good = done.filter(({ called }) => called.ok).length / ((endedAt - startedAt) / 1_000);
    const urgent = done.filter(({ isUrgent }) => isUrgent).map(({ called }) => called);
    const latency = (share: number): number => {
      const ms = urgent
        .filter(({ ok }) => ok)
        .map((called) => called.ms)
        .sort((a, b) => a - b);
      return Math.round(ms[Math.floor(ms.length * share)] as number);
    };
    const codes = new Map<number, number>();
    for (const { called } of done) {
      if (!called.ok) codes.set(called.code, (codes.get(called.code) ?? 0) + 1);
    }
    const after = await Promise.all(Array.from({ length: 8 }, () => caller.infer(rowsOf(SLOW, 1))));
    expect(after.filter(({ ok }) => !ok)).toEqual([]);
    const recovered = Math.max(...after.map(({ ms }) => ms));
    report(
      `overload: capacity ${Math.round(capacity)}/s, offered ${Math.round(offered)}/s, good ${Math.round(good)}/s; urgent ` +
        `${urgent.filter(({ ok }) => ok).length} of ${urgent.length} answered, p50 ${latency(0.5)} ms, p99 ${latency(0.99)} ms; ` +
        `refusals by code ${JSON.stringify(Object.fromEntries(codes))}; afterwards ${Math.round(recovered)} ms`,
    );
    expect(good).toBeGreaterThan(0.5 * capacity);
    expect(recovered).toBeLessThan(1_000);
  }, 60_000);
});

describe("the end of the process", () => {
  it("waits for what was asked, and not for streams that stay open", async () => {
    const client = new Client(`127.0.0.1:${node.grpc}`, credentials.createInsecure());
    const infer = openStream(client, "/inference.GRPCInferenceService/ModelStreamInfer");
    const watch = openStream(client, "/grpc.health.v1.Health/Watch");
    watch.send(toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, {})));
    infer.send(rowsOf("add", 1));
    await until(() => infer.received.length === 1 && watch.received.length === 1);
    const asked = Array.from({ length: 20 }, () => caller.infer(rowsOf(SLOW, 1)));
    for (let i = 0; i < 20; i++) infer.send(rowsOf(SLOW, 1));
    await sleep(50);
    const startedAt = performance.now();
    expect(await node.end("SIGTERM")).toBe(0);
    const ms = Math.round(performance.now() - startedAt);
    expect((await Promise.all(asked)).filter(({ ok }) => !ok)).toEqual([]);
    await Promise.all([infer.ended, watch.ended]);
    const failed = infer.received
      .map((bytes) => fromBinary(ModelStreamInferResponseSchema, bytes))
      .filter(({ errorMessage }) => errorMessage !== "");
    expect([failed, infer.received.length]).toEqual([[], 21]);
    expect(ms).toBeLessThan(9_000);
    report(`SIGTERM with 2 open streams and 40 calls under way: all answered, ended after ${ms} ms`);
    client.close();
  });
});

interface Stream {
  readonly received: Buffer[];
  readonly ended: Promise<void>;
  send(message: Uint8Array): void;
}

function openStream(client: Client, path: string): Stream {
  const asItIs = (bytes: Buffer): Buffer => bytes;
  const call = client.makeBidiStreamRequest(path, asItIs, asItIs);
  const received: Buffer[] = [];
  call.on("data", (bytes: Buffer) => void received.push(bytes));
  call.on("error", () => {});
  return {
    received,
    ended: new Promise((resolve) => call.on("status", () => resolve())),
    send: (message) => void call.write(Buffer.from(message)),
  };
}
