import {
  ConnectionError,
  ERROR,
  FLAG,
  FRAME,
  FRAME_BYTES_MIN,
  protocolError,
  readUint31,
  readUint32,
  SETTING,
  WINDOW_MAX,
} from "./frames.ts";

/** The largest frame that the protocol can have. */
const FRAME_BYTES_LIMIT = 0xff_ffff;
const SETTING_BYTES = 6;
const ON_CONNECTION: readonly number[] = [FRAME.settings, FRAME.ping, FRAME.goAway];
const ON_STREAM: readonly number[] = [FRAME.headers, FRAME.priority, FRAME.resetStream, FRAME.continuation];
const LENGTHS: Readonly<Record<number, number>> = {
  [FRAME.priority]: 5,
  [FRAME.resetStream]: 4,
  [FRAME.ping]: 8,
  [FRAME.windowUpdate]: 4,
};

/** Throws a ConnectionError when a frame is not where its type belongs, or has a wrong length: RFC 9113 section 6. */
export function checkForm(type: number, flags: number, streamId: number, length: number): void {
  if (type === FRAME.pushPromise) throw protocolError("a client pushes");
  if (streamId !== 0 && ON_CONNECTION.includes(type))
    throw protocolError(`frame type ${type} is on a stream`);
  if (streamId === 0 && ON_STREAM.includes(type)) throw protocolError(`frame type ${type} is on no stream`);
  const isAck = type === FRAME.settings && (flags & FLAG.ack) !== 0;
  const isWrong =
    length !== (LENGTHS[type] ?? length) ||
    (type === FRAME.settings && length % SETTING_BYTES !== 0) ||
    (isAck && length > 0) ||
    (type === FRAME.goAway && length < 8);
  if (isWrong) throw new ConnectionError(ERROR.frameSizeError, `frame type ${type} has ${length} bytes`);
}

/** What a client sets; undefined: it does not. */
export interface ClientSettings {
  readonly initialWindow: number | undefined;
  readonly frameBytesMax: number | undefined;
}

/** The settings in `source[from, to)` that matter here. Throws a ConnectionError when one has a wrong value. */
export function readSettings(source: Uint8Array, from: number, to: number): ClientSettings {
  let initialWindow: number | undefined;
  let frameBytesMax: number | undefined;
  for (let at = from; at < to; at += SETTING_BYTES) {
    const id = ((source[at] as number) << 8) | (source[at + 1] as number);
    const value = readUint32(source, at + 2);
    if (id === SETTING.enablePush && value > 1) throw protocolError("ENABLE_PUSH is neither 0 nor 1");
    if (id === SETTING.initialWindowSize) initialWindow = value;
    if (id === SETTING.initialWindowSize && value > WINDOW_MAX)
      throw new ConnectionError(ERROR.flowControlError, "INITIAL_WINDOW_SIZE is too large");
    if (id === SETTING.maxFrameSize) frameBytesMax = value;
    if (id === SETTING.maxFrameSize && (value < FRAME_BYTES_MIN || value > FRAME_BYTES_LIMIT))
      throw protocolError("MAX_FRAME_SIZE is out of range");
  }
  return { initialWindow, frameBytesMax };
}

/** RFC 9113 section 5.3.2: priorities are ignored, but must be well-formed. */
export function checkPriority(streamId: number, source: Uint8Array, at: number): void {
  if (readUint31(source, at) === streamId) throw protocolError("a stream depends on itself");
}
