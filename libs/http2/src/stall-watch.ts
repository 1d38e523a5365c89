import type { Limits } from "./limits.ts";
import type { Stream } from "./stream.ts";

/** Bytes of body within `stallMs` that are progress. */
const PROGRESS_BYTES = 1_024;

/** How a connection stands. */
export interface ConnectionState {
  readonly hasSettings: boolean;
  /** Which header block and which frame have begun and are not complete; 0: none. */
  readonly unfinishedBlock: number;
  readonly unfinishedFrame: number;
  /** Bytes of answers that wait, and bytes of them that have left so far. */
  readonly unreadBytes: number;
  readonly readBytes: number;
  readonly streams: ReadonlyMap<number, Stream>;
}

export interface Verdict {
  /** Why the connection is to end; null: it is not. */
  readonly fault: string | null;
  /** It has had no streams for long. */
  readonly isIdle: boolean;
  /** Streams whose body does not come. */
  readonly stalled: readonly Stream[];
}

/** Says from one look to the next what of a connection makes no progress. Looks say when things began. */
export class StallWatch {
  readonly #limits: Limits;
  readonly #openedAt: number;
  #busyAt: number;
  #block = 0;
  #blockAt = 0;
  #frame = 0;
  #frameAt = 0;
  #readBytes = 0;
  #readAt = 0;

  constructor(limits: Limits, now: number) {
    this.#limits = limits;
    this.#openedAt = now;
    this.#busyAt = now;
  }

  look(now: number, state: ConnectionState): Verdict {
    if (state.streams.size > 0) this.#busyAt = now;
    const stalled = [...state.streams.values()].filter((stream) => this.#isBodyStalled(stream, now));
    return { fault: this.#fault(now, state), isIdle: now - this.#busyAt > this.#limits.idleMs, stalled };
  }

  #fault(now: number, state: ConnectionState): string | null {
    const { handshakeMs, stallMs, unreadMs } = this.#limits;
    if (state.unfinishedBlock === 0 || state.unfinishedBlock !== this.#block) this.#blockAt = now;
    if (state.unfinishedFrame === 0 || state.unfinishedFrame !== this.#frame) this.#frameAt = now;
    if (state.unreadBytes === 0 || state.readBytes !== this.#readBytes) this.#readAt = now;
    this.#block = state.unfinishedBlock;
    this.#frame = state.unfinishedFrame;
    this.#readBytes = state.readBytes;
    if (!state.hasSettings && now - this.#openedAt > handshakeMs) return "no settings came";
    if (now - this.#blockAt > stallMs) return "a header block is not completed";
    if (now - this.#frameAt > stallMs) return "a frame is not completed";
    if (now - this.#readAt > unreadMs) return "the answers are not read";
    return null;
  }

  #isBodyStalled(stream: Stream, now: number): boolean {
    const isMoving = stream.received - stream.receivedThen >= PROGRESS_BYTES;
    if (stream.stalledAt === 0 || isMoving || stream.remoteClosed || !stream.receiver.awaitsBody()) {
      stream.stalledAt = now;
      stream.receivedThen = stream.received;
    }
    return now - stream.stalledAt > this.#limits.stallMs;
  }
}
