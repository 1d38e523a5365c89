import { type GrpcCall, RpcError } from "@millrace/runtime";
import type { Inflater } from "./inflater.ts";
import { MessageReader, type MessageSink } from "./message-reader.ts";
import { fieldValue, type Request } from "./request.ts";
import type { RequestMemory } from "./request-memory.ts";
import { errorTrailers, type Failure, failure, OK_TRAILERS, RESPONSE_HEADERS } from "./status.ts";
import type { Stream, StreamReceiver } from "./stream.ts";

/** What all calls of a server share. */
export interface CallServer {
  readonly requestBytesMax: number;
  readonly memory: RequestMemory;
  readonly inflater: Inflater;
  readonly onDefect: (path: string, error: unknown) => void;
}

/**
 * What calls of all kinds have in common: the request's messages are found, and one answer is given, or none when the
 * caller has gone. A class for each kind says what becomes of the messages.
 */
export abstract class Call implements GrpcCall, MessageSink, StreamReceiver {
  readonly deadlineAt: number | null;
  protected readonly stream: Stream;
  protected readonly server: CallServer;
  protected readonly reader: MessageReader;
  readonly #request: Request;
  #hasHeaders = false;
  #isAnswered = false;
  #isCancelled = false;

  constructor(stream: Stream, request: Request, deadlineAt: number | null, server: CallServer) {
    this.stream = stream;
    this.server = server;
    this.deadlineAt = deadlineAt;
    this.#request = request;
    this.reader = new MessageReader(this, server.memory, server.requestBytesMax);
  }

  abstract message(bytes: Uint8Array, isCompressed: boolean, memory: Uint8Array | null): Failure | null;
  abstract end(): void;
  abstract awaitsBody(): boolean;
  abstract drained(): void;
  /** Nothing is sent any more: the kind ends what it does, now or when its handler lets it. */
  protected abstract stop(): void;

  get peer(): string {
    return this.stream.connection.peer;
  }

  metadata(name: string): string | undefined {
    return fieldValue(this.#request.fields, name);
  }

  isCancelled(): boolean {
    return this.#isCancelled;
  }

  data(source: Uint8Array, from: number, to: number): void {
    const refusal = this.reader.read(source, from, to);
    if (refusal !== null) this.fail(refusal);
  }

  cancel(): void {
    this.#isCancelled = true;
    this.stop();
  }

  expire(): void {
    this.#isCancelled = true;
    this.fail(failure("deadlineExceeded", "the deadline has passed"));
  }

  /** Whether nothing more is sent: the answer is complete, or goes nowhere. */
  protected get isOver(): boolean {
    return this.#isAnswered || this.#isCancelled;
  }

  protected send(message: Uint8Array): void {
    this.#sendHeaders();
    this.stream.connection.sendMessage(this.stream, message);
  }

  /** Ends the answer well. */
  protected succeed(): void {
    this.#sendHeaders();
    this.#isAnswered = true;
    this.stream.connection.sendTrailers(this.stream, OK_TRAILERS);
  }

  /** Ends the answer otherwise, once. */
  protected fail(why: Failure): void {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    const block = errorTrailers(why, !this.#hasHeaders);
    if (this.#hasHeaders) this.stream.connection.sendTrailers(this.stream, block);
    else this.stream.connection.sendHeaders(this.stream, block, true);
    this.stop();
  }

  /** The same for what a handler has thrown: what is no RpcError is a defect, whose text the caller does not see. */
  protected failWith(error: unknown): void {
    if (error instanceof RpcError) return this.fail(error);
    this.server.onDefect(this.#request.path, error);
    this.fail(failure("internal", "internal error; the service's log has the cause"));
  }

  #sendHeaders(): void {
    if (this.#hasHeaders) return;
    this.#hasHeaders = true;
    this.stream.connection.sendHeaders(this.stream, RESPONSE_HEADERS, false);
  }
}
