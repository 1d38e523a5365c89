import { describe, expect, it } from "vitest";
import {
  data,
  fieldsFor,
  frame,
  headers,
  MemoryClient,
  type MemoryClientOptions,
  message,
  testMethods,
  uint32,
} from "../test/memory-client.ts";
import { ERROR, FLAG, FRAME, PREFACE } from "./frames.ts";

const PING = new Uint8Array(8);

function connect(options: MemoryClientOptions = {}) {
  const { methods, held } = testMethods();
  const client = new MemoryClient({ methods, ...options });
  return { client, held };
}

const echo = (id: number, text: string): Buffer =>
  Buffer.concat([headers(id, "/t.T/Echo"), data(id, message(text))]);

describe("connection", () => {
  it("answers however what came is cut", async () => {
    const bytes = Buffer.concat([
      PREFACE,
      frame(FRAME.settings, 0, 0),
      echo(1, "one"),
      headers(3, "/t.T/Echo"),
      frame(
        FRAME.data,
        FLAG.padded,
        3,
        Buffer.concat([Buffer.from([4]), message("padded").subarray(0, 7), Buffer.alloc(4)]),
      ),
      data(3, message("padded").subarray(7)),
      frame(FRAME.headers, 0, 5, fieldsFor("/t.T/Echo").subarray(0, 10)),
      frame(FRAME.continuation, 0, 5, fieldsFor("/t.T/Echo").subarray(10, 20)),
      frame(FRAME.continuation, FLAG.endHeaders, 5, fieldsFor("/t.T/Echo").subarray(20)),
      data(5, message("")),
    ]);
    for (const size of [1, 2, 3, 7, 9, 10, 50, bytes.length]) {
      const { client } = connect();
      for (let at = 0; at < bytes.length; at += size) client.send(bytes.subarray(at, at + size));
      const answers = await client.answers();
      const texts = [1, 3, 5].map((id) => answers.get(id)?.body.toString("latin1").slice(5));
      expect(texts, `pieces of ${size}`).toEqual(["one", "padded", ""]);
      expect(client.memory.heldBytes).toBe(0);
    }
  });

  it("sends bodies as the windows allow, each stream in turn", async () => {
    const { client } = connect();
    const small = Buffer.concat([Buffer.from([0, 4]), uint32(10)]);
    client.send(
      PREFACE,
      frame(FRAME.settings, 0, 0, small),
      echo(1, "a".repeat(15)),
      echo(3, "b".repeat(15)),
    );
    const sizes = async (): Promise<string[]> =>
      (await client.frames())
        .filter(({ type }) => type === FRAME.data)
        .map(({ streamId, payload }) => `${streamId}:${payload.length}`);
    expect(await sizes()).toEqual(["1:10", "3:10"]);
    client.send(frame(FRAME.windowUpdate, 0, 3, uint32(4)));
    expect(await sizes()).toEqual(["3:4"]);
    client.send(frame(FRAME.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(30)])));
    expect(await sizes()).toEqual(["1:10", "3:6"]);
  });

  it("gives the client its windows back", async () => {
    const sink = async function* (requests: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      for await (const request of requests) if (request.length === 0) yield request;
    };
    const { client } = connect({ methods: [{ kind: "stream", path: "/t.T/Sink", handle: sink }] });
    client.open(headers(1, "/t.T/Sink"));
    const piece = Buffer.alloc(16_000);
    let allowed = 0;
    for (let sent = 0; sent < 6_400_000; sent += piece.length) {
      client.send(
        frame(
          FRAME.data,
          0,
          1,
          sent % 96_000 === 0 ? message(Buffer.alloc(95_995)).subarray(0, 16_000) : piece,
        ),
      );
      for (const { type, payload } of await client.frames()) {
        if (type === FRAME.windowUpdate) allowed += Buffer.from(payload).readUInt32BE();
      }
    }
    expect(allowed).toBeGreaterThan(4_000_000);
  });

  it("counts a cancelled call as open until its handler has ended", async () => {
    const { client, held } = connect({ limits: { streamsMax: 2 } });
    client.open();
    const hold = (id: number): Buffer => Buffer.concat([headers(id, "/t.T/Hold"), data(id, message(""))]);
    client.send(hold(1), hold(3));
    for (const id of [1, 3]) client.send(frame(FRAME.resetStream, 0, id, uint32(ERROR.cancel)));
    client.send(hold(5));
    expect((await client.answers()).get(5)?.reset).toBe(ERROR.refusedStream);
    held[0]?.();
    client.send(hold(7));
    expect((await client.answers()).has(7)).toBe(false);
    expect(held).toHaveLength(3);
  });

  it("ends gracefully: open calls finish, new ones are refused, and then it closes", async () => {
    const { client, held } = connect();
    client.open(headers(1, "/t.T/Hold"), data(1, message("")));
    client.connection.goAway();
    client.send(echo(3, "late"));
    expect(await client.goAway()).toBe(ERROR.noError);
    expect(client.isEnded).toBe(false);
    held[0]?.();
    expect(client.isEnded).toBe(true);
    expect((await client.answers()).get(1)?.fields["grpc-status"]).toBe("0");
  });

  it("stops reading and sending while the socket is full", async () => {
    const { client } = connect();
    client.open();
    await client.frames();
    client.isStuck = true;
    client.send(frame(FRAME.ping, 0, 0, PING));
    await client.frames();
    expect(client.isPaused).toBe(true);
    client.send(echo(1, "waits"));
    expect((await client.answers()).get(1)?.body).toHaveLength(0);
    client.isStuck = false;
    client.connection.resume();
    expect(client.isPaused).toBe(false);
    expect((await client.answers()).get(1)?.body.toString()).toContain("waits");
  });
});

describe("what is no HTTP/2", () => {
  const padded = (type: number): Buffer =>
    frame(type, FLAG.padded | FLAG.endHeaders, 1, Buffer.from([5, 1, 2, 3]));
  // h2spec has the other 146 cases; these are those that it has not, or that other tests must not depend on it for.
  it.each<[string, number, Uint8Array[]]>([
    ["another preface", ERROR.protocolError, [Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")]],
    ["another first frame", ERROR.protocolError, [PREFACE, frame(FRAME.ping, 0, 0, PING)]],
    ["DATA first", ERROR.protocolError, [PREFACE, data(1, message(""))]],
    [
      "more padding than body",
      ERROR.protocolError,
      [PREFACE, frame(FRAME.settings, 0, 0), headers(1, "/t.T/Echo"), padded(FRAME.data)],
    ],
    [
      "more padding than fields",
      ERROR.protocolError,
      [PREFACE, frame(FRAME.settings, 0, 0), padded(FRAME.headers)],
    ],
    [
      "a push",
      ERROR.protocolError,
      [PREFACE, frame(FRAME.settings, 0, 0), frame(FRAME.pushPromise, 0, 1, uint32(2))],
    ],
    ["a frame that is too large", ERROR.frameSizeError, [PREFACE, Buffer.from([0, 64, 1, 0, 0, 0, 0, 0, 1])]],
  ])("ends the connection: %s", async (_name, code, pieces) => {
    const { client } = connect();
    client.send(...pieces);
    expect(await client.goAway()).toBe(code);
    expect(client.isEnded).toBe(true);
    expect(client.defects).toEqual([]);
  });
});

describe("limits of a connection", () => {
  const calm = async (options: MemoryClientOptions, ...pieces: Uint8Array[]): Promise<void> => {
    const { client } = connect(options);
    client.open(...pieces);
    expect(await client.goAway()).toBe(ERROR.enhanceYourCalm);
    expect(client.isEnded).toBe(true);
  };
  const times = (count: number, make: (i: number) => Uint8Array): Buffer =>
    Buffer.concat(Array.from({ length: count }, (_, i) => make(i)));

  it.each([
    ["pings", (_: number) => frame(FRAME.ping, 0, 0, PING)],
    ["settings", (_: number) => frame(FRAME.settings, 0, 0)],
    ["window updates", (_: number) => frame(FRAME.windowUpdate, 0, 0, uint32(1))],
    ["priorities", (_: number) => frame(FRAME.priority, 0, 1, new Uint8Array(5))],
    ["unknown frames", (_: number) => frame(99, 0, 0)],
    [
      "resets",
      (i: number) =>
        Buffer.concat([headers(2 * i + 1, "/t.T/Echo"), frame(FRAME.resetStream, 0, 2 * i + 1, uint32(8))]),
    ],
    [
      "streams that the server has to reset",
      (i: number) =>
        Buffer.concat([headers(2 * i + 1, "/t.T/Echo"), frame(FRAME.windowUpdate, 0, 2 * i + 1, uint32(0))]),
    ],
  ])("closes at too many %s", (_name, make) => calm({ limits: { idleFramesMax: 50 } }, times(60, make)));

  it("closes at too many empty frames of data and of headers", async () => {
    const limits = { idleFramesMax: 50 };
    await calm(
      { limits },
      headers(1, "/t.T/Echo"),
      times(60, () => frame(FRAME.data, 0, 1)),
    );
    const begin = frame(FRAME.headers, 0, 1, fieldsFor("/t.T/Echo"));
    await calm(
      { limits },
      begin,
      times(60, () => frame(FRAME.continuation, 0, 1)),
    );
  });

  it("lets frames pass that come with work, and forgets them in time", async () => {
    const { client } = connect({ limits: { idleFramesMax: 50 } });
    client.open(times(100, (i) => Buffer.concat([echo(2 * i + 1, "x"), frame(FRAME.ping, 0, 0, PING)])));
    client.connection.sweep();
    for (let second = 0; second < 5; second++) {
      client.send(times(50, () => frame(FRAME.ping, 0, 0, PING)));
      client.connection.sweep();
    }
    expect(await client.goAway()).toBeNull();
  });

  it("refuses a header block that is too long, and too many fields for their call only", async () => {
    const limits = { headerListBytesMax: 1_000 };
    const piece = (flags: number, type: number): Buffer =>
      frame(type, flags, 1, fieldsFor("/", [["a", "b".repeat(1_000)]]));
    await calm(
      { limits },
      piece(0, FRAME.headers),
      times(4, () => piece(0, FRAME.continuation)),
    );
    const { client } = connect({ limits });
    client.open(headers(1, "/t.T/Echo", [["a", "b".repeat(1_000)]]), echo(3, "fine"));
    const answers = await client.answers();
    expect(answers.get(1)?.fields["grpc-status"]).toBe("8");
    expect(answers.get(3)?.fields["grpc-status"]).toBe("0");
  });

  it("closes when answers that nobody takes are too many", async () => {
    const { client } = connect({ limits: { answerBytesHeldMax: 100_000 } });
    const none = frame(FRAME.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(0)]));
    client.send(
      PREFACE,
      none,
      times(8, (i) =>
        Buffer.concat([headers(2 * i + 1, "/t.T/Echo"), data(2 * i + 1, message("x".repeat(16_000)))]),
      ),
    );
    expect(await client.goAway()).toBe(ERROR.enhanceYourCalm);
  });

  it.each([
    ["no settings", 10_000, [PREFACE]],
    ["half a frame", 20_000, [PREFACE, frame(FRAME.settings, 0, 0), Buffer.from([0, 0])]],
    [
      "half a header block",
      20_000,
      [PREFACE, frame(FRAME.settings, 0, 0), frame(FRAME.headers, 0, 1, Buffer.from([0x83]))],
    ],
  ])("closes when there are %s for too long", async (_name, limitMs, pieces) => {
    const { client } = connect();
    client.send(...pieces);
    let seconds = 0;
    for (; !client.isEnded && seconds < 100; seconds++) {
      client.now += 1_000;
      client.connection.sweep();
    }
    expect(seconds).toBeGreaterThan(limitMs / 1_000);
    expect(seconds).toBeLessThan(limitMs / 1_000 + 3);
  });

  it("resets a stream whose body does not come, and leaves one that waits for the server", async () => {
    const { client } = connect();
    client.open(headers(1, "/t.T/Echo"), frame(FRAME.data, 0, 1, message("abc").subarray(0, 6)));
    client.send(headers(3, "/t.T/Chat"), frame(FRAME.data, 0, 3, message("abc")));
    for (let second = 0; second < 40; second++) {
      client.now += 1_000;
      client.connection.sweep();
      // One byte at a time is no progress.
      if (second < 15)
        client.send(frame(FRAME.data, 0, 1, Buffer.from("b")).subarray(0, second === 0 ? 10 : 0));
    }
    const answers = await client.answers();
    expect(answers.get(1)?.reset).toBe(ERROR.enhanceYourCalm);
    expect(answers.get(3)?.reset).toBeNull();
    expect(client.memory.heldBytes).toBe(0);
    expect(client.isEnded).toBe(false);
  });

  it("closes when answers are not read for too long, and when there are no calls for very long", async () => {
    const { client } = connect();
    const none = frame(FRAME.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(0)]));
    client.send(PREFACE, none, echo(1, "unread"));
    for (let second = 0; second < 62; second++) {
      client.now += 1_000;
      client.connection.sweep();
    }
    expect(await client.goAway()).toBe(ERROR.enhanceYourCalm);
    const idle = connect().client.open();
    idle.now += 600_001;
    idle.connection.sweep();
    expect(await idle.goAway()).toBe(ERROR.noError);
    expect(idle.isEnded).toBe(true);
  });
});
