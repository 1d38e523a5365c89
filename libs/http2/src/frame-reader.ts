import {
  ConnectionError,
  ERROR,
  FLAG,
  FRAME,
  FRAME_BYTES_MIN,
  FRAME_HEADER_BYTES,
  PREFACE,
  protocolError,
  readUint24,
  readUint31,
} from "./frames.ts";

/** What takes the frames of a reader. It may throw, which ends the reading. */
export interface FrameSink {
  /** Whether nothing more is wanted. */
  isClosed(): boolean;
  /** A whole frame, other than DATA: its payload is `source[from, to)`, valid during the call. */
  frame(type: number, flags: number, streamId: number, source: Buffer, from: number, to: number): void;
  /** A DATA frame begins: `length` bytes count for flow control, of which `bodyLength` are no padding. */
  dataBegin(flags: number, streamId: number, length: number, bodyLength: number): void;
  /** The next bytes of its body, `source[from, to)`: they stay as they are as long as somebody holds them. */
  data(source: Buffer, from: number, to: number): void;
  dataEnd(): void;
}

/** Room for what is held of a frame at first. */
const HELD_BYTES = 64;

/** Finds the frames in what a client sends. Only the beginning of a frame that is not there as a whole is copied. */
export class FrameReader {
  readonly #sink: FrameSink;
  #prefaceAt = 0;
  /** The beginning of a frame: `heldBytes` of the `needed` ones. */
  #held: Buffer = Buffer.alloc(HELD_BYTES);
  #heldBytes = 0;
  #needed = 0;
  /** Within a DATA frame: bytes of body and of padding that are to come. */
  #isInData = false;
  #bodyLeft = 0;
  #paddingLeft = 0;
  #frames = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Number of the frame that has begun and is not complete; 0 when there is none. */
  get unfinished(): number {
    return this.#heldBytes > 0 || this.#isInData ? this.#frames + 1 : 0;
  }

  /** Throws a ConnectionError when the bytes are no frames, and what the sink throws. */
  read(chunk: Buffer): void {
    let at = this.#prefaceAt < PREFACE.length ? this.#preface(chunk) : 0;
    while (at < chunk.length && !this.#sink.isClosed()) {
      if (this.#isInData) at = this.#payload(chunk, at);
      else if (this.#heldBytes > 0) at = this.#complete(chunk, at);
      else {
        const needed = needs(chunk, at, chunk.length - at);
        if (needed <= chunk.length - at) at += this.#frame(chunk, at, needed);
        else at = this.#hold(chunk, at, needed);
      }
    }
  }

  #preface(chunk: Buffer): number {
    const length = Math.min(PREFACE.length - this.#prefaceAt, chunk.length);
    for (let i = 0; i < length; i++) {
      if (chunk[i] !== PREFACE[this.#prefaceAt + i])
        throw protocolError("this port speaks HTTP/2 with prior knowledge only");
    }
    this.#prefaceAt += length;
    return length;
  }

  #hold(chunk: Buffer, at: number, needed: number): number {
    if (needed > this.#held.length) {
      const larger = Buffer.alloc(needed);
      larger.set(this.#held.subarray(0, this.#heldBytes));
      this.#held = larger;
    }
    this.#needed = needed;
    const size = Math.min(needed - this.#heldBytes, chunk.length - at);
    this.#held.set(chunk.subarray(at, at + size), this.#heldBytes);
    this.#heldBytes += size;
    return at + size;
  }

  #complete(chunk: Buffer, from: number): number {
    const at = this.#hold(chunk, from, this.#needed);
    if (this.#heldBytes < this.#needed) return at;
    this.#needed = needs(this.#held, 0, this.#heldBytes);
    if (this.#heldBytes < this.#needed) return at;
    const held = this.#held;
    this.#heldBytes = 0;
    this.#held = Buffer.alloc(HELD_BYTES);
    this.#frame(held, 0, this.#needed);
    return at;
  }

  /** Hands on the frame, or what comes before a DATA frame's body, in `source[at, at + size)`. Answers `size`. */
  #frame(source: Buffer, at: number, size: number): number {
    const length = readUint24(source, at);
    const type = source[at + 3] as number;
    const flags = source[at + 4] as number;
    const streamId = readUint31(source, at + 5);
    if (type !== FRAME.data) {
      this.#frames += 1;
      this.#sink.frame(type, flags, streamId, source, at + FRAME_HEADER_BYTES, at + size);
      return size;
    }
    const padLength = size - FRAME_HEADER_BYTES;
    this.#paddingLeft = padLength === 0 ? 0 : (source[at + FRAME_HEADER_BYTES] as number);
    this.#bodyLeft = length - padLength - this.#paddingLeft;
    if (this.#bodyLeft < 0) throw protocolError("a frame has more padding than payload");
    this.#isInData = true;
    this.#sink.dataBegin(flags, streamId, length, this.#bodyLeft);
    if (this.#bodyLeft + this.#paddingLeft === 0) this.#dataEnd();
    return size;
  }

  #payload(chunk: Buffer, from: number): number {
    const to = Math.min(chunk.length, from + this.#bodyLeft);
    const end = Math.min(chunk.length, to + this.#paddingLeft);
    this.#bodyLeft -= to - from;
    if (to > from) this.#sink.data(chunk, from, to);
    if (this.#bodyLeft > 0) return end;
    this.#paddingLeft -= end - to;
    if (this.#paddingLeft === 0) this.#dataEnd();
    return end;
  }

  #dataEnd(): void {
    this.#isInData = false;
    this.#frames += 1;
    this.#sink.dataEnd();
  }
}

/**
 * How many bytes from `at` on must be there before anything is done with the frame, of which `available` are: those up
 * to its end, or for DATA those up to its body.
 */
function needs(source: Buffer, at: number, available: number): number {
  if (available < FRAME_HEADER_BYTES) return FRAME_HEADER_BYTES;
  const length = readUint24(source, at);
  if (length > FRAME_BYTES_MIN)
    throw new ConnectionError(
      ERROR.frameSizeError,
      `a frame may have ${FRAME_BYTES_MIN} bytes, not ${length}`,
    );
  if (source[at + 3] !== FRAME.data) return FRAME_HEADER_BYTES + length;
  if (((source[at + 4] as number) & FLAG.padded) === 0) return FRAME_HEADER_BYTES;
  if (length === 0) throw new ConnectionError(ERROR.frameSizeError, "a padded frame is empty");
  return FRAME_HEADER_BYTES + 1;
}
