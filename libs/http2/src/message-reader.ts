import { readUint32 } from "./frames.ts";
import type { RequestMemory } from "./request-memory.ts";
import { type Failure, failure } from "./status.ts";

const PREFIX_BYTES = 5;

/** Takes the messages of one call. */
export interface MessageSink {
  /**
   * A message. Where it was put together, `memory` is what it lies in, which the sink gives back when nobody reads it
   * any more; null: it lies where it came, and stays as it is. Answers why it cannot be taken; null: it is.
   */
  message(bytes: Uint8Array, isCompressed: boolean, memory: Uint8Array | null): Failure | null;
}

/**
 * Finds the length-prefixed messages of a gRPC call in the pieces of its body. A message that is in one piece is a view
 * of it; one that is not is put together in memory that it gets with its first byte, if there is enough left.
 */
export class MessageReader {
  readonly #sink: MessageSink;
  readonly #memory: RequestMemory;
  readonly #bytesMax: number;
  /** The prefix, as far as it is there, and what it says. */
  readonly #prefix: Uint8Array = new Uint8Array(PREFIX_BYTES);
  #prefixBytes = 0;
  #isCompressed = false;
  #length = 0;
  /** The message, as far as it is there. */
  #buffer: Uint8Array | null = null;
  #bytes = 0;

  constructor(sink: MessageSink, memory: RequestMemory, bytesMax: number) {
    this.#sink = sink;
    this.#memory = memory;
    this.#bytesMax = bytesMax;
  }

  /** Whether a message has begun and is not complete. */
  get isWithin(): boolean {
    return this.#prefixBytes > 0;
  }

  /**
   * Reads `source[from, to)`. Answers why the messages cannot be taken, after which the reader is of no more use; null
   * while they can.
   */
  read(source: Uint8Array, from: number, to: number): Failure | null {
    let at = from;
    while (at < to) {
      if (this.#prefixBytes === 0 && to - at >= PREFIX_BYTES) {
        const refusal = this.#begin(source, at);
        if (refusal !== null) return refusal;
        at += PREFIX_BYTES;
      } else if (this.#prefixBytes < PREFIX_BYTES) {
        this.#prefix[this.#prefixBytes++] = source[at++] as number;
        if (this.#prefixBytes < PREFIX_BYTES) continue;
        const refusal = this.#begin(this.#prefix, 0);
        if (refusal !== null) return refusal;
      }
      const size = Math.min(this.#length - this.#bytes, to - at);
      const refusal = this.#take(source, at, size);
      if (refusal !== null) return refusal;
      at += size;
    }
    return null;
  }

  /** Gives back what is held of a message that will not be completed. */
  drop(): void {
    if (this.#buffer !== null) this.#memory.free(this.#buffer);
    this.#buffer = null;
  }

  /** A length that is refused is refused before anything is kept. */
  #begin(prefix: Uint8Array, at: number): Failure | null {
    this.#prefixBytes = PREFIX_BYTES;
    const flag = prefix[at] as number;
    if (flag > 1) return failure("internal", `the message's flag is ${flag}: 0 or 1 expected`);
    this.#isCompressed = flag === 1;
    this.#length = readUint32(prefix, at + 1);
    return this.#length <= this.#bytesMax
      ? null
      : failure(
          "resourceExhausted",
          `the message has ${this.#length} bytes: at most ${this.#bytesMax} are taken`,
        );
  }

  /** The next `size` bytes of the message; all of them, if it can be. */
  #take(source: Uint8Array, from: number, size: number): Failure | null {
    if (size === this.#length) {
      this.#memory.views += 1;
      return this.#end(new Uint8Array(source.buffer, source.byteOffset + from, size), null);
    }
    if (size === 0) return null;
    this.#buffer ??= this.#memory.allocate(this.#length);
    const buffer = this.#buffer;
    if (buffer === null) return failure("resourceExhausted", "too many bytes of requests are held");
    buffer.set(source.subarray(from, from + size), this.#bytes);
    this.#bytes += size;
    if (this.#bytes < this.#length) return null;
    this.#buffer = null;
    return this.#end(new Uint8Array(buffer.buffer, buffer.byteOffset, this.#length), buffer);
  }

  // Messages are no Buffers, whose `slice` copies nothing: a handler that takes a copy so would keep a view.
  #end(message: Uint8Array, memory: Uint8Array | null): Failure | null {
    this.#prefixBytes = 0;
    this.#bytes = 0;
    return this.#sink.message(message, this.#isCompressed, memory);
  }
}
