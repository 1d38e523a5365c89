import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { GRPCInferenceService, type LineStatus, registryApi, type ServiceStatus } from "@millrace/contracts";
import { createKafkaBroker } from "@millrace/kafka";
import { type Mesh, REPOSITORY, SERVICES, type ServiceName, startMesh } from "@millrace/local";
import { createRpcClient, type RpcClient } from "@millrace/rpc";
import { createLog, sleep } from "@millrace/runtime";
import type { Broker, StreamRecord } from "@millrace/stream";
import { readTopic } from "@millrace/testkit";

/** A part of the mesh, as its supervisor names it. */
export type Part = ServiceName | "kafka" | "nats" | "s3";

/** What the services say of the line flights; null: the service does not answer, or has not taken it up. */
export type Statuses = Readonly<Record<ServiceName, LineStatus | null>>;

/** A mesh of its own: all servers, all services, a temporary folder, random ports. */
export interface MeshUnderTest extends Mesh {
  /** The environment of a client that knows where the mesh is, and nothing else. */
  readonly clients: Readonly<Record<string, string>>;
  readonly broker: Broker;
  readonly registry: RpcClient<typeof registryApi.RegistryService>;
  /** Aborts at the end: whatever plays or asks ends with it. */
  readonly over: AbortSignal;
  statuses(): Promise<Statuses>;
  pidOf(part: Part): number;
  /** Sends a signal to a part, as a stranger would. */
  signal(part: Part, signal: NodeJS.Signals): void;
  /** Whether a part serves, in another process than `pid`. */
  isBack(part: Part, pid: number): boolean;
}

export async function startMeshUnderTest(): Promise<MeshUnderTest> {
  const home = await mkdtemp(join(tmpdir(), "millrace-faults-"));
  const mesh = await startMesh({ home, existing: {}, ports: "random" });
  const { kafka } = mesh.connections;
  const broker = createKafkaBroker({
    clientId: "test",
    brokers: kafka.brokers.split(","),
    sasl: { username: kafka.username ?? "", password: kafka.password ?? "" },
    log: createLog("test", "silent"),
  });
  const registry = createRpcClient(registryApi.RegistryService, `127.0.0.1:${mesh.ports.registry}`, {
    token: mesh.environment["MILLRACE_TOKEN"] ?? "",
  });
  const over = new AbortController();
  const partOf = (part: Part) => mesh.status().find(({ name }) => name === part);
  const pidOf = (part: Part): number => {
    const pid = partOf(part)?.pid;
    if (pid === undefined) throw new Error(`${part} does not run: ${JSON.stringify(partOf(part))}`);
    return pid;
  };
  return {
    ...mesh,
    clients: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "", MILLRACE_HOME: home },
    broker,
    registry,
    over: over.signal,
    statuses: async () => {
      const entries = SERVICES.map(async (name) => [name, await statusOf(mesh.ports[`${name}Ops`])] as const);
      return Object.fromEntries(await Promise.all(entries)) as Statuses;
    },
    pidOf,
    signal: (part, signal) => void process.kill(pidOf(part), signal),
    isBack: (part, pid) => {
      const status = partOf(part);
      return status?.state === "running" && status.pid !== pid;
    },
    stop: async () => {
      over.abort();
      registry.close();
      await broker.stop();
      await mesh.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

async function statusOf(port: number): Promise<LineStatus | null> {
  try {
    const signal = AbortSignal.timeout(2_000);
    const response = await fetch(`http://127.0.0.1:${port}/status`, { signal });
    return ((await response.json()) as ServiceStatus).lines["flights"] ?? null;
  } catch {
    return null;
  }
}

/** Runs the command `millrace` and answers its JSON. */
export async function millrace(
  mesh: MeshUnderTest,
  ...args: readonly string[]
): Promise<{ readonly code: number; readonly json: Readonly<Record<string, unknown>> }> {
  const child = spawn(
    process.execPath,
    [join(REPOSITORY, "services/cli/bin/millrace.mjs"), ...args, "--json"],
    {
      cwd: REPOSITORY,
      env: mesh.clients,
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const output = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (text: string) => {
      output[stream] += text;
    });
  }
  const [code] = (await once(child, "close")) as [number];
  if (output.stdout === "") throw new Error(`millrace ${args.join(" ")}: ${output.stderr}`);
  return { code, json: JSON.parse(output.stdout) };
}

/** The player as a child process that goes on from its progress file. */
export interface Player {
  kill(): void;
  /** Resolves with the exit code; null: it was killed. */
  readonly ended: Promise<number | null>;
}

const PLAYER = fileURLToPath(import.meta.resolve("@millrace/line-flights/play"));

/** Starts a player that brings what was sent to `events` right and `bad` malformed records. */
export async function startPlayer(mesh: MeshUnderTest, events: number, bad: number): Promise<Player> {
  const file = join(mesh.home, "player.json");
  const kept = JSON.parse(await readFile(file, "utf8").catch(() => '{"departures":0,"arrivals":0,"bad":0}'));
  const left = events - kept.departures - kept.arrivals;
  const args = ["--speed", "50000", "--rate", "1500", "--progress", file, "--max-events", String(left)];
  if (bad > kept.bad) args.push("--bad", String(bad - kept.bad));
  const child = spawn(process.execPath, [PLAYER, ...args], {
    env: { ...mesh.environment },
    stdio: ["ignore", "ignore", "inherit"],
    signal: mesh.over,
    killSignal: "SIGKILL",
  });
  child.once("error", () => {}); // it was aborted
  return {
    ended: once(child, "close").then(([code]) => code as number | null),
    kill: () => void child.kill("SIGKILL"),
  };
}

/** Asks inference without a pause, as a client would, and remembers what came back. */
export interface Asker {
  readonly answers: readonly { readonly atMs: number; readonly version: string }[];
  readonly failures: { readonly atMs: number; readonly why: string }[];
  stop(): Promise<void>;
}

const ASK_EVERY_MS = 10;

export function startAsking(mesh: MeshUnderTest, features: number): Asker {
  const client = createRpcClient(GRPCInferenceService, `127.0.0.1:${mesh.ports.inference}`, { token: null });
  const stopping = new AbortController();
  const over = AbortSignal.any([mesh.over, stopping.signal]);
  const answers: { atMs: number; version: string }[] = [];
  const failures: { atMs: number; why: string }[] = [];
  const request = {
    modelName: "flights",
    inputs: [{ name: "features", datatype: "FP32", shape: [1n, BigInt(features)] }],
    rawInputContents: [new Uint8Array(features * 4)],
  };
  const running = (async () => {
    for (; !over.aborted; await sleep(ASK_EVERY_MS, over)) {
      try {
        const { modelVersion, rawOutputContents } = await client.modelInfer(request, { timeoutMs: 5_000 });
        const score = Buffer.from(rawOutputContents[0] ?? []).readFloatLE(0);
        if (!(score >= 0 && score <= 1)) throw new Error(`the score is ${score}`);
        answers.push({ atMs: Date.now(), version: modelVersion });
      } catch (error) {
        failures.push({ atMs: Date.now(), why: (error as Error).message });
      }
    }
  })();
  return {
    answers,
    failures,
    stop: async () => {
      stopping.abort();
      await running;
      client.close();
    },
  };
}

/** All records of topics, as they lie there. */
export async function readTopics(
  broker: Broker,
  topics: readonly string[],
): Promise<ReadonlyMap<string, readonly StreamRecord[]>> {
  return new Map(
    await Promise.all(topics.map(async (topic) => [topic, await readTopic(broker, topic)] as const)),
  );
}

/** Waits for something; throws with `describe`'s text when it does not come. */
export async function until(
  what: string,
  ms: number,
  condition: () => boolean | Promise<boolean>,
  describe: () => string = () => "",
): Promise<void> {
  for (const endMs = performance.now() + ms; !(await condition()); await sleep(50)) {
    if (performance.now() > endMs) throw new Error(`waited ${ms} ms in vain until ${what}\n${describe()}`);
  }
}
