import type { Authorise, GrpcMethod } from "@millrace/runtime";
import type { CallServer } from "./call.ts";
import { fieldValue, type Request } from "./request.ts";
import { errorTrailers, type Failure, failure, isGrpcType, parseTimeout, plainHeaders } from "./status.ts";
import type { Stream, StreamReceiver } from "./stream.ts";
import { StreamCall } from "./stream-call.ts";
import { UnaryCall } from "./unary-call.ts";

export interface GrpcOptions extends CallServer {
  readonly methods: ReadonlyMap<string, GrpcMethod>;
  readonly authorise: Authorise;
  readonly headerListBytesMax: number;
  /** Monotonic clock, ms. */
  readonly now: () => number;
}

/** Serves a stream as a gRPC call, or refuses it before any of its body is kept. null: too many header fields. */
export function acceptCall(options: GrpcOptions, stream: Stream, request: Request | null): StreamReceiver {
  if (request === null)
    return new RefusedCall(
      stream,
      failure(
        "resourceExhausted",
        `the metadata has more than ${options.headerListBytesMax} bytes, with 32 for each entry`,
      ),
    );
  if (request.method !== "POST") return new PlainRefusal(stream, 405, "gRPC is called with POST\n");
  if (!isGrpcType(request.contentType))
    return new PlainRefusal(
      stream,
      415,
      "this port speaks gRPC: the content-type must be application/grpc\n",
    );
  const method = options.methods.get(request.path);
  const timeoutMs = request.timeout === "" ? null : parseTimeout(request.timeout);
  const error = refusal(options, request, method, timeoutMs);
  if (error !== null || method === undefined) return new RefusedCall(stream, error as Failure);
  const deadlineAt = timeoutMs === null ? null : options.now() + timeoutMs;
  return method.kind === "unary"
    ? new UnaryCall(stream, request, deadlineAt, options, method)
    : new StreamCall(stream, request, deadlineAt, options, method);
}

function refusal(
  options: GrpcOptions,
  request: Request,
  method: GrpcMethod | undefined,
  timeoutMs: number | null,
): Failure | null {
  const { path, encoding, timeout, fields } = request;
  if (timeout !== "" && timeoutMs === null)
    return failure("invalidArgument", "grpc-timeout: up to 8 digits and one of H, M, S, m, u, n expected");
  const error = options.authorise((name) => fieldValue(fields, name), path);
  if (error !== null) return error;
  if (method === undefined) return failure("unimplemented", `there is no method ${path}`);
  if (encoding !== "" && encoding !== "identity" && encoding !== "gzip")
    return failure("unimplemented", "grpc-encoding: identity or gzip expected");
  return null;
}

/** A stream whose answer does not depend on its body: that is let pass. */
abstract class Refusal implements StreamReceiver {
  readonly deadlineAt = null;
  protected readonly stream: Stream;

  constructor(stream: Stream) {
    this.stream = stream;
    stream.connection.done(stream);
  }

  abstract end(): void;

  data(_source: Uint8Array, from: number, to: number): void {
    this.stream.connection.allow(this.stream, to - from);
  }

  awaitsBody(): boolean {
    return true;
  }

  cancel(): void {}
  expire(): void {}
  drained(): void {}
}

class RefusedCall extends Refusal {
  constructor(stream: Stream, why: Failure) {
    super(stream);
    stream.connection.sendHeaders(stream, errorTrailers(why, true), true);
  }

  end(): void {}
}

/** Answers what is no gRPC, when it is complete, in a way that a person with curl understands. */
class PlainRefusal extends Refusal {
  readonly #status: number;
  readonly #body: Uint8Array;

  constructor(stream: Stream, status: number, text: string) {
    super(stream);
    this.#status = status;
    this.#body = Buffer.from(text);
  }

  end(): void {
    const { connection } = this.stream;
    connection.sendHeaders(this.stream, plainHeaders(this.#status, this.#body.length), false);
    connection.sendBody(this.stream, this.#body);
    connection.sendTrailers(this.stream, new Uint8Array(0));
  }
}
