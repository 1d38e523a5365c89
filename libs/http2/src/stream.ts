import type { Connection } from "./connection.ts";

/** What serves one stream. None of it may throw. */
export interface StreamReceiver {
  /** Monotonic ms at which `expire` is called if the stream is still there; null: never. */
  readonly deadlineAt: number | null;
  /** The next bytes of the request's body, `source[from, to)`. They stay as they are as long as somebody holds them. */
  data(source: Uint8Array, from: number, to: number): void;
  /** The request is complete. */
  end(): void;
  /** The stream is gone before its answer was complete: reset, or its connection closed. */
  cancel(): void;
  expire(): void;
  /** Whether it is the client's turn to send more of the body. */
  awaitsBody(): boolean;
  /** What waited to be sent has left. */
  drained(): void;
}

/** State of a stream at both ends, RFC 9113 section 5.1. It is in the connection's table until both are closed. */
export class Stream {
  readonly id: number;
  readonly connection: Connection;
  receiver!: StreamReceiver;
  /** Whether the client, and whether this server, has sent its last frame. */
  remoteClosed = false;
  localClosed = false;
  /** Reset or lost with its connection: nothing that is sent on it goes anywhere. */
  isGone = false;
  /** Whether the receiver has ended its work. A cancelled stream counts as open until it has. */
  isDone = false;
  /** Bytes of body that the client may still send, and those that were used up since it was last told. */
  receiveWindow: number;
  used = 0;
  /** Bytes of body that came, and what `content-length` says that there will be; -1: nothing. */
  received = 0;
  contentLength: number;
  /** Since when no body comes although it should, and how much had come then. */
  stalledAt = 0;
  receivedThen = 0;
  /** Bytes of body that this server may still send. */
  sendWindow: number;
  /** Body that waits for a window or for the socket; `queueAt` bytes of the first piece have left. */
  queue: Uint8Array[] = [];
  queueAt = 0;
  queuedBytes = 0;
  /** The header block behind the queue; with it the stream ends. */
  trailers: Uint8Array | null = null;

  constructor(
    connection: Connection,
    id: number,
    receiveWindow: number,
    sendWindow: number,
    contentLength: number,
  ) {
    this.connection = connection;
    this.id = id;
    this.receiveWindow = receiveWindow;
    this.sendWindow = sendWindow;
    this.contentLength = contentLength;
  }
}
