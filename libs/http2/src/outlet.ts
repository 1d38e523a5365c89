import { type BlockPool, Output } from "./output.ts";
import { Sender } from "./sender.ts";
import type { Stream } from "./stream.ts";

/** The socket of a connection, as it needs one. */
export interface Transport {
  /** Address of the client. */
  readonly peer: string;
  write(pieces: readonly Uint8Array[]): void;
  /** Bytes that were written and that the operating system has not taken: their memory is in use. */
  unsentBytes(): number;
  /** Whether what was written is too much for now; `Connection.resume` is called when it no more is. */
  isFull(): boolean;
  /** Reads no more from the client, or does again. */
  pause(isPaused: boolean): void;
  /** Sends what was written, and closes. What a client at fault still sends is not read. */
  end(isAtFault: boolean): void;
}

/**
 * From frames to the socket: all that is written until the callback of the event loop that is under way has ended leaves
 * in one go. While the socket is full, bodies wait, and nothing more is read that would have to be answered.
 */
export class Outlet {
  readonly output: Output;
  readonly sender: Sender;
  readonly #transport: Transport;
  readonly #pool: BlockPool;
  #isScheduled = false;
  #isClosed = false;

  constructor(transport: Transport, pool: BlockPool, onLastFrame: (stream: Stream) => void) {
    this.#transport = transport;
    this.#pool = pool;
    this.output = new Output(pool);
    this.sender = new Sender(this.output, onLastFrame);
  }

  /** Whoever writes frames says so. */
  schedule(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      if (!this.#isClosed) this.#flush();
    });
  }

  /** The socket takes more again. */
  resume(): void {
    this.#transport.pause(false);
    this.sender.pause(false);
    this.schedule();
  }

  /** Sends what was written, and closes. */
  end(isAtFault: boolean): void {
    this.#flush();
    this.#isClosed = true;
    this.#transport.end(isAtFault);
  }

  /** The socket is gone. */
  lost(): void {
    this.#isClosed = true;
  }

  #flush(): void {
    while (this.output.size > 0) {
      const { pieces, blocks } = this.output.take();
      this.#transport.write(pieces);
      if (this.#transport.unsentBytes() === 0) this.#pool.give(blocks);
      else if (this.#transport.isFull()) {
        this.#transport.pause(true);
        this.sender.pause(true);
      }
      this.sender.flow();
    }
  }
}
