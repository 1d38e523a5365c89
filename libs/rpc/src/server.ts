import { once } from "node:events";
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import {
  type Authorise,
  type GrpcCall,
  type GrpcMethod,
  type GrpcStreamMethod,
  type GrpcUnaryMethod,
  methodsOf,
  RpcError,
  type ServedService,
  STATUS_CODES,
  type TlsTexts,
} from "@millrace/runtime";

export interface RpcServer {
  readonly port: number;
  /** Lets calls in flight finish, up to the deadline. */
  stop(deadlineMs: number): Promise<void>;
}

export interface RpcServerOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly services: readonly ServedService[];
  /** Methods on message bytes, beside those of the services. */
  readonly methods?: readonly GrpcMethod[];
  readonly authorise: Authorise;
  /** Without it the port is plaintext. */
  readonly tls?: TlsTexts;
  /** Largest request in bytes. */
  readonly requestBytesMax: number;
  /** Called with errors that are no RpcError: defects, which callers see as INTERNAL without details. */
  readonly onDefect: (method: string, error: unknown) => void;
}

const bytesAsTheyAre = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Starts a gRPC server. Throws when the port is taken. */
export async function startRpcServer(options: RpcServerOptions): Promise<RpcServer> {
  const { authorise } = options;
  const server = new Server({
    "grpc.max_receive_message_length": options.requestBytesMax,
    "grpc.max_concurrent_streams": 1_000,
    // Bookkeeping for each call that nobody reads.
    "grpc.enable_channelz": 0,
  });
  const methods = [...options.services.flatMap((served) => methodsOf(served)), ...(options.methods ?? [])];
  const definition: ServiceDefinition = Object.fromEntries(
    methods.map(({ path, kind }) => [
      path,
      {
        path,
        requestStream: kind === "stream",
        responseStream: kind === "stream",
        requestSerialize: bytesAsTheyAre,
        requestDeserialize: (bytes: Buffer) => bytes,
        responseSerialize: bytesAsTheyAre,
        responseDeserialize: (bytes: Buffer) => bytes,
      },
    ]),
  );
  const implementation: UntypedServiceImplementation = Object.fromEntries(
    methods.map((method) => [
      method.path,
      method.kind === "unary"
        ? unary(method, authorise, options.onDefect)
        : stream(method, authorise, options.onDefect),
    ]),
  );
  server.addService(definition, implementation);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${options.host}:${options.port}`, credentialsOf(options.tls), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    port,
    stop: (deadlineMs) =>
      new Promise((resolve) => {
        const force = setTimeout(() => server.forceShutdown(), deadlineMs);
        server.tryShutdown(() => {
          clearTimeout(force);
          resolve();
        });
      }),
  };
}

function credentialsOf(tls: TlsTexts | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const pair = { cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) };
  return tls.ca === undefined
    ? ServerCredentials.createSsl(null, [pair])
    : ServerCredentials.createSsl(Buffer.from(tls.ca), [pair], true);
}

type OnDefect = RpcServerOptions["onDefect"];
type AnyCall = ServerUnaryCall<Buffer, Uint8Array> | ServerDuplexStream<Buffer, Uint8Array>;

function unary(
  { path, handle }: GrpcUnaryMethod,
  authorise: Authorise,
  onDefect: OnDefect,
): (call: ServerUnaryCall<Buffer, Uint8Array>, callback: sendUnaryData<Uint8Array>) => void {
  return (call, callback) => {
    const own = callOf(call);
    const refused = authorise(own.metadata, path);
    if (refused !== null) return callback(statusOf(path, refused, onDefect));
    try {
      handle(call.request, own, (error, response) =>
        error === null ? callback(null, response) : callback(statusOf(path, error, onDefect)),
      );
    } catch (error) {
      callback(statusOf(path, error, onDefect));
    }
  };
}

function stream(
  { path, handle }: GrpcStreamMethod,
  authorise: Authorise,
  onDefect: OnDefect,
): (call: ServerDuplexStream<Buffer, Uint8Array>) => void {
  return (call) => {
    const own = callOf(call);
    const run = async (): Promise<void> => {
      const refused = authorise(own.metadata, path);
      if (refused !== null) throw refused;
      for await (const response of handle(requestsOf(call), own)) {
        if (own.isCancelled()) return;
        if (!call.write(response)) await drained(call);
      }
      call.end();
    };
    run().catch((error: unknown) => {
      if (!own.isCancelled()) call.emit("error", statusOf(path, error, onDefect));
    });
  };
}

/** The requests of a stream. A handler that reads no further leaves the stream open for its answers. */
function requestsOf(call: ServerDuplexStream<Buffer, Uint8Array>): AsyncIterable<Buffer> {
  const requests = call[Symbol.asyncIterator]();
  return { [Symbol.asyncIterator]: () => ({ next: () => requests.next() }) };
}

async function drained(call: ServerDuplexStream<Buffer, Uint8Array>): Promise<void> {
  const done = new AbortController();
  const { signal } = done;
  await Promise.race([once(call, "drain", { signal }), once(call, "cancelled", { signal })]);
  done.abort();
}

function callOf(call: AnyCall): GrpcCall {
  const deadline = call.getDeadline();
  const deadlineMs = deadline instanceof Date ? deadline.getTime() : deadline;
  return {
    metadata: (name) => call.metadata.get(name)[0]?.toString(),
    deadlineAt: Number.isFinite(deadlineMs) ? performance.now() + deadlineMs - Date.now() : null,
    peer: call.getPeer(),
    isCancelled: () => call.cancelled,
  };
}

function statusOf(
  path: string,
  error: unknown,
  onDefect: OnDefect,
): Error & { code: number; metadata: Metadata } {
  const metadata = new Metadata();
  if (error instanceof RpcError) {
    if (error.retryAfterMs !== undefined)
      metadata.set("grpc-retry-pushback-ms", String(Math.ceil(error.retryAfterMs)));
    return Object.assign(new Error(error.message), {
      code: STATUS_CODES[error.code],
      details: error.message,
      metadata,
    });
  }
  onDefect(path.slice(1), error);
  const details = "internal error; the service's log has the cause";
  return Object.assign(new Error(details), { code: STATUS_CODES.internal, details, metadata });
}
