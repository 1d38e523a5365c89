import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { canonicalJson, type RegistryChange, registryApi } from "@millrace/contracts";
import { createKafkaBroker } from "@millrace/kafka";
import flights from "@millrace/line-flights";
import { featureNames, featurePart } from "@millrace/lines";
import { startTestServers, type TestServers } from "@millrace/local";
import { openSqliteStore } from "@millrace/registry";
import { createRpcClient, type RpcClient, RpcError } from "@millrace/rpc";
import { createLog, sha256Hex, sleep } from "@millrace/runtime";
import { random, readTopic } from "@millrace/testkit";
import { afterAll, beforeAll, expect, it, vi } from "vitest";

const TOKEN = "0123456789abcdef0123456789abcdef";
const MAIN = join(dirname(fileURLToPath(import.meta.resolve("@millrace/registry"))), "main.ts");
const KILLS = 5;
const log = createLog("test", "silent");
/** Printed with every failure; MILLRACE_SEED repeats the delays (not the moments, which the machine decides). */
const seed = Number(process.env["MILLRACE_SEED"] ?? Date.now() % 1_000_000);

let servers: TestServers<{ readonly kafka: true; readonly nats: true }>;
let port: number;
let child: ChildProcess;
let client: RpcClient<typeof registryApi.RegistryService>;

async function freePort(): Promise<number> {
  const server = createServer();
  const found = await new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
  });
  await new Promise((resolve) => server.close(resolve));
  return found;
}

function startRegistry(): ChildProcess {
  const { kafka, nats, home } = servers;
  const env: Record<string, string | undefined> = {
    PATH: process.env["PATH"],
    NODE_NO_WARNINGS: "1",
    MILLRACE_KAFKA_BROKERS: kafka.brokers,
    MILLRACE_KAFKA_USERNAME: kafka.username,
    MILLRACE_KAFKA_PASSWORD: kafka.password,
    MILLRACE_NATS_URL: nats.url,
    MILLRACE_NATS_TOKEN: nats.token,
    MILLRACE_TOKEN: TOKEN,
    MILLRACE_S3_URL: "http://127.0.0.1:1",
    MILLRACE_S3_ACCESS_KEY: "unused",
    MILLRACE_S3_SECRET_KEY: "unused",
    MILLRACE_OPS_PORT: "0",
    MILLRACE_REGISTRY_PORT: String(port),
    MILLRACE_DATA: join(home, "registry"),
    MILLRACE_LOG_LEVEL: "error",
  };
  return spawn(process.execPath, [MAIN], { env, stdio: ["ignore", "ignore", "inherit"] });
}

const ended = (process: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (process.exitCode !== null || process.signalCode !== null) resolve();
    else process.once("exit", () => resolve());
  });

/** The call's answer; null when the registry is away, so that nobody knows whether it was carried out. */
async function attempt<T>(call: () => Promise<T>): Promise<T | null> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof RpcError && ["unavailable", "deadlineExceeded"].includes(error.code)) return null;
    throw error;
  }
}

async function persist<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    const answer = await attempt(call);
    if (answer !== null) return answer;
    await sleep(20);
  }
}

beforeAll(async () => {
  servers = await startTestServers({ kafka: true, nats: true });
  port = await freePort();
  child = startRegistry();
  client = createRpcClient(registryApi.RegistryService, `127.0.0.1:${port}`, {
    token: TOKEN,
    timeoutMs: 10_000,
  });
});
afterAll(async () => {
  client.close();
  child.kill("SIGKILL");
  await ended(child);
  await servers.stop();
});

it(`loses no acknowledged promotion and no change over ${KILLS} kill -9 (seed ${seed})`, async () => {
  const draw = random(seed);
  const line = flights.name;
  await persist(() => client.applyLine({ definitionJson: JSON.stringify(flights) }));
  const { epoch } = await persist(() =>
    client.acquireLease({ line, holder: "test", ttlMs: 60n * 60n * 1000n }),
  );
  for (let i = 1; i <= 4; i++) {
    const version = {
      line,
      artifactDigest: sha256Hex(`model ${i}`),
      artifactBytes: 1n,
      recipe: i === 1 ? "baseline" : "lightgbm",
      featureDigest: sha256Hex(canonicalJson(featurePart(flights))),
      featureNames: featureNames(flights),
      epoch,
      passed: true,
    };
    await persist(() => client.registerVersion({ version }));
  }

  let running = true;
  const acknowledged = new Map<bigint, bigint>();
  const write = async (): Promise<void> => {
    while (running) {
      const set = (await attempt(() => client.getAspiredSet({ line }, { timeoutMs: 1_000 })))?.sets[0];
      if (set === undefined) {
        await sleep(10);
        continue;
      }
      const version = BigInt(1 + Math.floor(draw() * 4));
      const request = { line, version, expectedGeneration: set.generation, epoch };
      const answer = await attempt(() => client.promote(request, { timeoutMs: 1_000 })).catch(
        (error: unknown) => {
          if (error instanceof RpcError && error.code === "aborted") return null;
          throw error;
        },
      );
      if (answer?.aspired === undefined) continue;
      expect(answer.aspired.generation).toBe(set.generation + 1n);
      expect(acknowledged.has(answer.aspired.generation)).toBe(false);
      acknowledged.set(answer.aspired.generation, version);
    }
  };
  const writers = Promise.all([write(), write(), write()]);
  writers.catch(() => {});
  for (let i = 0; i < KILLS; i++) {
    const before = acknowledged.size;
    await vi.waitFor(() => expect(acknowledged.size).toBeGreaterThan(before), {
      timeout: 60_000,
      interval: 5,
    });
    await sleep(draw() * 150);
    child.kill("SIGKILL");
    await ended(child);
    child = startRegistry();
  }
  running = false;
  await writers;

  const history = (await persist(() => client.getHistory({ line }))).sets.reverse();
  const generations = history.map((set) => Number(set.generation));
  expect(generations).toEqual(generations.map((_, i) => i + 1));
  const champions = history.map((set) => set.models.filter((model) => model.role === "champion"));
  expect(champions.every((models) => models.length === 1)).toBe(true);
  for (const [generation, version] of acknowledged) {
    expect(champions[Number(generation) - 1]?.[0]?.version, `generation ${generation}`).toBe(version);
  }

  const changes = await changesOnKafka(generations.length);
  expect(changes.slice(0, 5)).toEqual([
    "applied 0",
    "registered 0",
    "registered 0",
    "registered 0",
    "registered 0",
  ]);
  expect(changes.slice(5)).toEqual(generations.map((generation) => `promoted ${generation}`));

  child.kill("SIGTERM");
  await ended(child);
  expect(child.exitCode).toBe(0);
  const store = openSqliteStore(join(servers.home, "registry", "registry.sqlite"));
  expect(await store.transaction((tables) => tables.pendingChanges(1))).toEqual([]);
  await store.close();
});

/** `kind generation` of each change on Kafka, repetitions left out, once the last generation has arrived. */
async function changesOnKafka(lastGeneration: number): Promise<string[]> {
  const { brokers, username = "", password = "" } = servers.kafka;
  const broker = createKafkaBroker({
    clientId: "test",
    brokers: [brokers],
    sasl: { username, password },
    log,
  });
  const read = async (): Promise<RegistryChange[]> =>
    (await readTopic(broker, "registry.changes")).map(
      ({ value }) => JSON.parse(Buffer.from(value ?? []).toString()) as RegistryChange,
    );
  await vi.waitFor(async () => expect((await read()).at(-1)?.generation).toBe(lastGeneration), {
    timeout: 60_000,
    interval: 200,
  });
  const seen = await read();
  await broker.stop();
  // Sent again after a kill, a run of changes begins anew at an earlier one: only what goes beyond is new.
  const order = (change: RegistryChange): number =>
    change.kind === "applied" ? 0 : change.kind === "registered" ? change.version : 1_000 + change.generation;
  const fresh: RegistryChange[] = [];
  for (const change of seen) {
    if (fresh.every((known) => order(known) < order(change))) fresh.push(change);
  }
  return fresh.map((change) => `${change.kind} ${change.generation}`);
}
