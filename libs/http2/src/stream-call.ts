import { type GrpcStreamMethod, RpcError } from "@millrace/runtime";
import { Call, type CallServer } from "./call.ts";
import type { Request } from "./request.ts";
import { type Failure, failure } from "./status.ts";
import type { Stream } from "./stream.ts";

const TOO_MUCH = failure("resourceExhausted", "too many bytes of requests are held");

/** A message that the handler has not asked for. */
interface Waiting {
  readonly bytes: Uint8Array;
  readonly isCompressed: boolean;
  /** Gives back what it is held in. */
  readonly free: () => void;
}

/**
 * A call with any number of messages each way. The client may send more as the handler asks for more, and the handler
 * is asked for more as the client reads.
 */
export class StreamCall extends Call {
  readonly #waiting: Waiting[] = [];
  /** Bytes of body that the client may send again once nothing waits. */
  #usedBytes = 0;
  #isEnded = false;
  /** Wakes the handler, or this call, where it waits for the client. */
  #wakeRequests: () => void = () => {};
  #wakeAnswers: () => void = () => {};

  constructor(
    stream: Stream,
    request: Request,
    deadlineAt: number | null,
    server: CallServer,
    method: GrpcStreamMethod,
  ) {
    super(stream, request, deadlineAt, server);
    void this.#run(method);
  }

  override data(source: Uint8Array, from: number, to: number): void {
    super.data(source, from, to);
    this.#usedBytes += to - from;
    if (this.#waiting.length === 0) this.#allow();
  }

  message(bytes: Uint8Array, isCompressed: boolean, memory: Uint8Array | null): Failure | null {
    if (memory === null && !this.server.memory.reserve(bytes.length)) return TOO_MUCH;
    const free =
      memory === null
        ? () => this.server.memory.release(bytes.length)
        : () => this.server.memory.free(memory);
    this.#waiting.push({ bytes, isCompressed, free });
    this.#wakeRequests();
    return null;
  }

  end(): void {
    if (this.reader.isWithin) return this.fail(failure("internal", "the request ends within a message"));
    this.#isEnded = true;
    this.#wakeRequests();
  }

  awaitsBody(): boolean {
    return this.reader.isWithin && this.#waiting.length === 0;
  }

  drained(): void {
    this.#wakeAnswers();
  }

  protected stop(): void {
    this.#wakeRequests();
    this.#wakeAnswers();
  }

  async #run(method: GrpcStreamMethod): Promise<void> {
    try {
      for await (const answer of method.handle(this.#requests(), this)) {
        if (this.isOver) break;
        this.send(answer);
        while (this.stream.queuedBytes > 0 && !this.isOver) {
          await new Promise<void>((resolve) => {
            this.#wakeAnswers = resolve;
          });
        }
      }
      if (!this.isOver) this.succeed();
    } catch (error) {
      if (!this.isOver) this.failWith(error);
      else if (!(error instanceof RpcError)) this.server.onDefect(method.path, error);
    }
    this.reader.drop();
    for (const { free } of this.#waiting.splice(0)) free();
    this.stream.connection.done(this.stream);
  }

  /** The messages, each valid until the next one is asked for. Throws when the caller has gone. */
  async *#requests(): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.isOver) throw new RpcError("cancelled", "the caller has gone");
      const next = this.#waiting.shift();
      if (next !== undefined) {
        try {
          if (next.isCompressed) yield* this.#inflated(next.bytes);
          else yield next.bytes;
        } finally {
          next.free();
        }
        continue;
      }
      if (this.#isEnded) return;
      this.#allow();
      await new Promise<void>((resolve) => {
        this.#wakeRequests = resolve;
      });
    }
  }

  async *#inflated(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
    const message = await new Promise<Uint8Array>((resolve, reject) => {
      this.server.inflater.inflate(
        bytes,
        () => true,
        (refusal, inflated) => (refusal === null ? resolve(inflated) : reject(toError(refusal))),
      );
    });
    if (!this.server.memory.reserve(message.length)) throw toError(TOO_MUCH);
    try {
      yield message;
    } finally {
      this.server.memory.release(message.length);
    }
  }

  #allow(): void {
    this.stream.connection.allow(this.stream, this.#usedBytes);
    this.#usedBytes = 0;
  }
}

/** For a handler, which is told by what its requests throw. */
function toError({ code, message }: Failure): RpcError {
  return new RpcError(code, message);
}
