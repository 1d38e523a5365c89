import { join } from "node:path";
import { createConcurrencyLimit } from "@millrace/admission";
import type { LineStatus } from "@millrace/contracts";
import { INFER_LIMITS, type InferLimits } from "@millrace/open-inference";
import type { RpcServer } from "@millrace/rpc";
import {
  type Authorise,
  type Clock,
  type GrpcMethod,
  type Log,
  meter,
  type ObjectStore,
  type Service,
  withDeadline,
} from "@millrace/runtime";
import { artifactFolder, createBatcher, ROWS_MAX } from "@millrace/serving";
import { type Broker, fileCheckpoints, memberFile } from "@millrace/stream";
import { callersOf } from "./callers.ts";
import { type InferenceConfig, mebibytes } from "./config.ts";
import { createTextGenerator } from "./generate.ts";
import { inferenceMethods, MODEL_INFER } from "./grpc.ts";
import { lastGoodFile } from "./last-good.ts";
import type { NodeLine } from "./line.ts";
import { type LabelledStatistics, requestMetrics, tritonMetrics } from "./metrics-text.ts";
import { createMirror } from "./mirror.ts";
import { describeModels } from "./models.ts";
import { createNodeLoad } from "./node-load.ts";
import { createFlags } from "./ofrep.ts";
import { createPredictor, type EntityVector } from "./predict.ts";
import { type PredictionLog, startPredictionLog } from "./prediction-log.ts";
import { keepWithinMemory } from "./residency.ts";
import type { RestPorts } from "./rest.ts";
import { keepScoring, type Scoring } from "./score.ts";
import { type AspiredSource, type SwapPorts, type Swapping, startSwapping } from "./swap.ts";

export type { EntityVector } from "./predict.ts";
export type { AspiredSource } from "./swap.ts";

/** What the inference service needs of the world. */
export interface InferencePorts {
  readonly source: AspiredSource;
  readonly objects: ObjectStore;
  readonly broker: Broker;
  readonly verify: SwapPorts["verify"];
  readonly prove: SwapPorts["prove"];
  readonly loadModel: SwapPorts["loadModel"];
  /** The features of an entity now. `deadlineMs`: how long the caller waits. */
  readonly entityVector: (line: string, entity: string, deadlineMs: number) => Promise<EntityVector>;
  /** Serves methods over gRPC. */
  readonly serve: (methods: readonly GrpcMethod[], authorise: Authorise) => Promise<RpcServer>;
  /** Serves the same over REST. */
  readonly serveRest: (ports: RestPorts) => Promise<RpcServer>;
  readonly clock: Clock;
  /** Monotonic ms. */
  readonly now: () => number;
  readonly log: Log;
  readonly close: () => Promise<void>;
}

export type InferenceSettings = Pick<
  InferenceConfig,
  | "MILLRACE_HOST"
  | "MILLRACE_DATA"
  | "MILLRACE_INFERENCE_TOKEN"
  | "MILLRACE_INFERENCE_CALLERS"
  | "MILLRACE_INFERENCE_BUDGET"
  | "MILLRACE_INFERENCE_MEMORY_MB"
  | "MILLRACE_INFERENCE_REQUEST_MB"
  | "MILLRACE_INFERENCE_MODEL_CONTROL"
  | "MILLRACE_INFERENCE_LOG_CALLS"
  | "MILLRACE_INFERENCE_TRITON_METRICS"
  | "MILLRACE_INFERENCE_ORIGINS"
>;

const ARTIFACTS_KEPT = 8;
const BATCH = { rowsMax: ROWS_MAX, waitingRowsMax: 65_536 };
/** Requests in flight: learnt between these, beginning high, because a queue of rows is bounded as well. */
const CONCURRENCY = { initial: 2_000, min: 256, max: 20_000, tolerance: 2, quickMs: 50 };

/**
 * The inference node. It serves from its own disk when nobody else can be reached, and never depends on Kafka, NATS,
 * the registry or the object store to answer a request.
 */
export function buildInference(
  config: InferenceSettings,
  ports: InferencePorts,
): Service & { port(): number; httpPort(): number } {
  const { broker, clock, now, log } = ports;
  const folder = config.MILLRACE_DATA;
  const lines = new Map<string, NodeLine>();
  const scorings = new Map<string, Scoring>();
  const mirror = createMirror(now);
  const draining = new AbortController();
  let swapping: Swapping | null = null;
  let server: RpcServer | null = null;
  let rest: RpcServer | null = null;
  let predictionLog: PredictionLog | null = null;
  let wasReady = false;
  let stopped: Promise<void> | null = null;

  /** Once ready it stays so until it drains: neither a swap nor a new line takes a serving node out. */
  const ready = (): boolean => {
    if (draining.signal.aborted || server === null || swapping === null) return false;
    const canAnswer = ({ controller }: NodeLine): boolean =>
      controller.champion !== null || controller.isParked;
    wasReady ||= [...lines.values()].every(canAnswer) && (lines.size > 0 || swapping.asked());
    return wasReady;
  };

  /** Begins to score a line's feature stream, once it is known to have one. */
  const followFeatures = (line: NodeLine): void => {
    const { name, controller } = line;
    const own = join(folder, name, "predict");
    const scored = {
      name,
      controller,
      featureDigest: () => line.featureDigest,
      use: async () => {
        line.usedAt = now();
        if (controller.isParked && !line.isUnloaded) await line.load();
      },
    };
    scorings.set(
      name,
      keepScoring(scored, {
        broker,
        checkpoints: fileCheckpoints(own),
        member: memberFile(join(own, "member")),
        clock,
        log,
      }),
    );
  };

  const observe = (): void => {
    const counter = (name: string, description: string, values: () => Iterable<[string, number]>): void =>
      meter()
        .createObservableCounter(name, { description })
        .addCallback((result) => {
          for (const [line, value] of values()) result.observe(value, { line });
        });
    counter("millrace_inference_predictions", "Predictions written from the stream, by line", () =>
      [...scorings].map(([line, scoring]) => [line, scoring.counts().predictions]),
    );
    meter()
      .createObservableGauge("millrace_inference_lag", {
        description: "Feature vectors still to be scored, by line",
      })
      .addCallback((result) => {
        for (const [line, scoring] of scorings) result.observe(scoring.lag(), { line });
      });
    meter()
      .createObservableGauge("millrace_inference_model_bytes", {
        description: "What loaded models hold in memory, about, by line",
      })
      .addCallback((result) => {
        for (const [line, { controller }] of lines) result.observe(controller.memoryBytes, { line });
      });
    meter()
      .createObservableCounter("millrace_inference_calls_logged", {
        description: "Answers to direct calls by what became of their record: logged or dropped",
      })
      .addCallback((result) => {
        const counts = predictionLog?.counts;
        result.observe(counts?.logged ?? 0, { outcome: "logged" });
        result.observe(counts?.dropped ?? 0, { outcome: "dropped" });
      });
  };

  const start = async (): Promise<void> => {
    observe();
    const limits: InferLimits = {
      ...INFER_LIMITS,
      messageBytes: mebibytes(config.MILLRACE_INFERENCE_REQUEST_MB),
    };
    const callers = callersOf(config, now);
    const logging =
      config.MILLRACE_INFERENCE_LOG_CALLS === "on" ? startPredictionLog({ broker, clock, now, log }) : null;
    predictionLog = logging;
    const load = createNodeLoad(createConcurrencyLimit(CONCURRENCY));
    const predictor = createPredictor({
      lines,
      entityVector: ports.entityVector,
      load,
      spend: callers.spend,
      onDefect: (line, version, error) => log.error({ line, version, err: error }, "a request failed"),
      onAnswered: (answered) => {
        logging?.offer(answered);
        mirror.offer(answered, (lines.get(answered.line) as NodeLine).controller);
      },
      clock,
      now,
    });
    meter()
      .createObservableCounter("millrace_inference_shed", {
        description: "Requests refused before they were looked into, because too many were under way",
      })
      .addCallback((result) => result.observe(load.shed));
    const models = describeModels(lines);
    const modelControl = config.MILLRACE_INFERENCE_MODEL_CONTROL === "on";
    const stopping = draining.signal;
    const common = { predictor, models, load, limits, ready, modelControl, stopping };
    const admit: Authorise = (metadata, path) =>
      callers.authorise(metadata, path) ?? (path === MODEL_INFER ? load.refusal() : null);
    server = await ports.serve(inferenceMethods(common), admit);
    rest = await ports.serveRest({
      ...common,
      generator: createTextGenerator({ lines, spend: callers.spend, load, now }),
      flags: createFlags(lines),
      authorise: callers.authorise,
      origins: config.MILLRACE_INFERENCE_ORIGINS ?? [],
      onDefect: (path, error) => log.error({ path, err: error }, "a REST call failed"),
    });
    const artifacts = artifactFolder({
      folder: join(folder, "models"),
      objects: ports.objects,
      keepLast: ARTIFACTS_KEPT,
      onNotKept: (digest, error) => log.error({ digest, err: error }, "a model was not kept on disk"),
    });
    const { source, verify, prove, loadModel } = ports;
    swapping = await startSwapping(
      {
        source,
        artifacts,
        verify,
        prove,
        loadModel,
        batcher: createBatcher({
          ...BATCH,
          now,
          onDefect: (error) => log.error({ err: error }, "an answer could not be given"),
        }),
        lastGood: lastGoodFile(folder, log),
        meter: meter(),
        clock,
        now,
        log,
      },
      { onLine: (line) => void lines.set(line.name, line), onFeatures: followFeatures },
    );
    const bytesMax = mebibytes(config.MILLRACE_INFERENCE_MEMORY_MB);
    void keepWithinMemory({ lines, bytesMax, now, log }, stopping);
  };

  const stop = async (deadlineMs: number): Promise<void> => {
    draining.abort();
    await Promise.all([swapping?.stop(), server?.stop(deadlineMs / 2), rest?.stop(deadlineMs / 2)]);
    await Promise.all([...scorings.values()].map((scoring) => scoring.stop()));
    await predictionLog?.stop(deadlineMs / 8);
    const released = swapping?.release() ?? Promise.resolve();
    await withDeadline(deadlineMs / 4, "releasing the models", released).catch((error: unknown) =>
      log.warn({ err: error }, "models are still in use"),
    );
    await ports.close();
  };

  const statusOf = (line: NodeLine, scoring: Scoring | undefined): LineStatus => {
    const { controller, requests } = line;
    const counts = scoring?.counts();
    const { answered, refused, cancelled, failed } = requests;
    return {
      counts: {
        predictions: counts?.predictions ?? 0,
        skipped: counts?.skipped ?? 0,
        requests: answered + refused + cancelled + failed,
        failed: refused + cancelled + failed,
      },
      lag: { score: scoring?.lag() ?? 0 },
      streamTimeMs: counts?.streamTimeMs ?? 0,
      details: {
        champion: controller.champion?.version ?? null,
        model: controller.champion?.artifactDigest ?? null,
        generation: controller.generation,
        loaded: controller.loaded.map((model) => model.version),
        rollout: controller.division,
        parked: controller.isParked,
        memoryBytes: controller.memoryBytes,
        lastSwap: line.lastSwap,
        held: scoring?.held() ?? null,
        mirrored: mirror.reports().get(line.name) ?? {},
        failures: controller.failures.map(({ version, stage, attempts, error }) => ({
          version,
          stage,
          attempts,
          reason: (error as Error).message,
        })),
      },
    };
  };

  return {
    start,
    stop: (deadlineMs) => {
      stopped ??= stop(deadlineMs);
      return stopped;
    },
    ready,
    lines: () =>
      Object.fromEntries([...lines].map(([name, line]) => [name, statusOf(line, scorings.get(name))])),
    metricsText: () => {
      const all = [...lines.values()].flatMap(({ name, statistics }) =>
        [...statistics].map(
          ([version, one]): LabelledStatistics => ({ line: name, version: String(version), statistics: one }),
        ),
      );
      const triton = config.MILLRACE_INFERENCE_TRITON_METRICS === "on" ? tritonMetrics(all) : "";
      return requestMetrics(all) + triton;
    },
    port: () => server?.port ?? 0,
    httpPort: () => rest?.port ?? 0,
  };
}
