const BLOCK_BYTES = 65_536;
const SPARE_MAX = 16;

/** Blocks of memory for what goes out, shared by all connections: few are in use at any one time. */
export class BlockPool {
  readonly #spare: Uint8Array[] = [];

  take(): Uint8Array {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
  }

  /** Gives blocks back to whom nobody reads any more. */
  give(blocks: readonly Uint8Array[]): void {
    for (const block of blocks) {
      if (block.length === BLOCK_BYTES && this.#spare.length < SPARE_MAX) this.#spare.push(block);
    }
  }
}

const NONE = new Uint8Array(0);

/** What a connection is about to send: frames are written one behind the other and leave in few pieces. */
export class Output {
  /** Where frames are written: `bytes[at, at + size)` for the `at` that `reserve(size)` answered. */
  bytes: Uint8Array = NONE;
  #length = 0;
  #cutBytes = 0;
  readonly #pool: BlockPool;
  #blocks: Uint8Array[] = [];
  #pieces: Uint8Array[] = [];

  constructor(pool: BlockPool) {
    this.#pool = pool;
  }

  /** Bytes that were written and not taken. */
  get size(): number {
    return this.#cutBytes + this.#length;
  }

  /** Room for `size` bytes, which the caller fills at once. Afterwards `bytes` may be another block. */
  reserve(size: number): number {
    if (this.#length + size > this.bytes.length) this.#turn(size);
    const at = this.#length;
    this.#length += size;
    return at;
  }

  /** Takes what was written: the pieces to send, and the blocks that hold them. */
  take(): { readonly pieces: readonly Uint8Array[]; readonly blocks: readonly Uint8Array[] } {
    this.#cut();
    const taken = { pieces: this.#pieces, blocks: this.#blocks };
    this.#blocks = [];
    this.#pieces = [];
    this.#cutBytes = 0;
    return taken;
  }

  #turn(size: number): void {
    this.#cut();
    this.bytes = size > BLOCK_BYTES ? Buffer.allocUnsafeSlow(size) : this.#pool.take();
  }

  #cut(): void {
    if (this.bytes.length === 0) return;
    this.#blocks.push(this.bytes);
    if (this.#length > 0) this.#pieces.push(this.bytes.subarray(0, this.#length));
    this.#cutBytes += this.#length;
    this.bytes = NONE;
    this.#length = 0;
  }
}
