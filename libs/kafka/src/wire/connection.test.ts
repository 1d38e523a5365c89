import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { sleep } from "@millrace/runtime";
import { afterEach, expect, it } from "vitest";
import { API, FakeBroker, type Handler, versions } from "../../test/fake-broker.ts";
import type { Api } from "./api.ts";
import { ByteWriter } from "./byte-writer.ts";
import { Connection, type ConnectionSettings } from "./connection.ts";
import { AuthenticationError, ConnectionError, UnsupportedVersionError } from "./errors.ts";

const PLAIN: ConnectionSettings = { clientId: "test", sasl: null, tls: null };

/** Sends a number, is answered a number; throttled if the broker says so. */
const echo: Api<number, { readonly throttleMs: number; readonly number: number }> = {
  key: 60,
  name: "Echo",
  versions: [7, 4],
  flexibleFrom: null,
  encode: (to, number) => {
    to.int32(number);
  },
  decode: (from) => ({ throttleMs: from.int32(), number: from.int32() }),
};

const answerEcho =
  (throttleMs = 0): Handler =>
  (request) =>
    new ByteWriter().int32(throttleMs).int32(request.int32());

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function fake(handler: Handler = answerEcho()): Promise<FakeBroker> {
  const broker = await new FakeBroker().start();
  cleanups.push(() => broker.stop());
  broker.handlers.set(echo.key, handler);
  return broker;
}

function connect(port: number, settings: Partial<ConnectionSettings> = {}): Connection {
  const connection = new Connection({ host: "127.0.0.1", port }, { ...PLAIN, ...settings });
  cleanups.push(() => connection.close());
  return connection;
}

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "no failure",
    (error: unknown) => error,
  );

it("answers many requests at once, each with its own, over one connection and at most five at a time", async () => {
  let underWay = 0;
  let most = 0;
  const release: (() => void)[] = [];
  const broker = await fake(async (request, version) => {
    // The fake takes them one by one: what it has not read yet is not counted here.
    most = Math.max(most, ++underWay);
    await new Promise<void>((resolve) => release.push(resolve));
    underWay--;
    return answerEcho()(request, version);
  });
  const connection = connect(broker.port);
  const answers = Promise.all(Array.from({ length: 12 }, (_, i) => connection.request(echo, i)));
  for (let i = 0; i < 12; i++) {
    while (release.length === 0) await sleep(1);
    release.shift()?.();
  }
  expect((await answers).map(({ number }) => number)).toEqual(Array.from({ length: 12 }, (_, i) => i));
  expect([broker.connections, most]).toEqual([1, 1]);
});

it("tells those who asked when the connection breaks, and opens another for the next", async () => {
  let breaks = true;
  const broker = await fake((request, version) => (breaks ? "break" : answerEcho()(request, version)));
  const connection = connect(broker.port);
  const failures = await Promise.all([
    failure(connection.request(echo, 1)),
    failure(connection.request(echo, 2)),
  ]);
  expect(failures.every((one) => one instanceof ConnectionError)).toBe(true);
  breaks = false;
  expect((await connection.request(echo, 3)).number).toBe(3);
  expect(broker.connections).toBe(2);
});

it("ends a connection on which an answer does not come", async () => {
  let silent = true;
  const broker = await fake((request, version) => (silent ? "silence" : answerEcho()(request, version)));
  const connection = connect(broker.port);
  const late = await failure(connection.request(echo, 1, 100));
  expect(late).toMatchObject({
    name: "ConnectionError",
    message: expect.stringContaining("no answer to Echo in 100 ms"),
  });
  silent = false;
  expect((await connection.request(echo, 2)).number).toBe(2);
});

it("reads an answer that came while the process was busy, however late", async () => {
  const broker = await fake();
  const connection = connect(broker.port);
  await connection.request(echo, 0);
  const answer = connection.request(echo, 1, 50);
  await sleep(5);
  const until = performance.now() + 150;
  while (performance.now() < until);
  expect((await answer).number).toBe(1);
});

it("attempts a refused connection with growing pauses", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  const connection = connect(port);
  let attempts = 0;
  const until = performance.now() + 1_000;
  while (performance.now() < until) {
    expect(await failure(connection.request(echo, 1))).toBeInstanceOf(ConnectionError);
    attempts++;
  }
  expect(attempts).toBeGreaterThan(2);
  expect(attempts).toBeLessThan(10);
});

it("says so when what listens is not Kafka", async () => {
  const server = createServer((socket) => socket.resume().end("HTTP/1.1 400 Bad Request\r\n\r\n")).listen(
    0,
    "127.0.0.1",
  );
  cleanups.push(() => new Promise((resolve) => server.close(resolve)));
  await new Promise((resolve) => server.once("listening", resolve));
  const error = (await failure(
    connect((server.address() as { port: number }).port).request(echo, 1),
  )) as Error;
  expect(error).toBeInstanceOf(ConnectionError);
  expect(String(error.cause)).toContain("is that port Kafka's");
});

it("ends a connection whose answer cannot be read", async () => {
  const broker = await fake(() => new ByteWriter().int16(1));
  const error = (await failure(connect(broker.port).request(echo, 1))) as Error;
  expect(error).toBeInstanceOf(ConnectionError);
  expect(String(error.cause)).toContain("bytes are missing");
});

it("takes the version that both speak, and names what the broker lacks", async () => {
  const broker = await fake((_, version) => new ByteWriter().int32(0).int32(version));
  broker.handlers.set(API.apiVersions, () => versions({ min: 0, max: 5 }));
  expect((await connect(broker.port).request(echo, 1)).number).toBe(4);
  broker.handlers.set(API.apiVersions, () => versions({ min: 0, max: 3 }));
  const error = await failure(connect(broker.port).request(echo, 1));
  expect(error).toBeInstanceOf(UnsupportedVersionError);
  expect((error as Error).message).toContain("version 7 or 4, but the broker");
  expect((error as Error).message).toContain("takes 0 to 3: Kafka 2.8 or later is needed");
});

it("lets a broker that throttles have its pause", async () => {
  const broker = await fake(answerEcho(200));
  const connection = connect(broker.port);
  await connection.request(echo, 1);
  const askedMs = performance.now();
  await connection.request(echo, 2);
  expect(performance.now() - askedMs).toBeGreaterThan(190);
});

it("shows its credentials, and says when they are refused", async () => {
  const broker = await fake();
  let shown = "";
  let code = 0;
  broker.handlers.set(API.saslHandshake, () => new ByteWriter().int16(0).int32(0));
  broker.handlers.set(API.saslAuthenticate, (request) => {
    shown = request.byteArray().toString();
    return new ByteWriter().int16(code).nullableString("wrong").byteArray(Buffer.alloc(0)).int64(0);
  });
  const sasl = { username: "user", password: "secret" };
  expect((await connect(broker.port, { sasl }).request(echo, 1)).number).toBe(1);
  expect(shown).toBe("\0user\0secret");
  code = 58;
  const error = await failure(connect(broker.port, { sasl }).request(echo, 1));
  expect(error).toBeInstanceOf(AuthenticationError);
  expect((error as Error).message).toContain("refuses user user: wrong");
  expect((error as Error).message).not.toContain("secret");
});

it("says when the broker takes no SASL/PLAIN", async () => {
  const broker = await fake();
  const writer = new ByteWriter();
  broker.handlers.set(API.saslHandshake, () =>
    writer.int16(33).array(["GSSAPI"], (one) => writer.string(one)),
  );
  const error = await failure(
    connect(broker.port, { sasl: { username: "u", password: "p" } }).request(echo, 1),
  );
  expect(error).toBeInstanceOf(AuthenticationError);
  expect((error as Error).message).toContain("takes GSSAPI, not SASL/PLAIN");
});

it("opens another connection between two requests, before the broker ends a session", async () => {
  const broker = await fake();
  broker.handlers.set(API.saslHandshake, () => new ByteWriter().int16(0).int32(0));
  broker.handlers.set(API.saslAuthenticate, () =>
    new ByteWriter().int16(0).nullableString(null).byteArray(Buffer.alloc(0)).int64(100),
  );
  const connection = connect(broker.port, { sasl: { username: "u", password: "p" } });
  await connection.request(echo, 1);
  await connection.request(echo, 2);
  expect(broker.connections).toBe(1);
  await sleep(100);
  await connection.request(echo, 3);
  expect(broker.connections).toBe(2);
});

it("rejects what is under way when it is closed, and everything afterwards", async () => {
  const broker = await fake(() => "silence");
  const connection = connect(broker.port);
  const asked = failure(connection.request(echo, 1));
  await sleep(50);
  connection.close();
  expect(await asked).toBeInstanceOf(ConnectionError);
  expect(await failure(connection.request(echo, 2))).toBeInstanceOf(ConnectionError);
  expect(broker.connections).toBe(1);
});

it("speaks through TLS, with the broker's certificate checked", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-tls-"));
  cleanups.push(() => rm(folder, { recursive: true }));
  const [keyFile, certFile] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"];
  const make = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-days",
    "2",
  ];
  await promisify(execFile)("openssl", [...make, "-keyout", keyFile, "-out", certFile, ...subject]);
  const [key, cert] = [await readFile(keyFile), await readFile(certFile)];
  const broker = await new FakeBroker({ key, cert }).start();
  cleanups.push(() => broker.stop());
  broker.handlers.set(echo.key, answerEcho());
  expect((await connect(broker.port, { tls: { ca: cert } }).request(echo, 1)).number).toBe(1);
  expect(await failure(connect(broker.port, { tls: {} }).request(echo, 1))).toBeInstanceOf(ConnectionError);
  expect(await failure(connect(broker.port).request(echo, 1))).toBeInstanceOf(ConnectionError);
});
