import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { formatInferBody, type InferLimits, parseInferBody } from "@millrace/open-inference";
import type { RpcServer } from "@millrace/rpc";
import { type Authorise, type CodeName, type GrpcCall, RpcError, type TlsTexts } from "@millrace/runtime";
import { asRpcError } from "./failure.ts";
import type { TextGenerator } from "./generate.ts";
import { requireControl, requireNoFiles, SERVER } from "./grpc.ts";
import type { Models } from "./models.ts";
import type { NodeLoad } from "./node-load.ts";
import type { Flags } from "./ofrep.ts";
import type { Predictor } from "./predict.ts";
import { restJson } from "./rest-json.ts";

export interface RestPorts {
  readonly predictor: Predictor;
  readonly models: Models;
  readonly generator: TextGenerator;
  readonly flags: Flags;
  readonly load: NodeLoad;
  readonly limits: InferLimits;
  readonly ready: () => boolean;
  readonly modelControl: boolean;
  readonly authorise: Authorise;
  /** Origins of web pages that may call; none by default. */
  readonly origins: readonly string[];
  readonly onDefect: (path: string, error: unknown) => void;
}

/** HTTP status by gRPC code, as Triton maps them where it has one. */
const STATUS: Readonly<Record<CodeName, number>> = {
  cancelled: 499,
  invalidArgument: 400,
  deadlineExceeded: 504,
  notFound: 404,
  permissionDenied: 403,
  resourceExhausted: 429,
  failedPrecondition: 400,
  aborted: 409,
  outOfRange: 400,
  unimplemented: 501,
  internal: 500,
  unavailable: 503,
  unauthenticated: 401,
};
const HEADER_LENGTH = "inference-header-content-length";
const BODY_MS = 30_000;
const HEADERS_MS = 10_000;
const HEADER_BYTES_MAX = 16_384;
const CONNECTIONS_MAX = 1_000;

/** One request and what is needed to answer it. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly call: GrpcCall;
  /** Of the path, decoded once. */
  readonly model: string;
  readonly version: string;
}

type Route = readonly [
  method: "GET" | "POST",
  path: RegExp,
  handle: (exchange: Exchange, ports: RestPorts) => Promise<void> | void,
];

const MODEL = "/v2/models/(?<model>[^/]+)(?:/versions/(?<version>[^/]+))?";

/** The Open Inference Protocol over HTTP: paths of the specification, of Triton's extensions, and OpenFeature's remote one. */
const ROUTES: readonly Route[] = [
  ["GET", /^\/v2\/?$/, ({ response }) => answer(response, 200, SERVER)],
  ["GET", /^\/v2\/health\/live$/, ({ response }) => answer(response, 200, { live: true })],
  [
    "GET",
    /^\/v2\/health\/ready$/,
    ({ response }, { ready }) => answer(response, ready() ? 200 : 503, { ready: ready() }),
  ],
  ["GET", /^\/v2\/models\/stats$/, ({ response }, { models }) => statistics(response, models, "", "")],
  [
    "GET",
    new RegExp(`^${MODEL}$`),
    async ({ response, model, version }, { models }) =>
      answer(response, 200, restJson(await models.metadata(model, version))),
  ],
  [
    "GET",
    new RegExp(`^${MODEL}/ready$`),
    ({ response, model, version }, { models }) => {
      const ready = models.isReady(model, version);
      answer(response, ready ? 200 : 503, { name: model, ready });
    },
  ],
  [
    "GET",
    new RegExp(`^${MODEL}/config$`),
    async ({ response, model, version }, { models }) =>
      answer(response, 200, restJson(await models.config(model, version))),
  ],
  [
    "GET",
    new RegExp(`^${MODEL}/stats$`),
    ({ response, model, version }, { models }) => statistics(response, models, model, version),
  ],
  ["POST", new RegExp(`^${MODEL}/infer$`), infer],
  ["POST", new RegExp(`^${MODEL}/generate$`), generate],
  ["POST", new RegExp(`^${MODEL}/generate_stream$`), generateStream],
  [
    "POST",
    /^\/v2\/repository\/index$/,
    async ({ request, response }, { models }) => {
      const body = await jsonBody(request, 10_000);
      answer(response, 200, models.index((body as { ready?: unknown } | null)?.ready === true));
    },
  ],
  [
    "POST",
    /^\/v2\/repository\/models\/(?<model>[^/]+)\/load$/,
    async ({ request, response, model }, { models }) => {
      const body = await jsonBody(request, 1_000_000);
      requireNoFiles((body as { parameters?: unknown } | null)?.parameters);
      await models.load(model);
      answer(response, 200, {});
    },
  ],
  [
    "POST",
    /^\/v2\/repository\/models\/(?<model>[^/]+)\/unload$/,
    async ({ response, model }, { models, modelControl }) => {
      requireControl(modelControl);
      await models.unload(model);
      answer(response, 200, {});
    },
  ],
  [
    "POST",
    /^\/ofrep\/v1\/evaluate\/flags(?:\/(?<model>[^/]+))?$/,
    async ({ request, response, model }, { flags }) => {
      const body = await jsonBody(request, 100_000);
      const { status, json, etag } = flags.evaluate(
        model === "" ? null : model,
        body,
        request.headers["if-none-match"],
      );
      if (etag !== null) response.setHeader("etag", etag);
      answer(response, status, json);
    },
  ],
];

/** Starts the REST port. Throws when it is taken. */
export async function startRestServer(
  host: string,
  port: number,
  ports: RestPorts,
  tls?: TlsTexts,
): Promise<RpcServer> {
  const limits = { requestTimeout: BODY_MS, headersTimeout: HEADERS_MS, maxHeaderSize: HEADER_BYTES_MAX };
  const handle: RequestListener = (request, response) => void route(request, response, ports);
  const server =
    tls === undefined
      ? createServer(limits, handle)
      : createTlsServer({ ...limits, ...tls, requestCert: tls.ca !== undefined }, handle);
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    stop: (deadlineMs) =>
      new Promise((resolve) => {
        const force = setTimeout(() => server.closeAllConnections(), deadlineMs);
        server.close(() => {
          clearTimeout(force);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

async function route(request: IncomingMessage, response: ServerResponse, ports: RestPorts): Promise<void> {
  const path = request.url?.split("?")[0] ?? "";
  try {
    if (allowOrigin(request, response, ports.origins)) return void response.writeHead(204).end();
    const call = callOf(request, response);
    const matches = ROUTES.flatMap(([method, pattern, handle]) => {
      const match = pattern.exec(path);
      return match === null ? [] : [{ method, match, handle }];
    });
    // Node leaves out the body of an answer to HEAD.
    const asked = request.method === "HEAD" ? "GET" : request.method;
    const found = matches.find(({ method }) => method === asked);
    if (found === undefined) {
      const allowed = matches.map(({ method }) => method).join(", ");
      if (allowed === "") throw new RpcError("notFound", "no such path: see GET /v2");
      response.setHeader("allow", allowed);
      return answer(response, 405, { error: `use ${allowed}` });
    }
    const isProbe = path.startsWith("/v2/health/");
    const refused = isProbe ? null : ports.authorise(call.metadata, path);
    if (refused !== null) throw refused;
    const { model, version } = found.match.groups ?? {};
    await found.handle({ request, response, call, model: decoded(model), version: decoded(version) }, ports);
  } catch (error) {
    failed(response, path, error, ports);
  }
}

async function infer(
  { request, response, call, model, version }: Exchange,
  { predictor, models, load, limits }: RestPorts,
): Promise<void> {
  const refused = load.refusal();
  if (refused !== null) throw refused;
  const body = await readBody(request, limits.messageBytes);
  const length = headerLength(request);
  const { request: asked, binary } = parseInferBody(body, {
    modelName: model,
    modelVersion: version,
    headerLength: length,
    inputs: length === 0 ? await models.inputs(model, version) : [],
    limits,
  });
  const answered = await new Promise<Parameters<typeof formatInferBody>[0]>((resolve, reject) => {
    predictor.infer(asked, call, (error, result) =>
      result === null ? reject(error as RpcError) : resolve(result),
    );
  });
  const { body: parts, headerLength: jsonLength } = formatInferBody(answered, binary);
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  response.writeHead(200, {
    "content-type": jsonLength === null ? "application/json" : "application/octet-stream",
    "content-length": bytes,
    ...(jsonLength === null ? {} : { [HEADER_LENGTH]: jsonLength }),
  });
  for (const part of parts) response.write(part);
  response.end();
}

async function generate(
  { request, response, call, model, version }: Exchange,
  { generator }: RestPorts,
): Promise<void> {
  const body = await jsonBody(request, 1_000_000);
  answer(response, 200, await generator.whole(model, version, body, call));
}

/** Server-sent events, one per token. An error after the first is an event, too: the status is gone. */
async function generateStream(
  { request, response, call, model, version }: Exchange,
  { generator, onDefect }: RestPorts,
): Promise<void> {
  const body = await jsonBody(request, 1_000_000);
  const events = generator.stream(model, version, body, call);
  let started = false;
  try {
    for await (const event of events) {
      if (!started)
        response.writeHead(200, {
          "content-type": "text/event-stream; charset=utf-8",
          "cache-control": "no-store",
        });
      started = true;
      if (!response.write(`data: ${JSON.stringify(event)}\n\n`)) await drained(response);
    }
  } catch (error) {
    if (!started) throw error;
    const known = asRpcError(error);
    if (known.code === "internal") onDefect(request.url ?? "", known.cause ?? known);
    response.write(`data: ${JSON.stringify({ error: known.message })}\n\n`);
  }
  response.end();
}

/** Resolves when more can be written, or when nobody reads any more. */
async function drained(response: ServerResponse): Promise<void> {
  if (response.destroyed) return;
  const done = new AbortController();
  const { signal } = done;
  await Promise.race([once(response, "drain", { signal }), once(response, "close", { signal })]);
  done.abort();
}

function statistics(response: ServerResponse, models: Models, name: string, version: string): void {
  answer(response, 200, restJson({ modelStats: models.statistics(name, version) }));
}

function callOf(request: IncomingMessage, response: ServerResponse): GrpcCall {
  return {
    metadata: (name) => {
      const value = request.headers[name];
      return Array.isArray(value) ? value[0] : value;
    },
    deadlineAt: null,
    peer: `${request.socket.remoteAddress}:${request.socket.remotePort}`,
    isCancelled: () => response.destroyed,
  };
}

/** Lets pages of the configured origins call; answers whether the request was but the question whether it may. */
function allowOrigin(
  request: IncomingMessage,
  response: ServerResponse,
  origins: readonly string[],
): boolean {
  const { origin } = request.headers;
  if (origin === undefined || !origins.includes(origin)) return false;
  response.setHeader("access-control-allow-origin", origin);
  response.setHeader("access-control-expose-headers", `${HEADER_LENGTH}, retry-after`);
  response.setHeader("vary", "origin");
  if (request.method !== "OPTIONS") return false;
  response.setHeader("access-control-allow-methods", "GET, POST");
  response.setHeader(
    "access-control-allow-headers",
    `authorization, content-type, traceparent, ${HEADER_LENGTH}`,
  );
  return true;
}

function headerLength(request: IncomingMessage): number | null {
  const text = request.headers[HEADER_LENGTH];
  if (text === undefined) return null;
  if (typeof text === "string" && /^\d{1,12}$/.test(text)) return Number(text);
  throw new RpcError("invalidArgument", `${HEADER_LENGTH}: expected the number of JSON bytes`);
}

async function jsonBody(request: IncomingMessage, bytesMax: number): Promise<unknown> {
  const body = await readBody(request, bytesMax);
  if (body.length === 0) return {};
  try {
    return JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw new RpcError("invalidArgument", `body: not JSON: ${(error as Error).message}`);
  }
}

/** Bytes of bodies that are being read, over all connections. */
let bodyBytes = 0;
const BODY_BYTES_MAX = 512 * 1024 * 1024;

/** A body that is longer than it may be. */
class BodyTooLong extends RpcError {
  constructor(bytesMax: number) {
    super("resourceExhausted", `body: more than ${bytesMax} bytes`);
  }
}

/** Reads a body of at most so many bytes; what says that it is longer is refused before it is read. */
async function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  if (Number(request.headers["content-length"] ?? 0) > bytesMax) throw new BodyTooLong(bytesMax);
  if (request.headers["content-encoding"] !== undefined) {
    throw new RpcError("unimplemented", "content-encoding: compressed bodies are not taken");
  }
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const part of request as AsyncIterable<Buffer>) {
      bytes += part.length;
      bodyBytes += part.length;
      if (bytes > bytesMax) throw new BodyTooLong(bytesMax);
      if (bodyBytes > BODY_BYTES_MAX) {
        throw RpcError.refusal("resourceExhausted", "too many bodies are being read: try again", 1_000);
      }
      parts.push(part);
    }
  } catch (error) {
    if (error instanceof RpcError) throw error;
    throw new RpcError("cancelled", "the caller has gone before the body was read", { cause: error });
  } finally {
    bodyBytes -= bytes;
  }
  return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
}

/** A part of the path, decoded once. */
function decoded(part: string | undefined): string {
  try {
    return decodeURIComponent(part ?? "");
  } catch {
    throw new RpcError("invalidArgument", "path: not percent-encoded UTF-8");
  }
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json" }).end(text);
}

function failed(response: ServerResponse, path: string, error: unknown, { onDefect }: RestPorts): void {
  const known = asRpcError(error);
  if (known.code === "internal") onDefect(path, known.cause ?? known);
  if (response.headersSent || response.destroyed) return void response.destroy();
  if (known.retryAfterMs !== undefined) {
    response.setHeader("retry-after", Math.max(1, Math.ceil(known.retryAfterMs / 1_000)));
  }
  // What is left of a body that was too long is not read.
  if (!response.req.complete) response.setHeader("connection", "close");
  answer(response, known instanceof BodyTooLong ? 413 : STATUS[known.code], { error: known.message });
}
