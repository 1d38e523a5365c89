import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sleep } from "@millrace/runtime";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FOREIGN } from "../test/foreign.ts";
import { identify, notePid } from "./identity.ts";
import { downMesh, type Mesh, type MeshOptions, resetMesh, startMesh } from "./mesh.ts";
import { type ProcessStatus, StartError } from "./process.ts";
import { readSecrets } from "./secrets.ts";
import { readSigningKey } from "./signing-key.ts";
import { RunningError, supervisorPid } from "./supervisor.ts";

let home: string;
let mesh: Mesh | undefined;
let other: ChildProcess | undefined;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "millrace-mesh-"));
});
afterEach(async () => {
  await mesh?.stop();
  other?.kill("SIGKILL");
  mesh = undefined;
  other = undefined;
  await until(() => existsSync(home) && supervisorPid(home).then((pid) => pid === undefined));
  await downMesh(home);
  await rm(home, { recursive: true });
});

const start = async (options: Partial<MeshOptions> = {}): Promise<Mesh> => {
  mesh = await startMesh({
    home,
    services: ["registry", "ingest"],
    existing: FOREIGN,
    ports: "random",
    program: () => "deploy/local/test/dummy-service.ts",
    ...options,
  });
  return mesh;
};

/** A supervisor in a process of its own; answers the status that it printed. */
async function startElsewhere(): Promise<readonly ProcessStatus[]> {
  other = spawn(process.execPath, [join(import.meta.dirname, "../test/run-mesh.ts"), home], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (other.stdout === null) throw new Error("no output");
  const [line] = await once(other.stdout, "data");
  return JSON.parse(String(line));
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const endMs = performance.now() + 15_000; !(await condition()); await sleep(10)) {
    if (performance.now() > endMs) throw new Error("waited 15 s in vain");
  }
}

const dead = (all: readonly ProcessStatus[]): boolean =>
  all.every(({ pid }) => pid === undefined || identify(pid) === undefined);

const notes = async (): Promise<string[]> =>
  (await readdir(join(home, "run"))).filter((name) => name.endsWith(".pid"));

describe("startMesh", () => {
  it("resolves when all serve, and leaves no process after stop", async () => {
    const seen: string[] = [];
    const running = await start({
      onChange: (all) => seen.push(all.map((one) => `${one.name} ${one.state}`).join(", ")),
    });
    const before = running.status();
    expect(before.map((one) => one.state)).toEqual(["running", "running"]);
    expect(dead(before.slice(0, 1))).toBe(false);
    expect(await readFile(before[0]?.logFile ?? "", "utf8")).toContain(`dummy ${before[0]?.pid} serves`);
    await running.stop();
    await running.stop();
    expect(dead(before)).toBe(true);
    expect(await notes()).toEqual([]);
    expect(seen.at(-1)).toBe("registry stopped, ingest stopped");
    expect(seen.find((line) => line.includes("stopping"))).toBe("registry running, ingest stopping");
  });

  it("gives a service its settings and nothing of the user's shell", async () => {
    const secret = ["AWS_SECRET_ACCESS_KEY", "MILLRACE_SIGNING_KEY"];
    for (const name of secret) process.env[name] = "none of their business";
    const { ports } = await start();
    for (const name of secret) delete process.env[name];
    const response = await fetch(`http://127.0.0.1:${ports.registryOps}/readyz`);
    const environment = (await response.json()) as Record<string, string>;
    expect(environment).toMatchObject({
      MILLRACE_KAFKA_BROKERS: "127.0.0.1:1",
      MILLRACE_S3_URL: "http://127.0.0.1:1",
      MILLRACE_TOKEN: (await readSecrets(home))?.token,
      MILLRACE_HOST: "127.0.0.1",
      MILLRACE_OPS_PORT: String(ports.registryOps),
      MILLRACE_REGISTRY_PORT: String(ports.registry),
      MILLRACE_REGISTRY_URL: `127.0.0.1:${ports.registry}`,
      MILLRACE_DATA: join(home, "data", "registry"),
      MILLRACE_TRUSTED_KEYS: (await readSigningKey(home))?.publicSpki,
    });
    expect(environment).not.toHaveProperty("MILLRACE_SIGNING_KEY");
    const foreign = Object.keys(environment).filter(
      (name) => !/^(MILLRACE|OTEL)_|^(LANG|TZ|JAVA_HOME|NODE_COMPILE_CACHE)$/.test(name),
    );
    expect(foreign).toEqual([]);
  });

  it("starts a killed process again with nothing typed", async () => {
    const running = await start();
    const [, ingest] = running.status();
    process.kill(ingest?.pid ?? 0, "SIGKILL");
    await until(() => running.status()[1]?.state === "restarting");
    await until(() => running.status()[1]?.state === "running");
    const [registry, healed] = running.status();
    expect(healed).toMatchObject({ restarts: 1, lastExit: "SIGKILL" });
    expect(healed?.pid).not.toBe(ingest?.pid);
    expect(registry?.restarts).toBe(0);
  });

  it("says why a service does not come up, and leaves nothing running", async () => {
    const failed = start({
      program: (name) => `deploy/local/test/${name === "ingest" ? "failing" : "dummy"}-service.ts`,
    });
    await expect(failed).rejects.toThrow(StartError);
    await expect(failed).rejects.toThrow(/ingest did not start: .*code 2.*\n(.*\n)*MILLRACE_X is not set/);
    expect(await notes()).toEqual([]);
    expect(await supervisorPid(home)).toBeUndefined();
  });

  it("lets one supervisor run an instance", async () => {
    const running = await start();
    await expect(startMesh({ home })).rejects.toThrow(RunningError);
    await expect(downMesh(home)).rejects.toThrow("this very process");
    await running.stop();
    await start();
  });

  it("puts a long log aside", async () => {
    const log = join(home, "logs/registry.log");
    await mkdir(join(home, "logs"), { recursive: true });
    await writeFile(log, Buffer.alloc(20 * 1024 * 1024 + 1, "x"));
    await start();
    expect((await readFile(log, "utf8")).length).toBeLessThan(1_000);
    expect((await readFile(`${log}.1`)).length).toBe(20 * 1024 * 1024 + 1);
  });
});

describe("a supervisor that is killed", () => {
  it("leaves no process, because its keeper ends them", async () => {
    const left = await startElsewhere();
    expect(left).toHaveLength(2);
    other?.kill("SIGKILL");
    await until(() => dead(left));
    await until(
      async () => (await notes()).every((name) => name === "supervisor.pid") || (await notes()).length === 0,
    );
  });

  it("does not keep the next one from starting at once", async () => {
    const left = await startElsewhere();
    other?.kill("SIGKILL");
    if (other !== undefined) await once(other, "exit");
    const running = await start();
    expect(dead(left)).toBe(true);
    await sleep(500);
    expect(running.status().map((one) => [one.state, one.restarts])).toEqual([
      ["running", 0],
      ["running", 0],
    ]);
  });

  it("has its leftovers told from strangers with a recycled number", async () => {
    const stranger = spawn("sleep", ["60"], { detached: true });
    await once(stranger, "spawn");
    notePid(home, "kafka", { pid: stranger.pid ?? 0, start: "another time" });
    expect(await downMesh(home)).toEqual([]);
    expect(identify(stranger.pid ?? 0)).toBeDefined();
    const own = identify(stranger.pid ?? 0);
    if (own !== undefined) notePid(home, "kafka", own);
    expect(await downMesh(home)).toEqual(["kafka"]);
    expect(identify(stranger.pid ?? 0)).toBeUndefined();
  });
});

describe("downMesh and resetMesh", () => {
  it("stop a mesh of another process", async () => {
    const left = await startElsewhere();
    expect(await downMesh(home)).toEqual(["ingest", "registry"]);
    expect(dead(left)).toBe(true);
    expect(await downMesh(home)).toEqual([]);
  });

  it("removes data and logs, keeps credentials and ports", async () => {
    const running = await start();
    const secrets = await readSecrets(home);
    await mkdir(join(home, "data/registry"), { recursive: true });
    await running.stop();
    await resetMesh(home);
    const kept = ["ports.json", "run", "secrets.json", "signing-key.pem"];
    expect((await readdir(home)).toSorted()).toEqual(kept);
    expect(await readSecrets(home)).toEqual(secrets);
    expect((await start()).ports).toEqual(running.ports);
  });
});
