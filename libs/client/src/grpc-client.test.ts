import {
  create,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { featureApi, GRPCInferenceService, ModelInferRequestSchema, registryApi } from "@millrace/contracts";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createGrpcClient, type GrpcClient, line } from "./index.ts";
import { CERTIFICATE, PRIVATE_KEY } from "./testing/localhost.ts";

type Handler = (call: ServerUnaryCall<Uint8Array, Uint8Array>, answer: sendUnaryData<Uint8Array>) => void;
const handlers = new Map<string, Handler>();
const asked: { readonly headers: object; readonly deadlineMs: number }[] = [];

const METHODS = [GRPCInferenceService, featureApi.FeatureService, registryApi.RegistryService].flatMap(
  ({ methods }) => methods.filter((method) => method.methodKind === "unary"),
);

/** A server of grpc-js whose handlers a test sets; messages go through protobuf's own encoder. */
function startServer(credentials: ServerCredentials): Promise<{ server: Server; address: string }> {
  const server = new Server();
  for (const { name, parent } of METHODS) {
    const path = `/${parent.typeName}/${name}`;
    const bytes = { serialize: (one: Uint8Array) => Buffer.from(one), deserialize: (one: Buffer) => one };
    const handle: Handler = (call, answer) => {
      const deadlineMs = Number(call.getDeadline()) - Date.now();
      asked.push({ headers: call.metadata.getMap(), deadlineMs });
      const handler = handlers.get(path);
      if (handler === undefined) answer({ code: status.UNIMPLEMENTED, details: "not in this test" });
      else handler(call, answer);
    };
    server.addService(
      {
        [name]: {
          path,
          requestStream: false,
          responseStream: false,
          requestSerialize: bytes.serialize,
          requestDeserialize: bytes.deserialize,
          responseSerialize: bytes.serialize,
          responseDeserialize: bytes.deserialize,
        },
      },
      { [name]: handle } as UntypedServiceImplementation,
    );
  }
  return new Promise((resolve, reject) => {
    server.bindAsync("localhost:0", credentials, (error, port) =>
      error === null ? resolve({ server, address: `localhost:${port}` }) : reject(error),
    );
  });
}

/** Answers a method with a message, or with what a function makes of the request. */
function on<M extends DescMethodUnary>(
  method: M,
  make: (request: Uint8Array) => MessageInitShape<M["output"]>,
): void {
  handlers.set(`/${method.parent.typeName}/${method.name}`, (call, answer) =>
    answer(null, toBinary(method.output, create(method.output, make(call.request)))),
  );
}

const { modelInfer, modelReady, modelMetadata, repositoryIndex, modelStatistics } =
  GRPCInferenceService.method;
let server: Server;
let client: GrpcClient;
beforeAll(async () => {
  const started = await startServer(ServerCredentials.createInsecure());
  server = started.server;
  const { address } = started;
  client = await createGrpcClient({
    inference: address,
    feature: address,
    registry: address,
    token: "secret",
  });
});
afterAll(() => {
  client.close();
  server.forceShutdown();
});
afterEach(() => {
  handlers.clear();
  asked.splice(0);
});

interface Entity {
  readonly origin: string;
}
const flights = line<{ readonly flight: string }, Entity, { readonly hour: number | null }>("flights", {
  features: ["hour"],
  featureDigest: "f00d",
});

describe("inference over gRPC", () => {
  it("carries a prediction with token, deadline, parameters and receipt", async () => {
    on(modelInfer, (bytes): MessageInitShape<typeof modelInfer.output> => {
      const request = fromBinary(ModelInferRequestSchema, bytes);
      expect(request).toMatchObject({ modelName: "flights", modelVersion: "7" });
      expect(request.parameters["unit"]?.parameterChoice).toEqual({ case: "stringParam", value: "me" });
      expect(request.parameters["priority"]?.parameterChoice).toEqual({ case: "int64Param", value: 2n });
      expect(request.inputs[0]).toMatchObject({ name: "features", datatype: "FP32", shape: [1n, 1n] });
      expect(Buffer.from(request.rawInputContents[0] ?? []).readFloatLE()).toBe(17);
      return {
        modelName: "flights",
        modelVersion: "7",
        parameters: {
          feature_digest: { parameterChoice: { case: "stringParam", value: "f00d" } },
          feature_age_ms: { parameterChoice: { case: "int64Param", value: 1500n } },
        },
        // Typed contents, as servers of the neutral specification answer.
        outputs: [{ name: "score", datatype: "FP32", shape: [1n], contents: { fp32Contents: [0.25] } }],
      };
    });
    const prediction = await client.predict(
      flights,
      { hour: 17 },
      { version: 7, unit: "me", priority: 2, timeoutMs: 3_000, traceparent: "00-1-2-01" },
    );
    expect(prediction).toMatchObject({ score: 0.25, version: 7, featureAgeMs: 1500 });
    expect(prediction.receipt.features).toBe("f00d");
    expect(asked[0]?.headers).toMatchObject({ authorization: "Bearer secret", traceparent: "00-1-2-01" });
    expect(asked[0]?.deadlineMs).toBeGreaterThan(1_000);
    expect(asked[0]?.deadlineMs).toBeLessThanOrEqual(3_000);
  });

  it("carries tensors there and back", async () => {
    on(modelInfer, (bytes): MessageInitShape<typeof modelInfer.output> => {
      const { inputs, rawInputContents, id } = fromBinary(ModelInferRequestSchema, bytes);
      return {
        modelName: "echo",
        modelVersion: "1",
        id,
        outputs: inputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
        rawOutputContents: rawInputContents,
      };
    });
    const inputs = [
      { name: "a", datatype: "INT64", shape: [1, 2], data: BigInt64Array.of(-1n, 2n ** 62n) },
      { name: "b", datatype: "BYTES", shape: [2], data: [Uint8Array.of(1, 2), Uint8Array.of()] },
      { name: "c", datatype: "BF16", shape: [1], data: Uint16Array.of(0x3f80) },
    ] as const;
    const { outputs, id } = await client.infer("echo", inputs, { id: "x" });
    expect([...outputs.values()]).toEqual(inputs);
    expect(id).toBe("x");
  });

  it("calls an answer INTERNAL that is no message of the protocol", async () => {
    handlers.set("/inference.GRPCInferenceService/ModelInfer", (_call, answer) =>
      answer(null, Uint8Array.of(255)),
    );
    await expect(client.infer("m", [])).rejects.toMatchObject({ code: "INTERNAL" });
  });

  it("calls any other answer INTERNAL that is none of its message", async () => {
    handlers.set("/inference.GRPCInferenceService/RepositoryIndex", (_call, answer) =>
      answer(null, Uint8Array.of(255)),
    );
    await expect(client.models.index()).rejects.toMatchObject({
      code: "INTERNAL",
      message: /RepositoryIndex/,
    });
  });

  it("reads metadata, readiness, index and statistics", async () => {
    const spec = { name: "features", datatype: "FP32", shape: [-1, 17] };
    on(modelMetadata, () => ({
      name: "m",
      versions: ["1"],
      inputs: [{ ...spec, shape: [-1n, 17n] }],
      properties: { a_b: "c" },
    }));
    expect(await client.models.metadata("m")).toMatchObject({
      name: "m",
      inputs: [spec],
      properties: { a_b: "c" },
    });
    on(modelReady, () => ({ ready: true }));
    expect(await client.models.ready("m", { version: 1 })).toBe(true);
    handlers.set("/inference.GRPCInferenceService/ModelReady", (_, answer) =>
      answer({ code: status.NOT_FOUND }),
    );
    expect(await client.models.ready("m")).toBe(false);
    on(repositoryIndex, () => ({ models: [{ name: "m", version: "1", state: "READY" }] }));
    expect(await client.models.index()).toEqual([{ name: "m", version: "1", state: "READY", reason: "" }]);
    on(modelStatistics, () => ({
      modelStats: [
        { name: "m", inferenceCount: 9n, inferenceStats: { computeInfer: { count: 2n, ns: 5n } } },
      ],
    }));
    const [statistics] = await client.models.statistics("m");
    expect(statistics).toMatchObject({
      inferenceCount: 9,
      computeInfer: { count: 2, ns: 5 },
      lastInferenceMs: 0,
    });
  });
});

describe("features over gRPC", () => {
  const { getVector } = featureApi.FeatureService.method;

  it("gives the vector of an entity by name", async () => {
    on(getVector, (bytes) => {
      const request = fromBinary(getVector.input, bytes);
      expect(request).toMatchObject({
        line: "flights",
        entityJson: '{"origin":"ORD"}',
        eventJson: "",
        timeMs: 5n,
      });
      return {
        names: ["hour", "rate"],
        values: [17, Number.NaN],
        featureDigest: "f00d",
        asOfMs: 9n,
        ageMs: -1n,
      };
    });
    expect(await client.features.get(flights, { entity: { origin: "ORD" } }, { timeMs: 5 })).toEqual({
      values: { hour: 17, rate: null },
      featureDigest: "f00d",
      asOfMs: 9,
      updatedMs: null,
      ageMs: null,
    });
  });

  it("refuses features that the line's types do not know", async () => {
    on(getVector, () => ({ featureDigest: "beef" }));
    await expect(client.features.get(flights, { event: { flight: "x" } })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
    });
    await client.features.get("flights", { event: {} });
    const half = client.features.get("flights", { event: {} }, { timeMs: 0.5 });
    await expect(half).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: /^timeMs: 0.5/ });
  });
});

describe("the registry over gRPC", () => {
  const { listVersions, getAspiredSet, getHistory, listLines } = registryApi.RegistryService.method;

  it("reads as plain objects", async () => {
    on(listVersions, () => ({ versions: [{ line: "flights", version: 3n }], aliases: { champion: 3n } }));
    const { versions, aliases } = await client.registry.versions("flights");
    expect(versions[0]).toMatchObject({ version: 3, recipe: "", passed: false });
    expect(versions[0]).not.toHaveProperty("$typeName");
    expect(aliases).toEqual({ champion: 3 });
    on(getAspiredSet, () => ({ sets: [{ line: "flights", models: [{ version: 3n, role: "champion" }] }] }));
    expect((await client.registry.aspired("flights"))?.models[0]).toMatchObject({
      version: 3,
      role: "champion",
    });
    on(getAspiredSet, () => ({}));
    expect(await client.registry.aspired("flights")).toBeNull();
    on(getHistory, () => ({ sets: [{ generation: 2n }, { generation: 1n }] }));
    expect((await client.registry.history("flights")).map(({ generation }) => generation)).toEqual([2, 1]);
    on(listLines, () => ({ lines: [{ name: "flights", appliedAtMs: 5n }] }));
    expect((await client.registry.lines())[0]).toMatchObject({ name: "flights", appliedAtMs: 5 });
  });
});

describe("failures over gRPC", () => {
  const path = "/inference.GRPCInferenceService/RepositoryIndex";

  it("have the code's name, and the server's words", async () => {
    handlers.set(path, (_, answer) => answer({ code: status.PERMISSION_DENIED, details: "not yours" }));
    const call = client.models.index();
    await expect(call).rejects.toMatchObject({ code: "PERMISSION_DENIED", message: "not yours" });
    expect(asked).toHaveLength(1);
  });

  it("are tried again after the pause that the server asks for, and not without", async () => {
    const pushback = new Metadata();
    pushback.set("grpc-retry-pushback-ms", "30");
    const full = { code: status.RESOURCE_EXHAUSTED, details: "full" };
    handlers.set(path, (_, answer) => {
      on(repositoryIndex, () => ({}));
      answer({ ...full, metadata: pushback });
    });
    expect(await client.models.index()).toEqual([]);
    handlers.set(path, (_, answer) => answer(full));
    await expect(client.models.index()).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      retryAfterMs: null,
    });
    expect(asked).toHaveLength(3);
  });

  it("include a server that is away", async () => {
    const nobody = await createGrpcClient({ inference: "127.0.0.1:1" });
    await expect(nobody.models.index({ timeoutMs: 5_000 })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    nobody.close();
  });

  it("include the deadline and the caller's signal, which both reach the server", async () => {
    for (const [code, options] of [
      ["DEADLINE_EXCEEDED", () => ({ timeoutMs: 100 })],
      ["CANCELLED", () => ({ signal: AbortSignal.timeout(50) })],
    ] as const) {
      const cancelled = new Promise<void>((resolve) => {
        handlers.set(path, (call) => void call.on("cancelled", resolve));
      });
      await expect(client.models.index(options())).rejects.toMatchObject({ code });
      await cancelled;
    }
  });

  it("include a service that has no address", async () => {
    const partial = await createGrpcClient({ inference: "127.0.0.1:1" });
    await expect(partial.registry.lines()).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: /^registry: no address/,
    });
  });
});

describe("TLS", () => {
  it("checks the server's certificate against the authority that it is given", async () => {
    const pair = { private_key: Buffer.from(PRIVATE_KEY), cert_chain: Buffer.from(CERTIFICATE) };
    const { server: secure, address } = await startServer(ServerCredentials.createSsl(null, [pair]));
    on(repositoryIndex, () => ({}));
    const trusting = await createGrpcClient({ inference: address, tls: { ca: CERTIFICATE } });
    expect(await trusting.models.index()).toEqual([]);
    const wary = await createGrpcClient({ inference: address, tls: {}, attemptsMax: 1 });
    await expect(wary.models.index()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    trusting.close();
    wary.close();
    secure.forceShutdown();
  });
});
