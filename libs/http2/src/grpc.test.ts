import { gzipSync } from "node:zlib";
import { type GrpcMethod, RpcError } from "@millrace/runtime";
import { describe, expect, it, vi } from "vitest";
import {
  data,
  fieldsFor,
  frame,
  headers,
  MemoryClient,
  message,
  REQUEST_BYTES_MAX,
  testMethods,
  uint32,
} from "../test/memory-client.ts";
import { ERROR, FLAG, FRAME } from "./frames.ts";
import { encodeFields } from "./hpack.ts";

function connect(options: ConstructorParameters<typeof MemoryClient>[0] = {}) {
  const { methods, held } = testMethods();
  return { client: new MemoryClient({ methods, ...options }).open(), held };
}

/** The status of one call whose frames are given. */
async function status(...pieces: Uint8Array[]): Promise<string | undefined> {
  const { client } = connect();
  client.send(...pieces);
  const fields = (
    await vi.waitFor(async () => {
      const answer = (await client.answers()).get(1);
      expect(answer).toBeDefined();
      return answer;
    })
  )?.fields;
  expect(client.memory.heldBytes).toBe(0);
  expect(client.defects).toEqual([]);
  return fields?.["grpc-status"] ?? fields?.[":status"];
}

const call = (extra: readonly (readonly [string, string])[], body: Uint8Array): Uint8Array[] => [
  headers(1, "/t.T/Echo", extra),
  data(1, body),
];

describe("unary calls", () => {
  it("hand a handler's status, message and time to wait to the caller", async () => {
    const { client } = connect();
    client.send(headers(1, "/t.T/Fail"), data(1, message("")));
    expect((await client.answers()).get(1)?.fields).toEqual({
      ":status": "200",
      "content-type": "application/grpc",
      "grpc-status": "5",
      "grpc-message": "100 %25 gr%C3%B6%C3%9Fer%0A",
      "grpc-retry-pushback-ms": "1500",
    });
  });

  it("keep the text of a defect from the caller", async () => {
    const { client } = connect();
    client.send(headers(1, "/t.T/Defect"), data(1, message("")));
    const fields = (await client.answers()).get(1)?.fields;
    expect(fields?.["grpc-status"]).toBe("13");
    expect(JSON.stringify(fields)).not.toContain("secret");
    expect(client.defects).toEqual([new TypeError("secret")]);
  });

  it("may answer with their request, also when the answer waits", async () => {
    const mirror: GrpcMethod = {
      kind: "unary",
      path: "/t.T/Mirror",
      handle: (request, _call, reply) => reply(null, request),
    };
    const { client } = connect({ methods: [mirror] });
    client.send(frame(FRAME.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(0)])));
    const inPieces = (id: number, body: Buffer): Buffer =>
      Buffer.concat([
        headers(id, "/t.T/Mirror"),
        frame(FRAME.data, 0, id, body.subarray(0, 9)),
        data(id, body.subarray(9)),
      ]);
    client.send(inPieces(1, message("first ".repeat(10))), inPieces(3, message("second".repeat(10))));
    client.send(frame(FRAME.windowUpdate, 0, 1, uint32(100)), frame(FRAME.windowUpdate, 0, 3, uint32(100)));
    const answers = await client.answers();
    expect(answers.get(1)?.body).toEqual(message("first ".repeat(10)));
    expect(answers.get(3)?.body).toEqual(message("second".repeat(10)));
  });

  it("call a second reply a defect", async () => {
    const { client, held } = connect();
    client.send(headers(1, "/t.T/Hold"), data(1, message("")));
    held[0]?.();
    held[0]?.();
    expect(client.defects).toHaveLength(1);
  });

  it("are refused before their body, by who decides", async () => {
    const seen: (string | undefined)[] = [];
    const { client } = connect({
      authorise: (metadata, path) => {
        seen.push(path, metadata("authorization"), metadata("missing"));
        return new RpcError("unauthenticated", "no");
      },
    });
    client.send(headers(1, "/t.T/Echo", [["authorization", "Bearer x"]]));
    const answer = (await client.answers()).get(1);
    expect(answer?.fields["grpc-status"]).toBe("16");
    expect(answer?.reset).toBe(ERROR.noError);
    expect(seen).toEqual(["/t.T/Echo", "Bearer x", undefined]);
    // What was under way meanwhile is let pass.
    client.send(data(1, message("abc")), frame(FRAME.ping, 0, 0, new Uint8Array(8)));
    expect((await client.frames()).map(({ type }) => type)).toEqual([FRAME.ping]);
  });

  it("refuse what is malformed with the status that says so", async () => {
    expect(await status(headers(1, "/t.T/None"), data(1, message("")))).toBe("12");
    expect(await status(...call([], Buffer.alloc(0)))).toBe("12");
    expect(await status(...call([], Buffer.concat([message("a"), message("b")])))).toBe("12");
    expect(await status(...call([], message("abc").subarray(0, 7)))).toBe("13");
    expect(await status(...call([], message("abc").subarray(0, 3)))).toBe("13");
    expect(await status(...call([], message("abc", 2)))).toBe("13");
    expect(await status(...call([], message("abc", 1)))).toBe("13");
    expect(await status(...call([["grpc-encoding", "identity"]], message("abc", 1)))).toBe("13");
    expect(await status(...call([["grpc-encoding", "snappy"]], message("abc")))).toBe("12");
    expect(await status(...call([["grpc-timeout", "1x"]], message("abc")))).toBe("3");
    expect(await status(...call([["grpc-timeout", "999999999S"]], message("abc")))).toBe("3");
    const html = encodeFields([
      [":method", "POST"],
      [":scheme", "http"],
      [":path", "/t.T/Echo"],
      ["content-type", "text/html"],
    ]);
    expect(await status(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, html))).toBe("415");
    const get = encodeFields([
      [":method", "GET"],
      [":scheme", "http"],
      [":path", "/"],
    ]);
    expect(await status(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, get))).toBe("405");
  });

  it("refuse a large message by its prefix", async () => {
    const { client } = connect();
    const prefix = Buffer.concat([Buffer.from([0]), uint32(REQUEST_BYTES_MAX + 1)]);
    client.send(headers(1, "/t.T/Echo"), frame(FRAME.data, 0, 1, prefix));
    expect((await client.answers()).get(1)?.fields["grpc-status"]).toBe("8");
    client.send(
      headers(3, "/t.T/Echo"),
      frame(FRAME.data, 0, 3, Buffer.concat([Buffer.from([0]), uint32(0xffff_ffff)])),
    );
    expect((await client.answers()).get(3)?.fields["grpc-status"]).toBe("8");
  });

  it("refuse what is more than all requests together may hold, and free it", async () => {
    const { client } = connect({ limits: { requestBytesHeldMax: 16_384 } });
    const half = (id: number): Buffer =>
      Buffer.concat([
        headers(id, "/t.T/Echo"),
        frame(FRAME.data, 0, id, message(Buffer.alloc(8_000)).subarray(0, 100)),
      ]);
    client.send(half(1), half(3), half(5));
    expect((await client.answers()).get(5)?.fields["grpc-status"]).toBe("8");
    client.send(frame(FRAME.resetStream, 0, 1, uint32(8)));
    client.send(half(7));
    expect((await client.answers()).has(7)).toBe(false);
    client.connection.lost();
    expect(client.memory.heldBytes).toBe(0);
  });

  it("take gzip, and stop at what inflates to too much", async () => {
    const gzip = [["grpc-encoding", "gzip"]] as const;
    const { client } = connect();
    client.send(headers(1, "/t.T/Echo", gzip), data(1, message(gzipSync("hello"), 1)));
    await vi.waitFor(async () => expect((await client.answers()).get(1)?.body.toString()).toContain("hello"));
    expect(await status(...call(gzip, message(gzipSync(Buffer.alloc(REQUEST_BYTES_MAX + 1)), 1)))).toBe("8");
    expect(await status(...call(gzip, message("no gzip", 1)))).toBe("13");
    expect(await status(...call(gzip, message("plain", 0)))).toBe("0");
  });

  it("end at their deadline, and their handlers learn of it", async () => {
    const { client, held } = connect();
    client.send(headers(1, "/t.T/Hold", [["grpc-timeout", "5m"]]), data(1, message("")));
    client.now += 10;
    await vi.waitFor(async () => expect((await client.answers()).get(1)?.fields["grpc-status"]).toBe("4"));
    held[0]?.();
    expect(await client.frames()).toEqual([]);
    expect(client.defects).toEqual([]);
  });
});

describe("stream calls", () => {
  it("carry messages both ways, also compressed ones, in order", async () => {
    const { client } = connect();
    client.send(headers(1, "/t.T/Chat", [["grpc-encoding", "gzip"]]));
    client.send(
      frame(FRAME.data, 0, 1, Buffer.concat([message("one"), message(gzipSync("two"), 1), message("three")])),
    );
    client.send(data(1, message("four")));
    let body = "";
    await vi.waitFor(async () => {
      const answer = (await client.answers()).get(1);
      body += answer?.body.toString("latin1") ?? "";
      expect(answer?.fields["grpc-status"]).toBe("0");
    });
    expect(body.replaceAll(/\0\0\0\0./g, " ")).toBe(" one two three four");
    expect(client.memory.heldBytes).toBe(0);
  });

  it("end with their caller", async () => {
    const ends: string[] = [];
    const chat = async function* (requests: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      try {
        for await (const request of requests) yield new Uint8Array(request);
        ends.push("ended");
      } catch (error) {
        ends.push((error as RpcError).code);
        throw error;
      } finally {
        ends.push("closed");
      }
    };
    const { client } = connect({ methods: [{ kind: "stream", path: "/t.T/Chat", handle: chat }] });
    client.send(headers(1, "/t.T/Chat"), frame(FRAME.data, 0, 1, message("a")));
    await client.frames();
    client.send(frame(FRAME.resetStream, 0, 1, uint32(ERROR.cancel)));
    await vi.waitFor(() => expect(ends).toEqual(["cancelled", "closed"]));
    client.send(headers(3, "/t.T/Chat", [["grpc-timeout", "1m"]]));
    client.now += 5;
    await vi.waitFor(async () => expect((await client.answers()).get(3)?.fields["grpc-status"]).toBe("4"));
    await vi.waitFor(() => expect(ends).toHaveLength(4));
    expect(client.defects).toEqual([]);
    expect(client.memory.heldBytes).toBe(0);
  });

  it("wait for the client to read", async () => {
    let made = 0;
    const flood = async function* (): AsyncGenerator<Uint8Array> {
      for (;;) {
        made += 1;
        yield new Uint8Array(10_000);
      }
    };
    const { client } = connect({ methods: [{ kind: "stream", path: "/t.T/Flood", handle: flood }] });
    client.send(headers(1, "/t.T/Flood"));
    await client.frames();
    await client.frames();
    expect(made).toBe(Math.ceil(65_535 / 10_005));
    client.send(
      frame(FRAME.windowUpdate, 0, 1, uint32(50_000)),
      frame(FRAME.windowUpdate, 0, 0, uint32(50_000)),
    );
    await client.frames();
    expect(made).toBe(Math.ceil(115_535 / 10_005));
    client.connection.lost();
    await client.frames();
    expect(made).toBeLessThan(14);
  });

  it("hold the client back while the handler does not ask", async () => {
    const silent = async function* (): AsyncGenerator<Uint8Array> {
      await new Promise<void>((resolve) => setTimeout(resolve, 1_000));
      yield new Uint8Array(0);
    };
    const { client } = connect({ methods: [{ kind: "stream", path: "/t.T/Silent", handle: silent }] });
    client.send(headers(1, "/t.T/Silent"));
    const piece = frame(FRAME.data, 0, 1, message(Buffer.alloc(15_000)));
    for (let sent = 0; sent < 300; sent++) client.send(piece);
    const answers = await client.answers();
    expect(answers.get(1)?.reset).toBe(ERROR.flowControlError);
    client.connection.lost();
  });

  it("refuse trailers that are none", async () => {
    const { client } = connect();
    client.send(headers(1, "/t.T/Chat"), frame(FRAME.headers, FLAG.endHeaders, 1, fieldsFor("/t.T/Chat")));
    expect((await client.answers()).get(1)?.reset).toBe(ERROR.protocolError);
  });
});
