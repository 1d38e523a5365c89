import { gzipSync } from "node:zlib";
import { describe, expect, it, vi } from "vitest";
import {
  data,
  fieldsFor,
  frame,
  headers,
  MemoryClient,
  message,
  testMethods,
  uint32,
} from "../test/memory-client.ts";
import { ERROR, FLAG, FRAME, PREFACE } from "./frames.ts";
import type { RequestMemory } from "./request-memory.ts";

const CASES = 20_000;
const WRITTEN_MAX = 4_000_000;

/** Marsaglia's xorshift32: the same cases in every run. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Pieces of what clients send, all valid one behind the other. */
const PIECES: readonly Buffer[] = [
  PREFACE as Buffer,
  frame(
    FRAME.settings,
    0,
    0,
    Buffer.concat([Buffer.from([0, 4]), uint32(100), Buffer.from([0, 5]), uint32(20_000)]),
  ),
  frame(FRAME.settings, FLAG.ack, 0),
  headers(1, "/t.T/Echo", [["grpc-timeout", "10S"]]),
  data(1, message("hello")),
  headers(3, "/t.T/Chat", [["grpc-encoding", "gzip"]]),
  frame(
    FRAME.data,
    0,
    3,
    Buffer.concat([message("a"), message(gzipSync("b"), 1), message("long".repeat(50))]),
  ),
  frame(FRAME.windowUpdate, 0, 3, uint32(1_000)),
  frame(FRAME.headers, 0, 5, fieldsFor("/t.T/Echo").subarray(0, 7)),
  frame(FRAME.continuation, FLAG.endHeaders, 5, fieldsFor("/t.T/Echo").subarray(7)),
  frame(
    FRAME.data,
    FLAG.padded,
    5,
    Buffer.concat([Buffer.from([3]), message("xyz").subarray(0, 6), Buffer.alloc(3)]),
  ),
  frame(FRAME.ping, 0, 0, Buffer.alloc(8)),
  frame(FRAME.priority, 0, 7, Buffer.concat([uint32(0), Buffer.from([1])])),
  data(5, message("xyz").subarray(6)),
  headers(7, "/t.T/Hold"),
  data(7, message("")),
  frame(FRAME.resetStream, 0, 7, uint32(ERROR.cancel)),
  headers(9, "/t.T/Fail", [["content-length", "5"]]),
  data(9, message("")),
  headers(11, "/t.T/None"),
  frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 3, Buffer.from([0, 1, 0x61, 1, 0x62])),
  frame(FRAME.windowUpdate, 0, 0, uint32(70_000)),
  frame(99, 7, 3, Buffer.from("unknown")),
  frame(FRAME.goAway, 0, 0, Buffer.alloc(8)),
];

function mutate(next: (below: number) => number): Buffer {
  const pieces = [...PIECES];
  for (let edits = next(4); edits > 0; edits--) {
    const i = 1 + next(pieces.length - 1);
    const kind = next(3);
    if (kind === 0) pieces.splice(i, 1);
    else if (kind === 1) pieces.splice(i, 0, pieces[next(pieces.length)] as Buffer);
    else pieces.splice(i, 0, ...Array.from({ length: 1 + next(40) }, () => pieces[i] as Buffer));
  }
  const bytes = Buffer.concat(pieces);
  // Most of what follows the preface is worth changing; the preface itself seldom.
  const from = next(50) === 0 ? 0 : PREFACE.length;
  for (let edits = next(8); edits > 0; edits--) {
    const at = from + next(bytes.length - from);
    const kind = next(4);
    if (kind === 0) bytes[at] = next(256);
    else if (kind === 1) bytes[at] = (bytes[at] as number) ^ (1 << next(8));
    else if (kind === 2) bytes.copyWithin(at, from + next(bytes.length - from));
    else bytes.fill(next(2) * 255, at, Math.min(bytes.length, at + next(6)));
  }
  return bytes.subarray(0, next(3) === 0 ? next(bytes.length) : bytes.length);
}

describe("connection, on changed streams of bytes", () => {
  it(`throws nothing, holds nothing and ends, ${CASES} times`, { timeout: 120_000 }, async () => {
    const outcomes = { answered: 0, ended: 0 };
    const inflating: RequestMemory[] = [];
    for (let seed = 1; seed <= CASES; seed++) {
      const next = random(seed);
      const { methods, held } = testMethods();
      const client = new MemoryClient({ methods, limits: { idleFramesMax: 200, streamsMax: 10 } });
      const bytes = mutate(next);
      client.isStuck = next(20) === 0;
      for (let at = 0; at < bytes.length; ) {
        const size = 1 + next(next(2) === 0 ? 20 : 4_000);
        client.send(bytes.subarray(at, at + size));
        at += size;
      }
      await Promise.resolve();
      for (const reply of held) reply();
      client.now += next(60_000);
      client.connection.sweep();
      client.isStuck = false;
      client.connection.resume();
      if (seed % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
      if (client.isEnded) outcomes.ended += 1;
      else outcomes.answered += 1;
      client.connection.lost();
      await new Promise((resolve) => setImmediate(resolve));
      expect(client.defects, `seed ${seed}`).toEqual([]);
      expect(client.writtenBytes, `seed ${seed}`).toBeLessThan(WRITTEN_MAX);
      if (client.memory.heldBytes > 0) inflating.push(client.memory);
    }
    await vi.waitFor(() => expect(inflating.filter(({ heldBytes }) => heldBytes > 0)).toEqual([]), 10_000);
    expect(outcomes.answered).toBeGreaterThan(CASES / 20);
    expect(outcomes.ended).toBeGreaterThan(CASES / 20);
  });
});
