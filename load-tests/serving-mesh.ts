import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { registryApi, type ServiceStatus } from "@millrace/contracts";
import { defineServedLine } from "@millrace/lines";
import { startTestServers } from "@millrace/local";
import { createObjectStore } from "@millrace/objects";
import { createRpcClient, type RpcClient } from "@millrace/rpc";
import { createLog, sleep } from "@millrace/runtime";
import type { TestModel } from "./models.ts";
import { LOADER_CORE, pin, SERVER_CORE } from "./pinned-process.ts";
import { inferenceSettings, type Transport } from "./run-inference.ts";
import { type RunningService, runService, TOKEN } from "./run-service.ts";

/** What the inference service says of a line. */
export interface ServedState {
  readonly champion: number | null;
  readonly generation: number;
  /** Versions that are wanted and do not load. */
  readonly failures: readonly { readonly version: number }[];
}

/** The real registry and the real inference service on real servers; the inference service has a core for itself. */
export interface ServingMesh {
  readonly inference: RunningService;
  /** Applies a line that only serves. */
  addLine(name: string): Promise<void>;
  /** Uploads a model and registers it as the next version of its line; answers its number. */
  register(model: TestModel): Promise<number>;
  /** Asks for a version as champion; answers the new generation. */
  promote(line: string, version: number): Promise<number>;
  /** Asks for an earlier version again; answers the new generation. */
  rollback(line: string, version: number): Promise<number>;
  /** Waits until the line is as `isReached` wants it; answers for how many ms. Throws after 120 s. */
  until(line: string, isReached: (state: ServedState) => boolean): Promise<number>;
}

const POLL_MS = 10;
const REACHED_MS_MAX = 120_000;

/** Starts them all, and stops them when `use` has ended. */
export async function withServingMesh<T>(
  transport: Transport,
  stop: AbortSignal,
  use: (mesh: ServingMesh, stop: AbortSignal) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-serving-"));
  const servers = await startTestServers({ kafka: true, nats: true, s3: "minio" });
  const running: RunningService[] = [];
  try {
    await pin(servers.status(), LOADER_CORE);
    const { kafka, nats, s3 } = servers;
    const settings: Record<string, string> = {
      MILLRACE_KAFKA_BROKERS: kafka.brokers,
      MILLRACE_KAFKA_USERNAME: kafka.username ?? "",
      MILLRACE_KAFKA_PASSWORD: kafka.password ?? "",
      MILLRACE_NATS_URL: nats.url,
      MILLRACE_NATS_TOKEN: nats.token ?? "",
      MILLRACE_S3_URL: s3.url,
      MILLRACE_S3_ACCESS_KEY: s3.accessKey,
      MILLRACE_S3_SECRET_KEY: s3.secretKey,
    };
    const start = async (service: "registry" | "inference", core: number, own: Record<string, string>) => {
      const run = { service, folder: join(folder, service), core, settings: { ...settings, ...own } };
      const started = await runService(run, stop);
      running.push(started);
      return started;
    };
    const registryService = await start("registry", LOADER_CORE, {});
    const url = `127.0.0.1:${registryService.port}`;
    const own = { ...inferenceSettings(transport), MILLRACE_REGISTRY_URL: url };
    const inference = await start("inference", SERVER_CORE, own);
    const registry = createRpcClient(registryApi.RegistryService, url, { token: TOKEN });
    const objects = createObjectStore({ ...s3, bucket: "millrace", log: createLog("claim", "silent") });
    try {
      await objects.ensureBucket();
      const failed = running.map((service) => service.failed);
      return await use(
        meshOf(inference, registry, (bytes) => objects.put(bytes)),
        AbortSignal.any([stop, ...failed]),
      );
    } finally {
      registry.close();
    }
  } finally {
    for (const service of running.toReversed()) await service.stop();
    await servers.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

function meshOf(
  inference: RunningService,
  registry: RpcClient<typeof registryApi.RegistryService>,
  put: (bytes: Uint8Array) => Promise<string>,
): ServingMesh {
  const generations = new Map<string, bigint>();
  const changed = (line: string, aspired: { readonly generation: bigint } | undefined): number => {
    const generation = aspired?.generation ?? 0n;
    generations.set(line, generation);
    return Number(generation);
  };
  return {
    inference,
    addLine: async (name) => {
      const line = defineServedLine({ name, title: `${name} under measurement` });
      await registry.applyLine({ definitionJson: JSON.stringify(line) });
    },
    register: async ({ name, bytes }) => {
      const artifactDigest = await put(bytes);
      const { version } = await registry.registerVersion({
        version: {
          line: name,
          artifactDigest,
          artifactBytes: BigInt(bytes.length),
          recipe: "imported",
          // As of a line that has no features of its own.
          featureDigest: "",
          featureNames: [],
          passed: true,
          evidenceJson: "{}",
        },
      });
      return Number(version?.version);
    },
    promote: async (line, version) => {
      const expectedGeneration = generations.get(line) ?? 0n;
      const told = { line, version: BigInt(version), expectedGeneration, reason: "measured" };
      return changed(line, (await registry.promote(told)).aspired);
    },
    rollback: async (line, version) => {
      const told = { line, toVersion: BigInt(version), reason: "measured" };
      return changed(line, (await registry.rollback(told)).aspired);
    },
    until: async (line, isReached) => {
      const startedAt = performance.now();
      for (;;) {
        const state = await stateOf(inference, line);
        const ms = performance.now() - startedAt;
        if (state !== null && isReached(state)) return ms;
        if (ms > REACHED_MS_MAX) throw new Error(`${line} stays as it is: ${JSON.stringify(state)}`);
        inference.failed.throwIfAborted();
        await sleep(POLL_MS);
      }
    },
  };
}

async function stateOf({ opsPort }: RunningService, line: string): Promise<ServedState | null> {
  const response = await fetch(`http://127.0.0.1:${opsPort}/status`);
  const { lines } = (await response.json()) as ServiceStatus;
  return (lines[line]?.details ?? null) as ServedState | null;
}
