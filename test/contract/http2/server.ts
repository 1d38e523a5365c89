import { readFileSync } from "node:fs";
import { type GrpcServerOptions, startGrpcServer } from "@millrace/http2";
import { RpcError } from "@millrace/runtime";

/**
 * A server as a process of its own, for strangers and attackers. Arguments: a port, and the paths of certificate, key
 * and authority for TLS with certificates of clients, or of the first two for TLS without. Prints its port.
 */
const [port, cert, key, ca] = process.argv.slice(2);

/** Calls of Hold whose callers have gone. */
let cancelled = 0;
const defects: string[] = [];

const methods: GrpcServerOptions["methods"] = [
  {
    kind: "unary",
    path: "/millrace.test.v1.Echo/Unary",
    handle: (request, _call, reply) => reply(null, new Uint8Array(request)),
  },
  {
    kind: "unary",
    path: "/millrace.test.v1.Echo/Fail",
    handle: (_request, _call, reply) =>
      reply(new RpcError("failedPrecondition", "größer als 100 %", { retryAfterMs: 250 })),
  },
  {
    kind: "unary",
    path: "/millrace.test.v1.Echo/Hold",
    handle: (_request, call, reply) => {
      const look = setInterval(() => {
        if (!call.isCancelled()) return;
        clearInterval(look);
        cancelled += 1;
        reply(null);
      }, 5);
    },
  },
  {
    kind: "unary",
    path: "/millrace.test.v1.Echo/Look",
    handle: (_request, _call, reply) => {
      const look = { cancelled, defects, rssBytes: process.memoryUsage.rss() };
      reply(null, Buffer.from(JSON.stringify(look)));
    },
  },
  {
    kind: "stream",
    path: "/millrace.test.v1.Echo/Chat",
    handle: async function* (requests) {
      for await (const request of requests) yield new Uint8Array(request);
    },
  },
];

const server = await startGrpcServer({
  host: "127.0.0.1",
  port: Number(port),
  methods,
  authorise: () => null,
  requestBytesMax: 8 * 1024 * 1024,
  onDefect: (path, error) => void defects.push(`${path}: ${error}`),
  tls:
    cert === undefined || key === undefined
      ? null
      : {
          cert: readFileSync(cert, "utf8"),
          key: readFileSync(key, "utf8"),
          ...(ca === undefined ? {} : { ca: readFileSync(ca, "utf8"), requestClientCertificate: true }),
        },
  limits: {
    requestBytesHeldMax: 64 * 1024 * 1024,
    answerBytesHeldMax: 16 * 1024 * 1024,
    stallMs: 2_000,
    unreadMs: 4_000,
  },
});
process.stdout.write(`${server.port}\n`);
process.once("SIGTERM", () => void server.stop(1_000));
