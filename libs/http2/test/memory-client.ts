import { type GrpcMethod, RpcError } from "@millrace/runtime";
import { Connection } from "../src/connection.ts";
import { FLAG, FRAME, PREFACE, readUint24, readUint31, writeFrameHeader } from "../src/frames.ts";
import { acceptCall, type GrpcOptions } from "../src/grpc.ts";
import { encodeFields, HeaderDecoder } from "../src/hpack.ts";
import { Inflater } from "../src/inflater.ts";
import { LIMITS, type Limits } from "../src/limits.ts";
import { BlockPool } from "../src/output.ts";
import { RequestMemory } from "../src/request-memory.ts";

/** A frame as it came. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export interface MemoryClientOptions {
  readonly methods?: readonly GrpcMethod[];
  readonly limits?: Partial<Limits>;
  readonly authorise?: GrpcOptions["authorise"];
}

export const REQUEST_BYTES_MAX = 100_000;

/** A connection without a socket and with a clock that the test turns, and what a client sees of it. */
export class MemoryClient {
  readonly connection: Connection;
  readonly memory: RequestMemory;
  readonly limits: Limits;
  readonly defects: unknown[] = [];
  /** Monotonic ms. */
  now = 1_000;
  /** What the server wrote and nobody has read, and whether it stopped reading or closed. */
  isPaused = false;
  isEnded = false;
  writtenBytes = 0;
  /** The socket takes nothing while this is set. */
  isStuck = false;
  #written: Uint8Array[] = [];
  readonly #decoder = new HeaderDecoder(1_000_000);

  constructor(options: MemoryClientOptions = {}) {
    this.limits = { ...LIMITS, ...options.limits };
    this.memory = new RequestMemory(this.limits.requestBytesHeldMax);
    const grpc: GrpcOptions = {
      methods: new Map((options.methods ?? []).map((method) => [method.path, method])),
      authorise: options.authorise ?? (() => null),
      requestBytesMax: REQUEST_BYTES_MAX,
      headerListBytesMax: this.limits.headerListBytesMax,
      memory: this.memory,
      inflater: new Inflater(REQUEST_BYTES_MAX),
      onDefect: (_path, error) => void this.defects.push(error),
      now: () => this.now,
    };
    this.connection = new Connection({
      transport: {
        peer: "memory:1",
        write: (pieces) => {
          for (const piece of pieces) {
            this.#written.push(Uint8Array.from(piece));
            this.writtenBytes += piece.length;
          }
        },
        unsentBytes: () => (this.isStuck ? 1 : 0),
        isFull: () => this.isStuck,
        pause: (isPaused) => {
          this.isPaused = isPaused;
        },
        end: () => {
          this.isEnded = true;
        },
      },
      limits: this.limits,
      pool: new BlockPool(),
      now: () => this.now,
      accept: (stream, request) => acceptCall(grpc, stream, request),
      onDefect: (error) => void this.defects.push(error),
    });
  }

  /** Sends the preface and settings first, where `pieces` are a connection's first. */
  open(...pieces: readonly Uint8Array[]): this {
    return this.send(PREFACE, frame(FRAME.settings, 0, 0), ...pieces);
  }

  send(...pieces: readonly Uint8Array[]): this {
    this.connection.receive(Buffer.concat(pieces));
    return this;
  }

  /** The frames that the server has written since the last call, without its settings and its first window. */
  async frames(): Promise<Frame[]> {
    await new Promise((resolve) => setImmediate(resolve));
    const frames = readFrames(Buffer.concat(this.#written));
    this.#written = [];
    return frames.filter(
      ({ type, streamId }) => type !== FRAME.settings && (type !== FRAME.windowUpdate || streamId > 0),
    );
  }

  /** What became of each stream: fields of headers and trailers, body, and code of its reset. */
  async answers(): Promise<Map<number, Answer>> {
    const answers = new Map<number, Answer>();
    for (const { type, streamId, payload } of await this.frames()) {
      const answer = answers.get(streamId) ?? { fields: {}, body: Buffer.alloc(0), reset: null };
      const fields = type === FRAME.headers ? this.#decoder.decode(payload, 0, payload.length) : null;
      answers.set(streamId, {
        fields: { ...answer.fields, ...toRecord(fields ?? []) },
        body: type === FRAME.data ? Buffer.concat([answer.body, payload]) : answer.body,
        reset: type === FRAME.resetStream ? (payload[3] as number) : answer.reset,
      });
    }
    return answers;
  }

  /** The code with which the server has closed the connection; null when it has not. */
  async goAway(): Promise<number | null> {
    const last = (await this.frames()).findLast(({ type }) => type === FRAME.goAway);
    return last === undefined ? null : (last.payload[7] as number);
  }
}

export interface Answer {
  readonly fields: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly reset: number | null;
}

export function frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Uint8Array = new Uint8Array(0),
): Buffer {
  const bytes = Buffer.alloc(9 + payload.length);
  writeFrameHeader(bytes, 0, payload.length, type, flags, streamId);
  bytes.set(payload, 9);
  return bytes;
}

export function fieldsFor(path: string, extra: readonly (readonly [string, string])[] = []): Uint8Array {
  return encodeFields([
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
    ...extra,
  ]);
}

export function headers(
  streamId: number,
  path: string,
  extra: readonly (readonly [string, string])[] = [],
): Buffer {
  return frame(FRAME.headers, FLAG.endHeaders, streamId, fieldsFor(path, extra));
}

export function message(payload: Uint8Array | string, flag = 0): Buffer {
  const bytes = Buffer.from(payload as string);
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

/** The last DATA of a request. */
export function data(streamId: number, payload: Uint8Array): Buffer {
  return frame(FRAME.data, FLAG.endStream, streamId, payload);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Methods for tests: an echo, one that fails as it is told, one that never replies, and a chat. */
export function testMethods(): { readonly methods: readonly GrpcMethod[]; readonly held: (() => void)[] } {
  const held: (() => void)[] = [];
  const methods: GrpcMethod[] = [
    {
      kind: "unary",
      path: "/t.T/Echo",
      handle: (request, _call, reply) => reply(null, new Uint8Array(request)),
    },
    {
      kind: "unary",
      path: "/t.T/Fail",
      handle: () => {
        throw new RpcError("notFound", "100 % größer\n", { retryAfterMs: 1_500 });
      },
    },
    {
      kind: "unary",
      path: "/t.T/Defect",
      handle: () => {
        throw new TypeError("secret");
      },
    },
    {
      kind: "unary",
      path: "/t.T/Hold",
      handle: (_request, _call, reply) => void held.push(() => reply(null)),
    },
    {
      kind: "stream",
      path: "/t.T/Chat",
      handle: async function* (requests) {
        for await (const request of requests) yield new Uint8Array(request);
      },
    },
  ];
  return { methods, held };
}

function readFrames(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = readUint24(bytes, at);
    frames.push({
      type: bytes[at + 3] as number,
      flags: bytes[at + 4] as number,
      streamId: readUint31(bytes, at + 5),
      payload: bytes.subarray(at + 9, at + 9 + length),
    });
    at += 9 + length;
  }
  return frames;
}

function toRecord(fields: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    fields.flatMap((name, i) => (i % 2 === 0 ? [[name, fields[i + 1] as string] as const] : [])),
  );
}
