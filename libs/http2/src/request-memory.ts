/** Pieces are powers of two from this on, so that one that was given back fits the next message of about its size. */
const PIECE_BYTES_MIN = 4_096;
/** Kept of what was given back. */
const SPARE_BYTES_MAX = 16 * 1024 * 1024;

/**
 * The memory of the messages that a server cannot read where they came: those in pieces, and those that wait. It has a
 * bound for all connections together, and is used again: new memory costs more than what is copied into it.
 */
export class RequestMemory {
  /** Messages so far that are read where they came, in the bytes from the socket. */
  views = 0;
  readonly #bytesMax: number;
  readonly #spare: Uint8Array[] = [];
  #spareBytes = 0;
  #heldBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes that are in use now. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** A piece of at least `bytes` bytes; null when that is more than is left. */
  allocate(bytes: number): Uint8Array | null {
    const size = Math.max(PIECE_BYTES_MIN, 2 ** Math.ceil(Math.log2(bytes)));
    if (!this.reserve(size)) return null;
    const fitting = this.#spare.findLastIndex(({ length }) => length === size);
    if (fitting < 0) return Buffer.allocUnsafeSlow(size);
    this.#spareBytes -= size;
    return this.#spare.splice(fitting, 1)[0] as Uint8Array;
  }

  /** Gives back a piece that nobody reads any more. */
  free(piece: Uint8Array): void {
    this.release(piece.length);
    if (this.#spareBytes + piece.length > SPARE_BYTES_MAX) return;
    this.#spareBytes += piece.length;
    this.#spare.push(piece);
  }

  /** Counts bytes that are held elsewhere; false, and counts nothing, when they are more than is left. */
  reserve(bytes: number): boolean {
    if (this.#heldBytes + bytes > this.#bytesMax) return false;
    this.#heldBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#heldBytes -= bytes;
  }
}
