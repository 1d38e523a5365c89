import type { GrpcUnaryMethod } from "@millrace/runtime";
import { Call, type CallServer } from "./call.ts";
import type { Request } from "./request.ts";
import { type Failure, failure } from "./status.ts";
import type { Stream } from "./stream.ts";

const EMPTY = new Uint8Array(0);

/** A call with one message each way. No promise is made on its way. */
export class UnaryCall extends Call {
  readonly #method: GrpcUnaryMethod;
  #message: Uint8Array | null = null;
  #isCompressed = false;
  /** What the message lies in, where it is not where it came. */
  #memory: Uint8Array | null = null;
  #inflatedBytes = 0;
  /** The handler has begun and has not replied. */
  #isRunning = false;
  #isDone = false;

  constructor(
    stream: Stream,
    request: Request,
    deadlineAt: number | null,
    server: CallServer,
    method: GrpcUnaryMethod,
  ) {
    super(stream, request, deadlineAt, server);
    this.#method = method;
  }

  override data(source: Uint8Array, from: number, to: number): void {
    this.stream.connection.allow(this.stream, to - from);
    super.data(source, from, to);
  }

  message(bytes: Uint8Array, isCompressed: boolean, memory: Uint8Array | null): Failure | null {
    if (this.#message !== null) {
      if (memory !== null) this.server.memory.free(memory);
      return failure("unimplemented", "a unary call has more than one message");
    }
    this.#message = bytes;
    this.#memory = memory;
    this.#isCompressed = isCompressed;
    return null;
  }

  end(): void {
    const message = this.#message;
    if (this.reader.isWithin) this.fail(failure("internal", "the request ends within a message"));
    else if (message === null) this.fail(failure("unimplemented", "a unary call has no message"));
    else if (this.#isCompressed) this.#inflate(message);
    else this.#run(message);
  }

  awaitsBody(): boolean {
    return true;
  }

  drained(): void {
    // The trailers follow the message at once, so nobody waits for it.
  }

  protected stop(): void {
    if (!this.#isRunning) this.#done();
  }

  #inflate(message: Uint8Array): void {
    this.server.inflater.inflate(
      message,
      () => !this.isOver,
      (refusal, inflated) => {
        if (this.isOver) return;
        if (refusal !== null) return this.fail(refusal);
        if (!this.server.memory.reserve(inflated.length))
          return this.fail(failure("resourceExhausted", "too many bytes of requests are held"));
        this.#inflatedBytes = inflated.length;
        this.#run(inflated);
      },
    );
  }

  #run(message: Uint8Array): void {
    this.#isRunning = true;
    this.#message = null;
    try {
      this.#method.handle(message, this, (error, response) => this.#reply(error, response));
    } catch (error) {
      if (this.#isRunning) this.#reply(error, undefined);
      else this.server.onDefect(this.#method.path, error);
    }
  }

  #reply(error: unknown, response: Uint8Array | undefined): void {
    if (!this.#isRunning) {
      this.server.onDefect(this.#method.path, new Error("a handler replied more than once"));
      return;
    }
    this.#isRunning = false;
    if (!this.isOver && error !== null) this.failWith(error);
    else if (!this.isOver) {
      this.send(response ?? EMPTY);
      this.succeed();
    }
    this.#done();
  }

  /** The request's memory is free. */
  #done(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#message = null;
    this.reader.drop();
    // An answer that waits may be a view of the request, and then of its memory.
    if (this.#memory !== null && this.stream.queuedBytes > 0) this.server.memory.release(this.#memory.length);
    else if (this.#memory !== null) this.server.memory.free(this.#memory);
    this.server.memory.release(this.#inflatedBytes);
    this.stream.connection.done(this.stream);
  }
}
