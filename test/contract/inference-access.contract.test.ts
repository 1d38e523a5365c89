import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type DescService, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import {
  GRPCInferenceService,
  Health,
  ModelInferRequestSchema,
  ModelRepositoryService,
} from "@millrace/contracts";
import { createRpcClient } from "@millrace/rpc";
import { sleep } from "@millrace/runtime";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Caller, createCaller } from "./inference/callers.ts";
import { addModel } from "./inference/models.ts";
import { type InferenceProcess, report, type Stage, startStage, until } from "./inference/stage.ts";

/** The doors of the inference service, a process: who comes in without a token, and where a name may lead. */
const TOKEN = "inference-0123456789";
const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;
const UNAUTHENTICATED = 16;
const LINE = "add";

let stage: Stage;
let node: InferenceProcess;
let caller: Caller;

beforeAll(async () => {
  stage = await startStage();
  await stage.define({ name: LINE, title: LINE });
  await stage.promote(LINE, await stage.register(LINE, addModel(1)));
  node = await stage.startInference({ MILLRACE_INFERENCE_TOKEN: TOKEN });
  await until(async () => (await node.champion(LINE)) === 1);
  caller = createCaller(node.grpc, TOKEN);
}, 300_000);
afterAll(async () => {
  caller?.close();
  await stage?.stop();
});

/** Calls a method of any kind with an empty message; resolves with the gRPC status. */
function statusOf(client: Client, path: string, metadata: Metadata): Promise<number> {
  const asItIs = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve) => {
    const call = client.makeBidiStreamRequest(path, asItIs, asItIs, metadata, {
      deadline: Date.now() + 5_000,
    });
    call.on("data", () => call.cancel());
    call.on("error", () => {});
    call.on("status", ({ code }) => resolve(code));
    call.end(Buffer.alloc(0));
  });
}

describe("a caller without the token", () => {
  const SERVICES: readonly DescService[] = [GRPCInferenceService, ModelRepositoryService, Health];
  const PATHS = SERVICES.flatMap(({ typeName, methods }) =>
    methods.map(({ name }) => `/${typeName}/${name}`),
  );
  const MODEL = `/v2/models/${LINE}`;
  const ROUTES: readonly (readonly ["GET" | "POST", string])[] = [
    ["GET", "/v2"],
    ["GET", "/v2/models/stats"],
    ...["", "/ready", "/config", "/stats"].flatMap((what) => [
      ["GET", `${MODEL}${what}`] as const,
      ["GET", `${MODEL}/versions/1${what}`] as const,
    ]),
    ...["infer", "generate", "generate_stream"].map((what) => ["POST", `${MODEL}/${what}`] as const),
    ["POST", "/v2/repository/index"],
    ...["load", "unload"].map((what) => ["POST", `/v2/repository/models/${LINE}/${what}`] as const),
    ["POST", "/ofrep/v1/evaluate/flags"],
    ["POST", `/ofrep/v1/evaluate/flags/${LINE}`],
  ];

  it("is refused by every method that the .proto files name", async () => {
    const client = new Client(`127.0.0.1:${node.grpc}`, credentials.createInsecure());
    const tokens = [null, "", `Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(1)}`, `Basic ${TOKEN}`, TOKEN];
    expect(PATHS.length).toBeGreaterThan(15);
    for (const path of PATHS) {
      for (const token of tokens) {
        const metadata = new Metadata();
        if (token !== null) metadata.set("authorization", token);
        expect([path, token, await statusOf(client, path, metadata)]).toEqual([path, token, UNAUTHENTICATED]);
      }
    }
    client.close();
  });

  it("is refused by every route but the health of the process", async () => {
    for (const [method, path] of ROUTES) {
      for (const authorization of [null, "Bearer ", `Bearer ${TOKEN}x`, TOKEN]) {
        const headers: Record<string, string> = authorization === null ? {} : { authorization };
        const response = await fetch(`http://127.0.0.1:${node.http}${path}`, { method, headers });
        expect([path, response.status]).toEqual([path, 401]);
        expect(await response.text()).not.toContain("FP32");
      }
    }
    for (const path of ["/v2/health/live", "/v2/health/ready"]) {
      expect((await fetch(`http://127.0.0.1:${node.http}${path}`)).status).not.toBe(401);
    }
  });
});

describe("paths in names", () => {
  const NAMES = [
    "../../../../etc/passwd",
    "..",
    ".",
    "/etc/passwd",
    "%2e%2e%2fetc%2fpasswd",
    "..%252f..%252fetc%252fpasswd",
    "..\\..\\etc\\passwd",
    "etc/passwd\u0000.onnx",
    "\u2025/etc/passwd",
    "\uff0e\uff0e/etc/passwd",
    "passwd-".repeat(600),
    "NUL",
    "CON.onnx",
    "C:\\passwd",
    "file:///etc/passwd",
    "http://169.254.169.254/passwd",
    "$(passwd)",
    "{{passwd}}",
    "__proto__",
    "constructor",
    "toString",
  ];

  /** Sends a request line as it is, and answers the status. */
  const raw = (path: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const socket = connect(node.http, "127.0.0.1");
      let text = "";
      socket.on("data", (data) => {
        text += data.toString("latin1");
      });
      socket.once("error", reject).once("close", () => resolve(Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1])));
      socket.write(
        `GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\nconnection: close\r\n\r\n`,
      );
    });

  it("are names of nothing: 400 or 404, and no file is looked at", async () => {
    const trace = await traced(node.pid, async () => {
      const client = createRpcClient(GRPCInferenceService, `127.0.0.1:${node.grpc}`, { token: TOKEN });
      const answers = new Map<string, number>();
      for (const name of NAMES) {
        const message = (change: object): Uint8Array =>
          toBinary(ModelInferRequestSchema, create(ModelInferRequestSchema, { modelName: LINE, ...change }));
        for (const change of [{ modelName: name }, { modelVersion: name }]) {
          const called = await caller.infer(message(change));
          expect([name, called]).toEqual([name, expect.objectContaining({ ok: false })]);
          // A name of some thousand characters is no name.
          if (!called.ok) expect([NOT_FOUND, INVALID_ARGUMENT]).toContain(called.code);
        }
        for (const call of [
          () => client.modelMetadata({ name }),
          () => client.modelConfig({ name }),
          () => client.modelStatistics({ name }),
          () => client.repositoryModelLoad({ modelName: name }),
          () => client.repositoryModelUnload({ modelName: name }),
        ]) {
          await expect(call()).rejects.toMatchObject({ code: "notFound" });
        }
        expect(await client.modelReady({ name })).toMatchObject({ ready: false });
        for (const form of [name.replaceAll(/[\0 \\]/g, encodeURIComponent), encodeURIComponent(name)]) {
          for (const path of [`/v2/models/${form}`, `/v2/models/${LINE}/versions/${form}`, `/${form}`]) {
            const latin = Buffer.from(path, "utf8").toString("latin1");
            answers.set(path, await raw(latin));
          }
        }
      }
      client.close();
      // What must be seen: a model's file is written.
      const version = await stage.register(LINE, addModel(2));
      await stage.promote(LINE, version);
      await until(async () => (await node.champion(LINE)) === version);
      expect([...answers].filter(([, code]) => ![400, 404, 431].includes(code))).toEqual([]);
    });
    // Without strace the answers are all that is seen.
    if (trace !== null) {
      expect(trace).toMatch(/\/models\//);
      expect(trace.split("\n").filter((line) => /passwd|NUL|CON\.onnx|__proto__/.test(line))).toEqual([]);
    }
    report(`paths: ${NAMES.length} names in 10 places of gRPC and REST, no file looked at`);
  });
});

/** The system calls on files by name that a process makes while `what` runs; null where there is no strace. */
async function traced(pid: number, what: () => Promise<void>): Promise<string | null> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-strace-"));
  const file = join(folder, "calls");
  const options = ["-f", "-qq", "-e", "trace=%file", "-o", file, "-p", String(pid)];
  const tracer = spawn("strace", options, { stdio: "ignore" });
  const ended = new Promise<"ended">((resolve) => {
    tracer.once("close", () => resolve("ended")).once("error", () => resolve("ended"));
  });
  try {
    const isTracing = (await Promise.race([ended, sleep(1_000)])) !== "ended";
    await what();
    tracer.kill("SIGINT");
    await ended;
    return isTracing ? await readFile(file, "utf8") : null;
  } finally {
    tracer.kill("SIGKILL");
    await rm(folder, { recursive: true });
  }
}
