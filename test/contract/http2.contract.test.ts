import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { Client, credentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectEs, grpcJs, type Outcome } from "./http2/javascript-clients.ts";
import {
  certificate,
  ensureStrangers,
  type ServerProcess,
  type Strangers,
  startServer,
} from "./http2/strangers.ts";
import { percentiles, Victim } from "./http2/victim.ts";

/** libs/http2 as a process: the specification's own suite, everybody's clients, and attackers. */
let strangers: Strangers;
let folder: string;
let files: { readonly cert: string; readonly key: string };
let server: ServerProcess;

beforeAll(async () => {
  strangers = await ensureStrangers();
  folder = await mkdtemp(join(tmpdir(), "millrace-http2-"));
  files = await certificate(folder);
  server = await startServer();
}, 600_000);
afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true });
});

interface Look {
  readonly cancelled: number;
  readonly defects: readonly string[];
  readonly rssBytes: number;
}

/** What the server says of itself. */
async function look(port: number = server.port, tls = credentials.createInsecure()): Promise<Look> {
  const client = new Client(`127.0.0.1:${port}`, tls);
  const asItIs = (bytes: Buffer): Buffer => bytes;
  try {
    return await new Promise((resolve, reject) => {
      const path = "/millrace.test.v1.Echo/Look";
      client.makeUnaryRequest(path, asItIs, asItIs, Buffer.alloc(0), (error, answer) =>
        error === null ? resolve(JSON.parse(String(answer)) as Look) : reject(error),
      );
    });
  } finally {
    client.close();
  }
}

describe("h2spec", () => {
  it("finds nothing, over plaintext", async () => {
    expect(await strangers.h2spec(server.port, false)).toContain(
      "146 tests, 146 passed, 0 skipped, 0 failed",
    );
  });

  it("finds nothing, over TLS", async () => {
    const tls = await startServer(files.cert, files.key);
    expect(await strangers.h2spec(tls.port, true)).toContain("146 tests, 146 passed, 0 skipped, 0 failed");
    await tls.stop();
  });
});

describe("TLS", () => {
  const said = (socket: TLSSocket): Promise<string> =>
    new Promise((resolve) => {
      socket.once("data", () => resolve("data"));
      socket.once("close", () => resolve("closed"));
      socket.once("error", () => {});
    });

  it("lets in who has a certificate, and speaks h2 only", async () => {
    const tls = await startServer(files.cert, files.key, files.cert);
    const [ca, key] = await Promise.all([readFile(files.cert), readFile(files.key)]);
    expect(await look(tls.port, credentials.createSsl(ca, key, ca))).toMatchObject({ defects: [] });
    await expect(look(tls.port, credentials.createSsl(ca))).rejects.toMatchObject({ code: 14 });
    const options = { host: "127.0.0.1", port: tls.port, ca, key, cert: ca };
    expect(await said(connectTls({ ...options, ALPNProtocols: ["h2"] }))).toBe("data");
    expect(await said(connectTls({ ...options, ALPNProtocols: ["http/1.1"] }))).toBe("closed");
    expect(await said(connectTls(options))).toBe("closed");
    expect(await said(connectTls({ ...options, ALPNProtocols: ["h2"], maxVersion: "TLSv1.1" }))).toBe(
      "closed",
    );
    // Who does not end its handshake does not keep the server from ending.
    const silent = connectTcp(tls.port, "127.0.0.1");
    silent.on("error", () => {});
    await once(silent, "connect");
    const begin = performance.now();
    await tls.stop();
    expect(performance.now() - begin).toBeLessThan(5_000);
  });
});

describe("clients", () => {
  const expected: Outcome = {
    unary: "hello",
    error: [9, "größer als 100 %"],
    deadline: 4,
    cancelled: 1,
    large: 5_000_000,
    chat: ["a", "b", "c"],
  };

  it.each<[string, () => Promise<Outcome>]>([
    ["grpc-js", () => grpcJs(server.port)],
    ["connect-es", () => connectEs(server.port)],
    ["Go", async () => JSON.parse(await strangers.go(server.port)) as Outcome],
    ["grpcio", async () => JSON.parse(await strangers.python(server.port)) as Outcome],
    ["Java", async () => JSON.parse(await strangers.java(server.port)) as Outcome],
  ])("%s", async (name, run) => {
    const before = (await look()).cancelled;
    const outcome = await run();
    // connect-es calls a timeout of the signal what it is for it.
    expect(outcome).toEqual(name === "connect-es" ? { ...expected, cancelled: outcome.cancelled } : expected);
    // The server has learnt of the deadline and of the cancellation.
    await expect.poll(async () => (await look()).cancelled - before).toBe(2);
  });

  it("grpcurl", async () => {
    const before = (await look()).cancelled;
    expect(JSON.parse(await strangers.grpcurl(server.port, "Unary", ["aGVsbG8="]))).toBe("aGVsbG8=");
    await expect(strangers.grpcurl(server.port, "Fail", [""])).rejects.toThrow(
      /FailedPrecondition[\s\S]*größer als 100 %/,
    );
    await expect(strangers.grpcurl(server.port, "Hold", [""], ["-max-time=0.2"])).rejects.toThrow(
      /DeadlineExceeded/,
    );
    await expect.poll(async () => (await look()).cancelled - before).toBe(1);
    expect((await strangers.grpcurl(server.port, "Chat", ["YQ==", "Yg=="])).match(/"Y.=="/g)).toEqual([
      '"YQ=="',
      '"Yg=="',
    ]);
  });
});

describe("attacks", () => {
  /** How long victim and attacker are at it, and how often it is tried: the machine may have other work. */
  const MS = 1_000;
  const TRIES = 5;
  const RSS_BYTES_MAX = 600_000_000;

  /**
   * A second server that nobody attacks, and that has a victim too: what both suffer comes from the machine, where the
   * attacker and others take their part of two processors.
   */
  let quiet: ServerProcess;
  beforeAll(async () => {
    quiet = await startServer();
  });
  afterAll(() => quiet.stop());

  /** Resolves when the attack has begun, with what tells how many connections it opened by its end. */
  const attack = async (name: string): Promise<() => Promise<number>> => {
    const script = join(import.meta.dirname, "http2/attacker.ts");
    const attacker = spawn(process.execPath, [script, name, String(server.port), String(MS)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    attacker.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    const closed = once(attacker, "close");
    await Promise.race([once(attacker.stdout, "data"), closed]);
    return async () => {
      await closed;
      expect(attacker.exitCode).toBe(0);
      return Number(said.replace("begins\n", ""));
    };
  };

  it.each([
    "rapid reset",
    "resets that the server sends",
    "CONTINUATION flood",
    "empty CONTINUATION flood",
    "empty DATA flood",
    "ping flood",
    "settings flood",
    "100,000 streams",
    "slow-loris",
    "gzip bombs",
    "metadata of 1 MB",
    "malformed calls",
    "answers that nobody reads",
    "windows of zero",
  ])(
    "%s: the server lives, holds its memory, and another client is served",
    { timeout: 60_000 },
    async (name) => {
      const victims = [await Victim.connect(server.port), await Victim.connect(quiet.port)];
      await percentiles(victims, 100);
      for (let tried = 1; ; tried++) {
        const [steady = 0] = await percentiles(victims, MS / 2);
        const ended = await attack(name);
        const [attacked = 0, beside = 0] = await percentiles(victims, MS);
        const connections = await ended();
        const { rssBytes, defects } = await look();
        const figures = `p99 ${steady.toFixed(2)} ms, attacked ${attacked.toFixed(2)} ms, beside ${beside.toFixed(2)} ms`;
        const rest = `${connections} connections, RSS ${Math.round(rssBytes / 1e6)} MB`;
        process.stdout.write(`${name}: ${figures}, ${rest}\n`);
        expect(defects).toEqual([]);
        expect(rssBytes).toBeLessThan(RSS_BYTES_MAX);
        expect(server.process.exitCode).toBeNull();
        if (attacked < 2 * Math.max(steady, beside) + 1) break;
        expect(tried, figures).toBeLessThan(TRIES);
      }
      for (const victim of victims) victim.close();
    },
  );
});
