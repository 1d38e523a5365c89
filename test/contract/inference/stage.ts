import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canonicalJson, registryApi, type ServiceStatus } from "@millrace/contracts";
import flights from "@millrace/line-flights";
import { defineServedLine, featureNames, featurePart, type ServedLineInput } from "@millrace/lines";
import { REPOSITORY, startTestServers } from "@millrace/local";
import { createObjectStore } from "@millrace/objects";
import { logisticModel } from "@millrace/onnx-graph";
import { createRpcClient, type RpcClient } from "@millrace/rpc";
import { createLog, type ObjectStore, sha256Hex, sleep } from "@millrace/runtime";

/** Of the registry and the services among themselves. */
const TOKEN = "0123456789abcdef";
export const NAMES: string[] = featureNames(flights);
export const FEATURE_DIGEST: string = sha256Hex(canonicalJson(featurePart(flights)));

export type InferenceStatus = ServiceStatus["lines"][string];

/** The inference service as a process. The same folder and ports each time it is started. */
export interface InferenceProcess {
  readonly grpc: number;
  readonly http: number;
  readonly pid: number;
  /** Of one line; undefined while it is not known, or the process is down. */
  status(line: string): Promise<InferenceStatus | undefined>;
  /** The version that answers for a line; null: none does. */
  champion(line: string): Promise<number | null>;
  ready(): Promise<boolean>;
  /** Resident memory now. */
  rssBytes(): Promise<number>;
  /** The processes in which it tries models. */
  provers(): Promise<number[]>;
  start(changed?: Readonly<Record<string, string>>): void;
  /** Ends it; resolves with its exit code, null after a signal. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** What is registered: the bytes are in the object store. */
export interface Candidate {
  readonly bytes: Uint8Array;
  /** Default: nobody has signed it. */
  readonly signature?: string;
  /** Default: their true number. */
  readonly artifactBytes?: number;
}

/** A real registry, NATS, Kafka and MinIO, and inference processes beside them. */
export interface Stage {
  readonly registry: RpcClient<typeof registryApi.RegistryService>;
  readonly objects: ObjectStore;
  readonly s3Port: number;
  readonly natsPid: () => number;
  /** A line that only serves. */
  define(line: ServedLineInput): Promise<void>;
  /** Registers a version of a line, which has passed; answers its number. */
  register(line: string, candidate: Candidate | Uint8Array): Promise<number>;
  /** Makes a version champion. */
  promote(line: string, version: number): Promise<void>;
  startInference(settings?: Readonly<Record<string, string>>): Promise<InferenceProcess>;
  stopRegistry(): Promise<void>;
  startRegistry(): Promise<void>;
  stop(): Promise<void>;
}

export async function startStage(): Promise<Stage> {
  const log = createLog("test", "silent");
  const folder = await mkdtemp(join(tmpdir(), "millrace-inference-"));
  const servers = await startTestServers({ kafka: true, nats: true, s3: "minio" });
  const { kafka, nats, s3 } = servers;
  const registryPort = await freePort();
  const environment = {
    PATH: process.env["PATH"] ?? "",
    MILLRACE_KAFKA_BROKERS: kafka.brokers,
    MILLRACE_KAFKA_USERNAME: kafka.username ?? "",
    MILLRACE_KAFKA_PASSWORD: kafka.password ?? "",
    MILLRACE_NATS_URL: nats.url,
    MILLRACE_NATS_TOKEN: nats.token ?? "",
    MILLRACE_S3_URL: s3.url,
    MILLRACE_S3_ACCESS_KEY: s3.accessKey,
    MILLRACE_S3_SECRET_KEY: s3.secretKey,
    MILLRACE_TOKEN: TOKEN,
    MILLRACE_REGISTRY_URL: `127.0.0.1:${registryPort}`,
    MILLRACE_REGISTRY_PORT: String(registryPort),
    MILLRACE_LOG_LEVEL: "error",
  };
  const run = (service: string, settings: Readonly<Record<string, string>>): ChildProcess => {
    const child = spawn(process.execPath, [join(REPOSITORY, "services", service, "src/main.ts")], {
      env: { ...environment, ...settings },
      // Faults are what is tested here: what a service logs of them is of use only to who looks for a reason.
      stdio: process.env["MILLRACE_TEST_LOG"] === undefined ? "ignore" : "inherit",
    });
    children.add(child);
    return child;
  };
  const children = new Set<ChildProcess>();
  const end = async (child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> => {
    children.delete(child);
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exit = once(child, "exit");
    child.kill(signal);
    child.kill("SIGCONT");
    await exit;
    return child.exitCode;
  };

  const objects = createObjectStore({ ...s3, bucket: "millrace", log });
  const registry = createRpcClient(registryApi.RegistryService, `127.0.0.1:${registryPort}`, {
    token: TOKEN,
  });
  const registryOps = await freePort();
  let registryProcess: ChildProcess;
  const startRegistry = async (): Promise<void> => {
    const settings = { MILLRACE_OPS_PORT: String(registryOps), MILLRACE_DATA: join(folder, "registry") };
    registryProcess = run("registry", settings);
    await until(() => registry.listLines({}).then(...YES_OR_NO), 60_000);
  };

  const startInference: Stage["startInference"] = async (settings = {}) => {
    const [grpc, http, ops] = [await freePort(), await freePort(), await freePort()];
    const own = {
      MILLRACE_INFERENCE_PORT: String(grpc),
      MILLRACE_INFERENCE_HTTP_PORT: String(http),
      MILLRACE_OPS_PORT: String(ops),
      MILLRACE_DATA: await mkdtemp(join(folder, "inference-")),
      MILLRACE_INFERENCE_MODEL_CONTROL: "on",
      ...settings,
    };
    let child = run("inference", own);
    const ask = (path: string): Promise<Response | null> =>
      fetch(`http://127.0.0.1:${ops}${path}`).catch(() => null);
    const status = async (line: string): Promise<InferenceStatus | undefined> =>
      ((await (await ask("/status"))?.json()) as ServiceStatus | undefined)?.lines[line];
    const node: InferenceProcess = {
      grpc,
      http,
      get pid() {
        return child.pid as number;
      },
      status,
      champion: async (line) => ((await status(line))?.details["champion"] as number | undefined) ?? null,
      ready: async () => (await ask("/readyz"))?.status === 200,
      rssBytes: async () => {
        const text = await readFile(`/proc/${child.pid}/status`, "utf8");
        return Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1]) * 1_024;
      },
      provers: async () => {
        const children = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8");
        const commands = children
          .split(" ")
          .filter(Boolean)
          .map(async (pid) => {
            const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
            return command.includes("prove") ? [Number(pid)] : [];
          });
        return (await Promise.all(commands)).flat();
      },
      start: (changed = {}) => {
        child = run("inference", { ...own, ...changed });
      },
      end: (signal) => end(child, signal),
    };
    return node;
  };

  await objects.ensureBucket();
  await startRegistry();
  await registry.applyLine({ definitionJson: canonicalJson(flights) });
  return {
    registry,
    objects,
    s3Port: Number(new URL(s3.url).port),
    natsPid: () => servers.status().find(({ name }) => name.startsWith("nats"))?.pid as number,
    define: async (line) =>
      void (await registry.applyLine({ definitionJson: canonicalJson(defineServedLine(line)) })),
    register: async (line, given) => {
      const candidate = given instanceof Uint8Array ? { bytes: given } : given;
      const { version } = await registry.registerVersion({
        version: {
          line,
          artifactDigest: await objects.put(candidate.bytes),
          artifactBytes: BigInt(candidate.artifactBytes ?? candidate.bytes.length),
          recipe: "imported",
          passed: true,
          ...(candidate.signature !== undefined && { signature: candidate.signature }),
          ...(line === flights.name && { featureDigest: FEATURE_DIGEST, featureNames: NAMES }),
        },
      });
      return Number(version?.version);
    },
    promote: async (line, version) => {
      const { sets } = await registry.getAspiredSet({ line });
      const expectedGeneration = sets[0]?.generation ?? 0n;
      await registry.promote({ line, version: BigInt(version), expectedGeneration, reason: "test" });
    },
    startInference,
    startRegistry,
    stopRegistry: async () => void (await end(registryProcess, "SIGKILL")),
    stop: async () => {
      await Promise.all([...children].map((child) => end(child, "SIGKILL")));
      registry.close();
      await servers.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A model of the line that answers the logistic of its first feature, shifted by `bias`. */
export function flightsModel(bias: number): Uint8Array {
  const each = (value: number): number[] => NAMES.map(() => value);
  const description = { features: NAMES, featureDigest: FEATURE_DIGEST, recipe: "logistic" };
  const weights = NAMES.map((_, i) => (i === 0 ? 1 : 0));
  return logisticModel(description, { weights, bias, means: each(0), scales: each(1), fill: each(0) });
}

export async function until(what: () => boolean | Promise<boolean>, ms = 30_000): Promise<void> {
  const end = Date.now() + ms;
  while (Date.now() < end) {
    if (await what()) return;
    await sleep(20);
  }
  throw new Error(`not within ${ms} ms: ${what.toString()}`);
}

/** Says on one line what a test has measured. */
export function report(text: string): void {
  process.stdout.write(`${text}\n`);
}

const YES_OR_NO = [() => true, () => false] as const;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
