import { readFile } from "node:fs/promises";
import { featureApi, REGISTRY_SUBJECT, registryApi } from "@millrace/contracts";
import { startGrpcServer } from "@millrace/http2";
import { createKafkaBroker, kafkaSettings } from "@millrace/kafka";
import { createAnnouncer } from "@millrace/nats";
import { createObjectStore } from "@millrace/objects";
import { createProver, loadModel, type Prover } from "@millrace/onnx";
import { createRpcClient, type RpcServer, startRpcServer } from "@millrace/rpc";
import {
  type Authorise,
  type Fail,
  type GrpcMethod,
  type Log,
  RpcError,
  type Service,
  systemClock,
  type TlsTexts,
  withDeadline,
} from "@millrace/runtime";
import { verifyModel } from "@millrace/signing";
import { type InferenceConfig, mebibytes } from "./config.ts";
import { startRestServer } from "./rest.ts";
import { buildInference, type InferencePorts } from "./service.ts";

const REGISTRY_MS = 3_000;
const CLOSE_MS = 1_500;
const PROOF_MS = 30_000;

/** The inference service on real servers. */
export function wire(config: InferenceConfig, log: Log, _fail: Fail): Service {
  const registry = createRpcClient(registryApi.RegistryService, config.MILLRACE_REGISTRY_URL, {
    token: config.MILLRACE_TOKEN,
    timeoutMs: REGISTRY_MS,
  });
  const announcer = createAnnouncer({
    url: config.MILLRACE_NATS_URL,
    token: config.MILLRACE_NATS_TOKEN,
    log,
  });
  const broker = createKafkaBroker(kafkaSettings("inference", config, log));
  const prover = createProver();
  const features = entityVectors(config);
  return buildInference(config, {
    source: {
      lines: async () => (await registry.listLines({})).lines,
      sets: async () => (await registry.getAspiredSet({ line: "" })).sets,
      onChange: (look) => announcer.subscribe(REGISTRY_SUBJECT, look),
    },
    objects: createObjectStore({
      url: config.MILLRACE_S3_URL,
      accessKey: config.MILLRACE_S3_ACCESS_KEY,
      secretKey: config.MILLRACE_S3_SECRET_KEY,
      bucket: config.MILLRACE_S3_BUCKET,
      log,
    }),
    broker,
    verify: verifiedBy(config.MILLRACE_TRUSTED_KEYS),
    prove: proven(prover, mebibytes(config.MILLRACE_INFERENCE_PROOF_MB)),
    loadModel: loadServed(log),
    entityVector: features.look,
    serve: async (methods, authorise) =>
      serveGrpc(methods, {
        tls: await tlsTexts(config),
        transport: config.MILLRACE_INFERENCE_TRANSPORT,
        host: config.MILLRACE_HOST,
        port: config.MILLRACE_INFERENCE_PORT,
        requestBytesMax: mebibytes(config.MILLRACE_INFERENCE_REQUEST_MB),
        authorise,
        log,
      }),
    serveRest: async (rest) =>
      startRestServer(
        config.MILLRACE_HOST,
        config.MILLRACE_INFERENCE_HTTP_PORT,
        rest,
        await tlsTexts(config),
      ),
    clock: systemClock,
    now: () => performance.now(),
    log,
    close: async () => {
      registry.close();
      features.close();
      const closing = Promise.all([announcer.stop(), broker.stop(), prover.stop()]);
      await withDeadline(CLOSE_MS, "closing NATS and Kafka", closing);
    },
  });
}

/** Serves methods over gRPC. `port` 0 picks a free one, which the answer and the log name. */
export async function serveGrpc(
  methods: readonly GrpcMethod[],
  options: {
    readonly transport: "http2" | "grpc-js";
    readonly host: string;
    readonly port: number;
    readonly requestBytesMax: number;
    readonly tls?: TlsTexts | undefined;
    readonly authorise: Authorise;
    readonly log: Log;
  },
): Promise<RpcServer> {
  const { transport, log, tls, ...rest } = options;
  const onDefect = (method: string, error: unknown): void => log.error({ err: error, method }, "call failed");
  const server =
    transport === "http2"
      ? await startGrpcServer({
          ...rest,
          methods,
          onDefect,
          tls: tls === undefined ? null : { ...tls, requestClientCertificate: tls.ca !== undefined },
        })
      : await startRpcServer({ ...rest, ...(tls !== undefined && { tls }), services: [], methods, onDefect });
  log.info({ host: options.host, port: server.port, transport }, "gRPC is bound");
  return server;
}

type TlsConfig = Pick<
  InferenceConfig,
  "MILLRACE_INFERENCE_TLS_CERT" | "MILLRACE_INFERENCE_TLS_KEY" | "MILLRACE_INFERENCE_TLS_CLIENT_CA"
>;

/** What the files of the settings hold; undefined: plaintext. Throws when only one of certificate and key is named. */
async function tlsTexts(config: TlsConfig): Promise<TlsTexts | undefined> {
  const { MILLRACE_INFERENCE_TLS_CERT: cert, MILLRACE_INFERENCE_TLS_KEY: key } = config;
  const ca = config.MILLRACE_INFERENCE_TLS_CLIENT_CA;
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) {
    throw new Error(
      "MILLRACE_INFERENCE_TLS_CERT and MILLRACE_INFERENCE_TLS_KEY belong together: set both or none",
    );
  }
  const read = (file: string): Promise<string> => readFile(file, "utf8");
  return { cert: await read(cert), key: await read(key), ...(ca !== undefined && { ca: await read(ca) }) };
}

/** Loads for serving: where a run would hold up everybody else, in a thread of its own. */
export function loadServed(log: Log): InferencePorts["loadModel"] {
  return (bytes, of, line) =>
    loadModel(bytes, {
      threads: line.serve.threads,
      optimisation: line.serve.optimisation,
      providers: line.serve.providers,
      place: "measure",
      compile: true,
      samples: line.recent.all(),
      onFailed: (error) => {
        log.error({ line: line.name, version: of.version, err: error }, "a model's thread has ended");
        line.controller.failed(of.version);
      },
    });
}

/** Asks for a signature for the line by a trusted key, where any are trusted. */
function verifiedBy(trustedKeys: readonly string[]): InferencePorts["verify"] {
  return ({ artifactDigest, signature }, line) => {
    if (trustedKeys.length === 0) return;
    const verified = verifyModel(signature, artifactDigest, trustedKeys);
    if (!verified.ok) throw new Error(`signature: ${verified.reason}`);
    const { predicate } = verified;
    if (predicate.line === line) return;
    throw new Error(`signature: it is for the line ${predicate.line}, not ${line}`);
  };
}

/** Tries models in a process that may die of it. */
function proven(prover: Prover, memoryBytesMax: number): InferencePorts["prove"] {
  return async (bytes, _of, line) => {
    const recent = line.recent.all();
    const { threads, optimisation, providers } = line.serve;
    const proof = await prover.prove(bytes, {
      ...(recent.length > 0 && { samples: recent }),
      memoryBytesMax,
      timeMs: PROOF_MS,
      options: { threads, optimisation, providers },
    });
    if (!proof.ok) throw new Error(proof.reason);
  };
}

/** The feature service's vectors of entities; without an address requests that name one are told so. */
function entityVectors(config: Pick<InferenceConfig, "MILLRACE_FEATURE_URL" | "MILLRACE_TOKEN">): {
  look: InferencePorts["entityVector"];
  close(): void;
} {
  const url = config.MILLRACE_FEATURE_URL;
  if (url === undefined) {
    const reason =
      "parameters.entity: this node knows no feature service (MILLRACE_FEATURE_URL); send the features as a tensor";
    return { look: () => Promise.reject(new RpcError("unimplemented", reason)), close: () => {} };
  }
  const client = createRpcClient(featureApi.FeatureService, url, { token: config.MILLRACE_TOKEN });
  return {
    look: async (line, entityJson, deadlineMs) => {
      const answer = await client.getVector({ line, entityJson }, { timeoutMs: Math.max(1, deadlineMs) });
      return { values: answer.values, featureDigest: answer.featureDigest, ageMs: Number(answer.ageMs) };
    },
    close: () => client.close(),
  };
}
