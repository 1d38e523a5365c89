/** Frame types, RFC 9113 section 6. */
export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  resetStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** Frame flags; what a bit means depends on the frame's type. */
export const FLAG = { none: 0, endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

/** Settings, RFC 9113 section 6.5.2. */
export const SETTING = {
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

/** Error codes of RST_STREAM and GOAWAY, RFC 9113 section 7. */
export const ERROR = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  enhanceYourCalm: 11,
} as const;

/** What a client sends first, RFC 9113 section 3.4. */
export const PREFACE: Uint8Array = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

export const FRAME_HEADER_BYTES = 9;
/** The least that a peer may set as the largest frame, and what holds until it says otherwise. */
export const FRAME_BYTES_MIN = 16_384;
export const WINDOW_MAX = 0x7fff_ffff;
/** Flow-control windows before anyone has said otherwise. */
export const WINDOW_DEFAULT = 65_535;

/** Ends the connection: sent as GOAWAY with the code, and with the message as debug data. */
export class ConnectionError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.name = "ConnectionError";
    this.code = code;
  }
}

export function protocolError(message: string): ConnectionError {
  return new ConnectionError(ERROR.protocolError, message);
}

export function readUint24(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) * 0x100_0000 + readUint24(bytes, at + 1);
}

/** A stream id or a window increment: 32 bits of which the first is reserved. */
export function readUint31(bytes: Uint8Array, at: number): number {
  return (((bytes[at] as number) & 0x7f) << 24) | readUint24(bytes, at + 1);
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Writes the nine bytes in front of a frame's payload of `length` bytes. */
export function writeFrameHeader(
  bytes: Uint8Array,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): void {
  bytes[at] = length >>> 16;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = type;
  bytes[at + 4] = flags;
  writeUint32(bytes, at + 5, streamId);
}
