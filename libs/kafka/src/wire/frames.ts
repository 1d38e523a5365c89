import { ProtocolError } from "./byte-reader.ts";

/** More than any broker sends (its largest batch, and 8 MiB of others), less than what would hurt. */
const FRAME_BYTES_MAX = 128 * 1024 * 1024;
const SCRATCH_BYTES = 64 * 1024;

/**
 * Puts the responses together again, each of which comes after its length in four bytes, from whatever pieces arrive.
 * A socket can read into `room` straight away: most of a large response is then never copied.
 */
export class Frames {
  readonly #onFrame: (frame: Buffer) => void;
  readonly #length: Buffer = Buffer.alloc(4);
  #lengthBytes = 0;
  #frame: Buffer | null = null;
  #filled = 0;
  #scratch: Buffer | null = null;

  constructor(onFrame: (frame: Buffer) => void) {
    this.#onFrame = onFrame;
  }

  /** Where what arrives next is to be put: the rest of the frame, or a place of passage. */
  room(): Buffer {
    if (this.#frame !== null) return this.#frame.subarray(this.#filled);
    this.#scratch ??= Buffer.allocUnsafeSlow(SCRATCH_BYTES);
    return this.#scratch;
  }

  /** So many bytes have arrived in the last `room`. Throws a ProtocolError. */
  arrived(bytes: number): void {
    if (this.#frame !== null) this.#fill(bytes);
    else if (this.#scratch !== null) this.take(this.#scratch.subarray(0, bytes));
  }

  /** Takes a copy of what has arrived elsewhere. Throws a ProtocolError. */
  take(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#frame === null) {
        this.#length[this.#lengthBytes++] = chunk[at++] as number;
        if (this.#lengthBytes === 4) this.#begin(this.#length.readInt32BE());
      } else {
        const copied = chunk.copy(this.#frame, this.#filled, at);
        at += copied;
        this.#fill(copied);
      }
    }
  }

  #begin(length: number): void {
    if (length < 4 || length > FRAME_BYTES_MAX) {
      throw new ProtocolError(
        `a response of ${length} bytes: is that port Kafka's, and with or without TLS?`,
      );
    }
    this.#lengthBytes = 0;
    // Not from the pool: a view of a record keeps its frame alive, and should keep nothing else.
    this.#frame = Buffer.allocUnsafeSlow(length);
    this.#filled = 0;
  }

  #fill(bytes: number): void {
    const frame = this.#frame as Buffer;
    this.#filled += bytes;
    if (this.#filled < frame.length) return;
    this.#frame = null;
    this.#onFrame(frame);
  }
}
