import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { createKafkaBroker } from "@millrace/kafka";
import { type ProcessStatus, startTestServers, type TestServers } from "@millrace/local";
import { createLog, sleep } from "@millrace/runtime";
import type { Broker } from "@millrace/stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const log = createLog("test", "silent");

async function until(condition: () => boolean): Promise<void> {
  for (const endMs = performance.now() + 60_000; !condition(); await sleep(10)) {
    if (performance.now() > endMs) throw new Error("waited 60 s in vain");
  }
}

/** The answer to some bytes sent to a port: what came until the other side closed or one second passed. */
async function ask(host: string, port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: 1_000 });
    let answer = "";
    socket.once("error", reject).once("timeout", () => socket.destroy());
    socket.on("data", (data) => (answer += data.toString()));
    socket.once("close", () => resolve(answer));
    socket.write(text);
  });
}

function lives(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe.each(["minio", "versitygw"] as const)("local servers with %s", (s3) => {
  type Wanted = { readonly kafka: true; readonly nats: true; readonly s3: "minio" | "versitygw" };
  let servers: TestServers<Wanted>;
  const opened: Broker[] = [];
  const broker = (password: string | undefined): Broker => {
    const { brokers, username } = servers.kafka;
    const sasl = username === undefined || password === undefined ? null : { username, password };
    const one = createKafkaBroker({ clientId: "test", brokers: [brokers], sasl, log });
    opened.push(one);
    return one;
  };
  const status = (name: string): ProcessStatus => {
    const found = servers.status().find((one) => one.name === name);
    if (found === undefined) throw new Error(`no ${name}`);
    return found;
  };
  const ports = (): number[] =>
    [servers.kafka.brokers, servers.nats.url, servers.s3.url].map((url) => Number(url.split(":").at(-1)));

  beforeAll(async () => {
    servers = await startTestServers({ kafka: true, nats: true, s3 });
  });
  afterAll(async () => {
    await Promise.all(opened.map((one) => one.stop()));
    await servers.stop();
  });

  it("serve when they are said to", async () => {
    expect(servers.status().map((one) => [one.name, one.state, one.restarts])).toEqual([
      ["kafka", "running", 0],
      ["nats", "running", 0],
      ["s3", "running", 0],
    ]);
    await broker(servers.kafka.password).ensureTopics(
      [{ name: "kept", key: "", owner: "", readers: [], config: {} }],
      2,
    );
  });

  it("refuse wrong credentials", async () => {
    await expect(broker("wrong").offsets("kept")).rejects.toThrow("Authentication failed");
    const [host = "", port] = servers.nats.url.split(":");
    const nats = (token: string): Promise<string> =>
      ask(host, Number(port), `CONNECT {"auth_token":"${token}","verbose":false}\r\nPING\r\n`);
    expect(await nats("wrong")).toContain("Authorization Violation");
    expect(await nats(servers.nats.token ?? "")).toContain("PONG");
    expect((await fetch(`${servers.s3.url}/`)).status).toBe(403);
  });

  it("listen on loopback only", async () => {
    const addresses = Object.values(networkInterfaces())
      .flatMap((all) => all ?? [])
      .filter((one) => !one.internal && one.family === "IPv4")
      .map((one) => one.address);
    for (const address of addresses) {
      for (const port of ports()) await expect(ask(address, port, "")).rejects.toThrow("ECONNREFUSED");
    }
  });

  it("keep what is secret in files that only the owner can read", async () => {
    const files = [
      "secrets.json",
      "kcat.conf",
      "kafka-client.properties",
      "config/kafka.properties",
      "config/nats.conf",
    ];
    for (const file of files)
      expect([file, (await stat(join(servers.home, file))).mode & 0o077]).toEqual([file, 0]);
    expect(await readFile(join(servers.home, "kcat.conf"), "utf8")).toContain(
      `sasl.password=${servers.kafka.password}`,
    );
  });

  it("come back after kill -9, and Kafka keeps its records", async () => {
    const client = broker(servers.kafka.password);
    const send = (value: string): Promise<void> =>
      client.send([{ topic: "kept", partition: 1, key: "k", value }]);
    await send("before");
    for (const name of ["kafka", "nats", "s3"]) process.kill(status(name).pid ?? 0, "SIGKILL");
    await until(() => servers.status().every((one) => one.restarts === 1 && one.state === "running"));
    await send("after");
    expect((await client.offsets("kept"))[1]).toEqual({
      partition: 1,
      first: 0,
      end: 2,
    });
    expect((await fetch(`${servers.s3.url}/`)).status).toBe(403);
  });
});

describe("stopped local servers", () => {
  it("leave no process, no open port and no file", async () => {
    const servers = await startTestServers({ kafka: true, nats: true, s3: "minio" });
    const pids = servers.status().map((one) => one.pid ?? 0);
    const notes = await readdir(join(servers.home, "run"));
    expect(notes).toEqual(expect.arrayContaining(["kafka.pid", "nats.pid", "s3.pid"]));
    expect(pids.every(lives)).toBe(true);
    await servers.stop();
    await servers.stop();
    expect(pids.some(lives)).toBe(false);
    expect(existsSync(servers.home)).toBe(false);
    const port = Number(servers.kafka.brokers.split(":")[1]);
    await expect(ask("127.0.0.1", port, "")).rejects.toThrow("ECONNREFUSED");
  });
});
