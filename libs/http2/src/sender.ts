import {
  FLAG,
  FRAME,
  FRAME_BYTES_MIN,
  FRAME_HEADER_BYTES,
  WINDOW_DEFAULT,
  WINDOW_MAX,
  writeFrameHeader,
  writeUint32,
} from "./frames.ts";
import type { Output } from "./output.ts";
import type { Stream } from "./stream.ts";

/** What a length-prefixed message of gRPC has in front: a flag and the length. */
const PREFIX_BYTES = 5;
/** Larger frames would only keep other streams waiting. */
const FRAME_BYTES_MAX = 32_768;
/** So much is written ahead of the socket; the rest waits where it is. */
const OUTPUT_BYTES_MAX = 262_144;

/**
 * The way out of a connection: bodies leave as the two windows of flow control (RFC 9113 section 5.2) and the socket
 * allow, one frame of each waiting stream after the other. Header blocks and control frames do not wait.
 */
export class Sender {
  /** What a new stream may send, by the client's settings. */
  initialWindow: number = WINDOW_DEFAULT;
  /** Bytes of bodies that wait, of all streams. */
  queuedBytes = 0;
  /** DATA frames so far, and their bytes. */
  frames = 0;
  sentBytes = 0;
  readonly #output: Output;
  readonly #onLastFrame: (stream: Stream) => void;
  /** Streams with a body that waits, and a window of their own that is open. */
  readonly #waiting = new Set<Stream>();
  #window = WINDOW_DEFAULT;
  #frameBytesMax = FRAME_BYTES_MIN;
  #isPaused = false;

  /** `onLastFrame` is told when a stream's last frame was written. */
  constructor(output: Output, onLastFrame: (stream: Stream) => void) {
    this.#output = output;
    this.#onLastFrame = onLastFrame;
  }

  headers(stream: Stream, block: Uint8Array, isLast: boolean): void {
    const at = this.#output.reserve(FRAME_HEADER_BYTES + block.length);
    const flags = isLast ? FLAG.endHeaders | FLAG.endStream : FLAG.endHeaders;
    writeFrameHeader(this.#output.bytes, at, block.length, FRAME.headers, flags, stream.id);
    this.#output.bytes.set(block, at + FRAME_HEADER_BYTES);
    if (isLast) this.#onLastFrame(stream);
  }

  /** A gRPC message: in one frame at once where it may, or it waits. It must stay as it is until it has left. */
  message(stream: Stream, message: Uint8Array): void {
    const length = PREFIX_BYTES + message.length;
    const mayLeave =
      !this.#isBlocked() &&
      stream.queuedBytes === 0 &&
      length <= this.#frameBytesMax &&
      length <= this.#window &&
      length <= stream.sendWindow;
    if (!mayLeave) {
      const prefix = new Uint8Array(PREFIX_BYTES);
      writeUint32(prefix, 1, message.length);
      this.body(stream, [prefix, message]);
      return;
    }
    const at = this.#frame(stream, length);
    const bytes = this.#output.bytes;
    bytes[at] = 0;
    writeUint32(bytes, at + 1, message.length);
    bytes.set(message, at + PREFIX_BYTES);
  }

  /** Bytes of a body. They must stay as they are until they have left. */
  body(stream: Stream, pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) {
      if (piece.length === 0) continue;
      stream.queue.push(piece);
      stream.queuedBytes += piece.length;
      this.queuedBytes += piece.length;
    }
    this.#await(stream);
    this.flow();
  }

  /** The stream's last header block, behind what waits; an empty one only ends the stream. */
  trailers(stream: Stream, block: Uint8Array): void {
    if (stream.queuedBytes > 0) {
      stream.trailers = block;
    } else if (block.length > 0) {
      this.headers(stream, block, true);
    } else {
      const at = this.#output.reserve(FRAME_HEADER_BYTES);
      writeFrameHeader(this.#output.bytes, at, 0, FRAME.data, FLAG.endStream, stream.id);
      this.#onLastFrame(stream);
    }
  }

  /** The socket takes no more for now, or does again. */
  pause(isPaused: boolean): void {
    this.#isPaused = isPaused;
    this.flow();
  }

  /** The client takes more, on all streams together. Answers false when the window grows beyond what may be. */
  widen(increment: number): boolean {
    this.#window += increment;
    this.flow();
    return this.#window <= WINDOW_MAX;
  }

  /** The same on one stream, or less where the client has changed its settings. */
  widenStream(stream: Stream, increment: number): boolean {
    stream.sendWindow += increment;
    this.#await(stream);
    this.flow();
    return stream.sendWindow <= WINDOW_MAX;
  }

  set frameBytesMax(value: number) {
    this.#frameBytesMax = Math.min(value, FRAME_BYTES_MAX);
  }

  /** The stream is gone, and what waits of it too. */
  drop(stream: Stream): void {
    this.#waiting.delete(stream);
    this.queuedBytes -= stream.queuedBytes;
    stream.queue = [];
    stream.queuedBytes = 0;
  }

  /** Sends what may leave: a frame of each stream in turn. A stream with more stands behind the others again. */
  flow(): void {
    for (const stream of this.#waiting) {
      if (this.#isBlocked() || this.#window <= 0) return;
      this.#waiting.delete(stream);
      this.#sendQueued(stream);
      this.#await(stream);
    }
  }

  #isBlocked(): boolean {
    return this.#isPaused || this.#output.size >= OUTPUT_BYTES_MAX;
  }

  #await(stream: Stream): void {
    if (stream.queuedBytes > 0 && stream.sendWindow > 0) this.#waiting.add(stream);
    else this.#waiting.delete(stream);
  }

  /** One frame of what waits. */
  #sendQueued(stream: Stream): void {
    const length = Math.min(stream.queuedBytes, stream.sendWindow, this.#window, this.#frameBytesMax);
    let at = this.#frame(stream, length);
    for (let left = length; left > 0; ) {
      const piece = stream.queue[0] as Uint8Array;
      const size = Math.min(left, piece.length - stream.queueAt);
      this.#output.bytes.set(piece.subarray(stream.queueAt, stream.queueAt + size), at);
      at += size;
      left -= size;
      stream.queueAt += size;
      if (stream.queueAt < piece.length) continue;
      stream.queue.shift();
      stream.queueAt = 0;
    }
    stream.queuedBytes -= length;
    this.queuedBytes -= length;
    if (stream.queuedBytes > 0) return;
    if (stream.trailers !== null) this.trailers(stream, stream.trailers);
    else stream.receiver.drained();
  }

  /** Writes a DATA frame's header and answers where its `length` bytes go. */
  #frame(stream: Stream, length: number): number {
    const at = this.#output.reserve(FRAME_HEADER_BYTES + length);
    writeFrameHeader(this.#output.bytes, at, length, FRAME.data, FLAG.none, stream.id);
    this.#window -= length;
    stream.sendWindow -= length;
    this.frames += 1;
    this.sentBytes += length;
    return at + FRAME_HEADER_BYTES;
  }
}
