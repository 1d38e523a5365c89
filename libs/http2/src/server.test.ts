import { type ClientHttp2Session, connect } from "node:http2";
import { connect as connectTcp } from "node:net";
import type { GrpcCall } from "@millrace/runtime";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { message, testMethods } from "../test/memory-client.ts";
import { type GrpcServer, type GrpcServerOptions, startGrpcServer } from "./index.ts";

let server: GrpcServer;
let session: ClientHttp2Session;
let calls: GrpcCall[];
let held: (() => void)[];

async function start(options: Partial<GrpcServerOptions> = {}): Promise<GrpcServer> {
  const test = testMethods();
  held = test.held;
  calls = [];
  return startGrpcServer({
    host: "127.0.0.1",
    port: 0,
    methods: [
      ...test.methods,
      {
        kind: "unary",
        path: "/t.T/Look",
        handle: (request, call, reply) => {
          calls.push(call);
          reply(null, new Uint8Array(request));
        },
      },
    ],
    authorise: () => null,
    requestBytesMax: 8 * 1024 * 1024,
    onDefect: (_path, error) => {
      throw error;
    },
    tls: null,
    ...options,
  });
}

beforeEach(async () => {
  server = await start();
  session = connect(`http://127.0.0.1:${server.port}`);
  session.on("error", () => {});
});
afterEach(async () => {
  session.destroy();
  await server.stop(100);
});

interface Answer {
  readonly status: string | undefined;
  readonly body: Buffer;
}

/** One call by Node's own HTTP/2. */
function call(path: string, body: Uint8Array, extra: Readonly<Record<string, string>> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...extra,
    });
    const chunks: Buffer[] = [];
    let status: string | undefined;
    request.on("response", (fields) => {
      status = fields["grpc-status"] as string | undefined;
    });
    request.on("trailers", (fields) => {
      status = fields["grpc-status"] as string | undefined;
    });
    request.on("data", (chunk: Buffer) => void chunks.push(chunk));
    request.on("error", reject);
    request.on("close", () => resolve({ status, body: Buffer.concat(chunks) }));
    request.end(body);
  });
}

describe("server, with node:http2 as the client", () => {
  it("reads the header fields that nghttp2 encodes, whatever is in its table", async () => {
    const name = fc.stringMatching(/^x-[a-z0-9-]{1,12}$/);
    const value = fc.oneof(
      fc.stringMatching(/^[!-~]{1,40}$/),
      fc.constantFrom("a", "b".repeat(900), "true"),
      fc.stringMatching(/^[!-~]([ -~]{0,200}[!-~])?$/),
    );
    const metadata = fc.dictionary(name, value, { maxKeys: 8 });
    await fc.assert(
      fc.asyncProperty(metadata, async (fields) => {
        calls = [];
        expect(await call("/t.T/Look", message("x"), fields)).toMatchObject({ status: "0" });
        for (const [key, expected] of Object.entries(fields)) expect(calls[0]?.metadata(key)).toBe(expected);
        expect(calls[0]?.metadata("not-there")).toBeUndefined();
      }),
      { numRuns: 200 },
    );
  });

  it("carries messages of every size, many at a time", async () => {
    const sizes = [0, 1, 100, 16_379, 16_384, 65_531, 70_000, 1_000_000, 5_000_000];
    await Promise.all(
      [...sizes, ...sizes].map(async (size, i) => {
        const body = Buffer.alloc(size, i);
        const answer = await call("/t.T/Echo", message(body));
        expect(answer.status).toBe("0");
        expect(answer.body.equals(message(body)), `${size} bytes`).toBe(true);
      }),
    );
  });

  it("says who calls, and by when", async () => {
    const before = performance.now();
    await call("/t.T/Look", message(""), { "grpc-timeout": "5S" });
    const [first] = calls as [GrpcCall];
    expect(first.peer).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(first.deadlineAt).toBeGreaterThan(before + 4_999);
    expect(first.deadlineAt).toBeLessThan(performance.now() + 5_001);
    await call("/t.T/Look", message(""));
    expect(calls[1]?.deadlineAt).toBeNull();
  });

  it("stops when the calls under way have ended", async () => {
    const answer = call("/t.T/Hold", message(""));
    await expect.poll(() => held.length).toBe(1);
    let isStopped = false;
    const stopped = server.stop(10_000).then(() => {
      isStopped = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(isStopped).toBe(false);
    held[0]?.();
    expect(await answer).toMatchObject({ status: "0" });
    await stopped;
    await expect(server.stop(0)).resolves.toBeUndefined();
  });

  it("stops at its deadline whatever is under way", async () => {
    const answer = call("/t.T/Hold", message("")).catch(() => "lost");
    await expect.poll(() => held.length).toBe(1);
    await server.stop(50);
    expect(await answer).not.toMatchObject({ status: "0" });
    held[0]?.();
  });

  it("says at its start what is wrong with its options", async () => {
    await expect(start({ port: server.port })).rejects.toThrow(/EADDRINUSE/);
    await expect(start({ limits: { streamsMax: 0 } })).rejects.toThrow("limits.streamsMax is 0");
    await expect(start({ tls: { cert: "none", key: "none" } })).rejects.toThrow();
  });

  it("takes no more connections than it may", async () => {
    const small = await start({ limits: { connectionsMax: 1 } });
    const sockets = [connectTcp(small.port, "127.0.0.1"), connectTcp(small.port, "127.0.0.1")];
    const closed = await Promise.race(
      sockets.map((socket, i) => new Promise<number>((resolve) => socket.on("close", () => resolve(i)))),
    );
    expect([0, 1]).toContain(closed);
    for (const socket of sockets) socket.destroy();
    await small.stop(0);
  });
});
