import { join } from "node:path";
import type { GRPCInferenceService, Health, LineStatus } from "@millrace/contracts";
import type { Handlers, RpcServer } from "@millrace/rpc";
import { type Clock, type Log, meter, type ObjectStore, type Service, withDeadline } from "@millrace/runtime";
import { artifactFolder, type Loader } from "@millrace/serving";
import { type Broker, fileCheckpoints, memberFile } from "@millrace/stream";
import { createBatcher } from "./batch.ts";
import type { InferenceConfig } from "./config.ts";
import { lastGoodFile } from "./last-good.ts";
import { createHealthHandlers, createPredictHandlers, type PredictableLine } from "./predict.ts";
import { keepScoring, type Scoring } from "./score.ts";
import { type AspiredSource, type ServedLine, type Swapping, startSwapping } from "./swap.ts";
import { ROWS_MAX } from "./tensors.ts";

export { Refusal } from "./refusal.ts";
export type { AspiredSource } from "./swap.ts";

/** What the inference service serves over gRPC. */
export interface InferenceHandlers {
  readonly inference: Handlers<typeof GRPCInferenceService>;
  readonly health: Handlers<typeof Health>;
}

/** What the inference service needs of the world. */
export interface InferencePorts {
  readonly source: AspiredSource;
  readonly objects: ObjectStore;
  readonly broker: Broker;
  readonly loadModel: Loader;
  /** Serves the handlers over gRPC; a Refusal reaches the caller as it is. */
  readonly serve: (handlers: InferenceHandlers) => Promise<RpcServer>;
  readonly clock: Clock;
  /** Monotonic ms. */
  readonly now: () => number;
  readonly log: Log;
  readonly close: () => Promise<void>;
}

interface NodeLine extends ServedLine, PredictableLine {}

const ARTIFACTS_KEPT = 8;
const WAITING_ROWS_MAX = 65_536;

/**
 * The inference node. It serves from its own disk when nobody else can be reached, and never depends on Kafka, NATS,
 * the registry or the object store to answer a request.
 */
export function buildInference(
  config: Pick<InferenceConfig, "MILLRACE_DATA">,
  ports: InferencePorts,
): Service & { port(): number } {
  const { broker, clock, now, log } = ports;
  const folder = config.MILLRACE_DATA;
  const lines = new Map<string, NodeLine>();
  const scorings = new Map<string, Scoring>();
  let swapping: Swapping | null = null;
  let server: RpcServer | null = null;
  let isDraining = false;
  let wasReady = false;
  let stopped: Promise<void> | null = null;

  /** Once ready it stays so until it drains: neither a swap nor a new line takes a serving node out. */
  const ready = (): boolean => {
    if (isDraining || server === null || swapping === null) return false;
    const loaded = [...lines.values()].every(({ controller }) => controller.champion !== null);
    wasReady ||= loaded && (lines.size > 0 || swapping.asked());
    return wasReady;
  };

  const addLine = (served: ServedLine): void => {
    const { name, controller } = served;
    lines.set(name, Object.assign(served, { requests: { answered: 0, failed: 0 } }));
    const own = join(folder, name, "predict");
    const scored = { name, controller, featureDigest: () => served.featureDigest };
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
    const predictions = meter().createObservableCounter("millrace_inference_predictions", {
      description: "Predictions written, by line",
    });
    const lag = meter().createObservableGauge("millrace_inference_lag", {
      description: "Feature vectors still to be scored, by line",
    });
    predictions.addCallback((result) => {
      for (const [line, scoring] of scorings) result.observe(scoring.counts().predictions, { line });
    });
    lag.addCallback((result) => {
      for (const [line, scoring] of scorings) result.observe(scoring.lag(), { line });
    });
  };

  const stop = async (deadlineMs: number): Promise<void> => {
    isDraining = true;
    await Promise.all([swapping?.stop(), server?.stop(deadlineMs / 2)]);
    await Promise.all([...scorings.values()].map((scoring) => scoring.stop()));
    await withDeadline(
      deadlineMs / 4,
      "releasing the models",
      swapping?.release() ?? Promise.resolve(),
    ).catch((error: unknown) => log.warn({ err: error }, "models are still in use"));
    await ports.close();
  };

  const statusOf = (line: NodeLine, scoring: Scoring | undefined): LineStatus => {
    const { controller, requests } = line;
    const counts = scoring?.counts();
    return {
      counts: {
        predictions: counts?.predictions ?? 0,
        skipped: counts?.skipped ?? 0,
        requests: requests.answered + requests.failed,
        failed: requests.failed,
      },
      lag: { score: scoring?.lag() ?? 0 },
      streamTimeMs: counts?.streamTimeMs ?? 0,
      details: {
        champion: controller.champion?.version ?? null,
        model: controller.champion?.artifactDigest ?? null,
        generation: controller.generation,
        loaded: controller.loaded.map((model) => model.version),
        lastSwap: line.lastSwap,
        held: scoring?.held() ?? null,
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
    start: async () => {
      observe();
      const batcher = createBatcher({ rowsMax: ROWS_MAX, waitingRowsMax: WAITING_ROWS_MAX });
      server = await ports.serve({
        inference: createPredictHandlers({ lines: () => lines, batcher, ready, meter: meter(), now }),
        health: createHealthHandlers(ready),
      });
      const artifacts = artifactFolder({
        folder: join(folder, "models"),
        objects: ports.objects,
        keepLast: ARTIFACTS_KEPT,
        onNotKept: (digest, error) => log.error({ digest, err: error }, "a model was not kept on disk"),
      });
      const { source, loadModel } = ports;
      const lastGood = lastGoodFile(folder, log);
      swapping = await startSwapping(
        { source, artifacts, loadModel, lastGood, meter: meter(), clock, now, log },
        addLine,
      );
    },
    stop: (deadlineMs) => {
      stopped ??= stop(deadlineMs);
      return stopped;
    },
    ready,
    lines: () =>
      Object.fromEntries([...lines].map(([name, line]) => [name, statusOf(line, scorings.get(name))])),
    port: () => server?.port ?? 0,
  };
}
