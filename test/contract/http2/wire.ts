import { connect, type Socket } from "node:net";

/** Bytes of HTTP/2 as a client writes them, right and wrong ones: RFC 9113 and, for fields, RFC 7541 without tables. */

export const TYPE = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const END_STREAM = 1;
export const END_HEADERS = 4;
export const NOTHING: Buffer = Buffer.alloc(0);

export function frame(type: number, flags: number, streamId: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(9 + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(streamId, 5);
  bytes.set(payload, 9);
  return bytes;
}

export function field(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
}

/** The fields of a gRPC request; those that are given come in place of the usual ones of their name. */
export function request(path: string, given: Readonly<Record<string, string>> = {}): Buffer {
  const fields = {
    ":method": "POST",
    ":scheme": "http",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    ...given,
  };
  return Buffer.concat(Object.entries(fields).map(([name, value]) => field(name, value)));
}

export function message(payload: Uint8Array, flag = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(payload.length, 1);
  return Buffer.concat([prefix, payload]);
}

export function setting(id: number, value: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt32BE(value, 2);
  return bytes;
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}

/** A connection that has said what a client says first. Its errors are the server's answer to an attack. */
export async function open(port: number, settings: Uint8Array = NOTHING): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.setNoDelay(true);
  socket.on("error", () => {});
  await new Promise((resolve) => {
    socket.once("connect", resolve);
    socket.once("close", resolve);
  });
  socket.write(
    Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(TYPE.settings, 0, 0, settings)]),
  );
  return socket;
}

function text(value: string): Buffer {
  const octets = Buffer.from(value, "latin1");
  const length = [Math.min(octets.length, 127)];
  if (octets.length >= 127) {
    let rest = octets.length - 127;
    for (; rest >= 128; rest >>>= 7) length.push((rest & 127) | 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), octets]);
}
