/**
 * HTTP/2 for gRPC, from the wire to the handler: `frames.ts` constants and bytes of frames, `frame-reader.ts` finds the
 * frames in what a client sends, `frame-form.ts` says what each must look like, `huffman.ts` and `hpack.ts` decode header
 * fields, `header-blocks.ts` puts their blocks together, `request.ts` reads them, `stream.ts` and `connection.ts` keep the
 * protocol's state, `control-frames.ts`, `sender.ts`, `output.ts` and `outlet.ts` are the way out, `stall-watch.ts` and
 * `deadline-timer.ts` the clock, `message-reader.ts`, `request-memory.ts` and `inflater.ts` make messages of bodies,
 * `call.ts`, `unary-call.ts`, `stream-call.ts`, `status.ts` and `grpc.ts` are gRPC, `server.ts` opens the port,
 * `limits.ts` says what a client may cost.
 *
 * 1. What a client sends ends its call or its connection, never the process: nothing that is read can throw further
 *    than `Connection.receive`.
 * 2. Memory that a client makes the server hold is bounded before it is allocated: by a limit for each connection, or
 *    by one for all of them.
 * 3. Bytes that a handler may still read are not used again before it replies.
 * 4. A stream counts as open until its handler has ended, also when the client has reset it.
 * 5. A unary call makes no promise, and its header fields no objects: they are strings of the peer's table.
 */

export type { Limits } from "./limits.ts";
export { type GrpcServer, type GrpcServerOptions, startGrpcServer, type TlsOptions } from "./server.ts";
