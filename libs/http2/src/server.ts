import { createServer as createNetServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { Authorise, GrpcMethod } from "@millrace/runtime";
import { Connection } from "./connection.ts";
import { acceptCall, type GrpcOptions } from "./grpc.ts";
import { Inflater } from "./inflater.ts";
import { type Limits, withDefaults } from "./limits.ts";
import type { Transport } from "./outlet.ts";
import { BlockPool } from "./output.ts";
import { RequestMemory } from "./request-memory.ts";

/** PEM texts. With `requestClientCertificate`, who has no certificate that `ca` signed is not let in. */
export interface TlsOptions {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
  readonly requestClientCertificate?: boolean;
}

export interface GrpcServerOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly methods: readonly GrpcMethod[];
  /** Asked before anything of a request's body is kept. */
  readonly authorise: Authorise;
  /** Largest message of a request, also when it is inflated. */
  readonly requestBytesMax: number;
  /** Called with errors that are no RpcError: defects, which callers see as INTERNAL without details. */
  readonly onDefect: (path: string, error: unknown) => void;
  /** null: plaintext. */
  readonly tls: TlsOptions | null;
  readonly limits?: Partial<Limits>;
}

export interface GrpcServer {
  readonly port: number;
  /** Takes no new calls and lets those under way finish, up to the deadline. */
  stop(deadlineMs: number): Promise<void>;
}

const SWEEP_MS = 1_000;
/** For a client to read what was said to it last. */
const LINGER_MS = 1_000;
/** What Node reads from a socket at most at a time, and how long a socket may be served before others are. */
const CHUNK_BYTES = 65_536;
const TURN_MS = 1;
/** RFC 9113 section 9.2.2: with TLS 1.2, ephemeral keys and authenticated encryption only. */
const CIPHERS = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
].join(":");

/** Starts a gRPC server. Throws when the port is taken, a limit is none, or the certificate cannot be used. */
export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const limits = withDefaults(options.limits ?? {});
  const pool = new BlockPool();
  const connections = new Map<Socket, Connection>();
  const now = (): number => performance.now();
  const grpc: GrpcOptions = {
    methods: new Map(options.methods.map((method) => [method.path, method])),
    authorise: options.authorise,
    requestBytesMax: options.requestBytesMax,
    headerListBytesMax: limits.headerListBytesMax,
    memory: new RequestMemory(limits.requestBytesHeldMax),
    inflater: new Inflater(options.requestBytesMax),
    onDefect: options.onDefect,
    now,
  };
  const serve = (socket: Socket): void => {
    const connection = new Connection({
      transport: transport(socket),
      limits,
      pool,
      now,
      accept: (stream, request) => acceptCall(grpc, stream, request),
      onDefect: (error) => options.onDefect("connection", error),
    });
    connections.set(socket, connection);
    socket.setNoDelay(true);
    socket.on("data", (chunk) => {
      if (chunk.length < CHUNK_BYTES) return connection.receive(chunk);
      const { views } = grpc.memory;
      const begin = now();
      connection.receive(chunk);
      if (now() - begin > TURN_MS) takeTurns(socket);
      if (grpc.memory.views === views) release(chunk);
    });
    socket.on("drain", () => connection.resume());
    // A broken connection is the client's business; what its calls need follows from "close".
    socket.on("error", () => {});
    socket.on("close", () => {
      connections.delete(socket);
      connection.lost();
    });
  };
  const server = options.tls === null ? createNetServer(serve) : tlsServer(options.tls, limits, serve);
  server.maxConnections = limits.connectionsMax;
  // All of them, also those that are still in their TLS handshake.
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  const port = await listen(server, options);
  const sweep = setInterval(() => {
    for (const connection of connections.values()) connection.sweep();
  }, SWEEP_MS);
  sweep.unref();
  let stopping: Promise<void> | null = null;
  const stop = async (deadlineMs: number): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const connection of connections.values()) connection.goAway();
    const force = setTimeout(() => {
      for (const socket of [...connections.keys(), ...sockets]) socket.destroy();
    }, deadlineMs);
    await closed;
    clearTimeout(force);
    clearInterval(sweep);
  };
  return {
    port,
    stop: (deadlineMs) => {
      stopping ??= stop(deadlineMs);
      return stopping;
    },
  };
}

async function listen(
  server: Server,
  options: { readonly host: string; readonly port: number },
): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: options.host, port: options.port }, () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server listens on no port");
  return address.port;
}

function tlsServer(tls: TlsOptions, limits: Limits, serve: (socket: Socket) => void): Server {
  const mustAuthenticate = tls.requestClientCertificate === true;
  const server = createTlsServer(
    {
      cert: tls.cert,
      key: tls.key,
      ...(tls.ca === undefined ? {} : { ca: tls.ca }),
      requestCert: mustAuthenticate,
      rejectUnauthorized: mustAuthenticate,
      ALPNProtocols: ["h2"],
      minVersion: "TLSv1.2",
      ciphers: CIPHERS,
      handshakeTimeout: limits.handshakeMs,
    },
    (socket: TLSSocket) => {
      if (socket.alpnProtocol !== "h2") return void socket.destroy();
      socket.disableRenegotiation();
      serve(socket);
    },
  );
  // A client that fails the handshake is no event for the service.
  server.on("tlsClientError", (_error, socket) => void socket.destroy());
  return server;
}

/**
 * Node reads up to 32 chunks from one socket before it looks at the next. A chunk of many small calls takes milliseconds;
 * after such a one the other sockets have their turn.
 */
function takeTurns(socket: Socket): void {
  if (socket.isPaused()) return;
  socket.pause();
  setImmediate(() => {
    if (!isHeldBack(socket)) socket.resume();
  });
}

/**
 * Frees what was read and is not needed any more, now: left to the collector, the chunks of large messages make it search
 * the whole heap many times a second (measured with messages of 600 KB: five times the throughput).
 */
function release({ buffer, length }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === length) buffer.transfer(0);
}

/** Whether the client must read before more is read from it; see `Outlet`. */
function isHeldBack(socket: Socket): boolean {
  return socket.writableEnded || (socket.writableNeedDrain && socket.writableLength > 0);
}

function transport(socket: Socket): Transport {
  return {
    peer: `${socket.remoteAddress}:${socket.remotePort}`,
    write: (pieces) => {
      if (pieces.length > 1) socket.cork();
      for (const piece of pieces) socket.write(piece);
      if (pieces.length > 1) socket.uncork();
    },
    unsentBytes: () => socket.writableLength,
    isFull: () => isHeldBack(socket),
    pause: (isPaused) => void (isPaused ? socket.pause() : socket.resume()),
    end: (isAtFault) => {
      if (isAtFault) socket.pause();
      socket.end();
      setTimeout(() => socket.destroy(), LINGER_MS).unref();
    },
  };
}
