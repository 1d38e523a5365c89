import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlockFiles } from "@millrace/archive";
import { registryApi } from "@millrace/contracts";
import { buildFeature } from "@millrace/feature";
import { buildInference } from "@millrace/inference";
import type { LineDefinition } from "@millrace/lines";
import { ensureLightgbm } from "@millrace/local";
import { loadModel } from "@millrace/onnx";
import { openParquet } from "@millrace/parquet";
import { buildRegistry, openSqliteStore, Refusal } from "@millrace/registry";
import {
  createRpcClient,
  type RpcClient,
  RpcError,
  type RpcServer,
  serve,
  startRpcServer,
} from "@millrace/rpc";
import { bearerTokens, createLog, type Service, systemClock } from "@millrace/runtime";
import { createMemoryBroker, type MemoryBroker, memoryObjects } from "@millrace/testkit";
import { buildTrainer } from "@millrace/trainer";

const TOKEN = "a-token-for-one-process";
/** Records that a partition keeps: more than any step is ever behind. */
const RETAINED = 200_000;

export interface InProcessMesh {
  readonly broker: MemoryBroker;
  readonly registry: RpcClient<typeof registryApi.RegistryService>;
  /** Status of the line, by service. */
  lag(): Readonly<Record<string, number>>;
  stop(): Promise<void>;
}

/**
 * Feature, inference, trainer and registry as they are, in one process, with a broker and an object store in memory:
 * the loop without the cost of the wire, for replays of months. `fail` is called when one of them would have died.
 */
export async function startInProcessMesh(
  line: LineDefinition,
  fail: (error: unknown) => void,
): Promise<InProcessMesh> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-replay-"));
  const log = createLog("replay", "silent");
  const broker = createMemoryBroker(() => Date.now(), RETAINED);
  const objects = memoryObjects();
  const parquet = await openParquet({ memoryMb: 512, threads: 1, scratch: join(folder, "spill") });
  let server: RpcServer | undefined;
  const registryService = buildRegistry({
    openStore: () => openSqliteStore(join(folder, "registry.sqlite")),
    broker,
    announcer: { publish: () => {}, connected: () => false, stop: async () => {} },
    trustedKeys: [],
    serve: async (handlers) => {
      server = await startRpcServer({
        host: "127.0.0.1",
        port: 0,
        authorise: bearerTokens([TOKEN]),
        requestBytesMax: 8_000_000,
        onDefect: (_method, error) => fail(error),
        services: [serve(registryApi.RegistryService, handlers)],
      });
      return server;
    },
    clock: systemClock,
    log,
  });
  const signal = new AbortController().signal;
  await registryService.start(signal);
  const registry = createRpcClient(registryApi.RegistryService, `127.0.0.1:${server?.port}`, {
    token: TOKEN,
  });
  await registry.applyLine({ definitionJson: JSON.stringify(line) });
  const lines = { list: async () => (await registry.listLines({})).lines, onChange: () => () => {} };

  const feature = buildFeature(
    { MILLRACE_DATA: join(folder, "feature") },
    {
      broker,
      lines,
      objects,
      // Nothing is archived, shared or verified in a replay.
      checkpointIndex: () => ({
        acquire: async () => ({ epoch: 1, newest: [] }),
        put: async () => ({ kept: [], dropped: [] }),
      }),
      blocks: async () => [],
      files: new BlockFiles(join(folder, "feature", "blocks"), objects),
      parquet,
      verifyEveryMs: 86_400_000,
      serveOnline: async () => ({ port: 0, stop: async () => {} }),
      clock: systemClock,
      log,
      fail,
      close: async () => {},
    },
  );
  const inference = buildInference(
    {
      MILLRACE_HOST: "127.0.0.1",
      MILLRACE_DATA: join(folder, "inference"),
      MILLRACE_INFERENCE_BUDGET: 0,
      MILLRACE_INFERENCE_MEMORY_MB: 1_000,
      MILLRACE_INFERENCE_REQUEST_MB: 16,
      MILLRACE_INFERENCE_MODEL_CONTROL: "off",
      MILLRACE_INFERENCE_LOG_CALLS: "off",
      MILLRACE_INFERENCE_TRITON_METRICS: "off",
    },
    {
      source: {
        lines: lines.list,
        sets: async () => (await registry.getAspiredSet({ line: "" })).sets,
        onChange: () => () => {},
      },
      objects,
      broker,
      verify: () => {},
      prove: async () => {},
      loadModel: (bytes) => loadModel(bytes, { threads: 1 }),
      entityVector: () => Promise.reject(new Error("nobody asks for entities here")),
      serve: async () => ({ port: 0, stop: async () => {} }),
      serveRest: async () => ({ port: 0, stop: async () => {} }),
      clock: systemClock,
      now: () => performance.now(),
      log,
      close: async () => {},
    },
  );
  const trainer = buildTrainer(
    {
      data: join(folder, "trainer"),
      recipes: new URL("../services/trainer/recipes", import.meta.url).pathname,
      recipeEnvironment: {
        PATH: process.env["PATH"] ?? "/usr/bin:/bin",
        MILLRACE_LIGHTGBM_LIBRARY: await ensureLightgbm(),
      },
      threads: 1,
      seconds: 300,
      signingKey: undefined,
    },
    {
      registry,
      codeOf: (error) => (error instanceof RpcError || error instanceof Refusal ? error.code : null),
      broker,
      objects,
      parquet,
      loadModel,
      onRegistryChange: () => () => {},
      clock: systemClock,
      log,
      fail,
      close: async () => {},
    },
  );
  const services: Service[] = [feature, inference, trainer];
  for (const service of services) await service.start(signal);
  return {
    broker,
    registry,
    lag: () => Object.assign({}, ...services.map((service) => service.lines()[line.name]?.lag ?? {})),
    stop: async () => {
      await Promise.all(services.map((service) => service.stop(10_000)));
      registry.close();
      await registryService.stop(1_000);
      parquet.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
