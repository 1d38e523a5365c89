import {
  type GRPCInferenceService,
  type Health,
  HealthCheckResponse_ServingStatus,
  type ModelInferRequest,
} from "@millrace/contracts";
import { MODEL_INPUT, MODEL_OUTPUT } from "@millrace/lines";
import type { Handlers } from "@millrace/rpc";
import { type Attributes, type Meter } from "@millrace/runtime";
import type { Handle, SwapController } from "@millrace/serving";
import type { Batcher } from "./batch.ts";
import { quoted, Refusal } from "./refusal.ts";
import { checkOutputs, decodeFeatures, encodeScores } from "./tensors.ts";

/** What predicting needs to know of a line. */
export interface PredictableLine {
  readonly controller: SwapController;
  /** Requests since the start of the process. */
  readonly requests: { answered: number; failed: number };
}

export interface PredictPorts {
  /** By name. */
  readonly lines: () => ReadonlyMap<string, PredictableLine>;
  readonly batcher: Batcher;
  readonly ready: () => boolean;
  readonly meter: Meter;
  /** Monotonic ms. */
  readonly now: () => number;
}

const SERVER_NAME = "millrace";
const SERVER_VERSION = "0.1.0";
const PLATFORM = "onnx_onnxv1";
const INFERENCE_SERVICE = "inference.GRPCInferenceService";
/** Seconds: most answers take well under a millisecond. */
const DURATION_BUCKETS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10,
];

/** The Open Inference Protocol: a model is a line, its version "" is the champion. */
export function createPredictHandlers(ports: PredictPorts): Handlers<typeof GRPCInferenceService> {
  const { lines, batcher, meter, now } = ports;
  const requests = meter.createCounter("millrace_inference_requests", {
    description: "ModelInfer calls, by outcome: answered, refused (the request is wrong), failed (we are)",
  });
  const duration = meter.createHistogram("millrace_inference_duration_seconds", {
    description: "From the arrival of a ModelInfer request to its answer",
    advice: { explicitBucketBoundaries: DURATION_BUCKETS },
  });
  const inFlight = meter.createUpDownCounter("millrace_inference_in_flight", {
    description: "ModelInfer calls being answered",
  });

  const lineOf = (name: string): PredictableLine => {
    const line = lines().get(name);
    if (line !== undefined) return line;
    const known = [...lines().keys()].join(", ") || "none yet";
    throw new Refusal("notFound", `model_name: no line ${quoted(name)}; lines here: ${known}`);
  };

  const acquire = (line: PredictableLine, name: string, version: string): Handle => {
    const number = versionNumber(version);
    const handle = number === null ? null : line.controller.acquire(number);
    if (handle !== null) return handle;
    if (version === "") throw new Refusal("unavailable", `line ${quoted(name)} has no champion yet`);
    throw notLoaded(line, name, version);
  };

  const infer = async (request: ModelInferRequest, line: PredictableLine, handle: Handle) => {
    const { version, featureNames, featureDigest, artifactDigest } = handle.of;
    checkOutputs(request);
    const { matrix, rows, raw } = decodeFeatures(request, featureNames.length);
    const scores = await batcher.score(handle.model, matrix, rows);
    const wrong = scores.findIndex((score) => !Number.isFinite(score));
    if (wrong >= 0) {
      throw new Refusal("internal", `version ${version} answers ${scores[wrong]} to row ${wrong}`);
    }
    line.requests.answered++;
    return {
      modelName: request.modelName,
      modelVersion: String(version),
      id: request.id,
      parameters: { model_digest: text(artifactDigest), feature_digest: text(featureDigest) },
      ...encodeScores(scores, raw),
    };
  };

  const modelInfer = async (request: ModelInferRequest) => {
    const line = lineOf(request.modelName);
    const startedAt = now();
    const labels: Attributes = { line: request.modelName, version: "", outcome: "answered" };
    inFlight.add(1);
    let handle: Handle | null = null;
    try {
      handle = acquire(line, request.modelName, request.modelVersion);
      labels.version = String(handle.of.version);
      return await infer(request, line, handle);
    } catch (error) {
      const isOurs = !(error instanceof Refusal) || ["internal", "unavailable"].includes(error.code);
      labels.outcome = isOurs ? "failed" : "refused";
      line.requests.failed++;
      throw error;
    } finally {
      handle?.release();
      inFlight.add(-1);
      requests.add(1, labels);
      duration.record((now() - startedAt) / 1_000, { line: request.modelName, version: labels.version });
    }
  };

  return {
    serverLive: () => ({ live: true }),
    serverReady: () => ({ ready: ports.ready() && [...lines().values()].some(hasChampion) }),
    modelReady: ({ name, version }) => {
      const line = lines().get(name);
      const number = versionNumber(version);
      const loaded = line?.controller.loaded ?? [];
      return {
        ready: number === undefined ? loaded.length > 0 : loaded.some((model) => model.version === number),
      };
    },
    serverMetadata: () => ({ name: SERVER_NAME, version: SERVER_VERSION, extensions: [] }),
    modelMetadata: ({ name, version }) => {
      const line = lineOf(name);
      const number = versionNumber(version);
      const { loaded, champion } = line.controller;
      const model = number === undefined ? champion : loaded.find((one) => one.version === number);
      if (model === undefined) throw notLoaded(line, name, version);
      if (model === null) throw new Refusal("unavailable", `line ${quoted(name)} has no champion yet`);
      return {
        name,
        versions: loaded.map((one) => String(one.version)),
        platform: PLATFORM,
        inputs: [{ name: MODEL_INPUT, datatype: "FP32", shape: [-1n, BigInt(model.featureNames.length)] }],
        outputs: [{ name: MODEL_OUTPUT, datatype: "FP32", shape: [-1n] }],
        properties: {
          champion: String(champion?.version ?? ""),
          model_digest: model.artifactDigest,
          feature_digest: model.featureDigest,
          features: JSON.stringify(model.featureNames),
        },
      };
    },
    modelInfer,
  };
}

/** The standard health protocol, for the server as a whole ("") and for the inference service. */
export function createHealthHandlers(ready: () => boolean): Handlers<typeof Health> {
  const { SERVING, NOT_SERVING } = HealthCheckResponse_ServingStatus;
  return {
    check: ({ service }) => {
      if (service !== "" && service !== INFERENCE_SERVICE) {
        throw new Refusal("notFound", `service: ${quoted(service)}, expected "" or "${INFERENCE_SERVICE}"`);
      }
      return { status: ready() ? SERVING : NOT_SERVING };
    },
  };
}

function hasChampion(line: PredictableLine): boolean {
  return line.controller.champion !== null;
}

/** undefined: the champion. null: not the number of any version. */
function versionNumber(text: string): number | null | undefined {
  if (text === "") return undefined;
  return /^[1-9]\d{0,14}$/.test(text) ? Number(text) : null;
}

function notLoaded(line: PredictableLine, name: string, version: string): Refusal {
  const loaded = line.controller.loaded.map((model) => model.version).join(", ") || "none";
  return new Refusal(
    "notFound",
    `model_version: version ${quoted(version)} of line ${quoted(name)} is not loaded; loaded: ${loaded}`,
  );
}

function text(value: string): { parameterChoice: { case: "stringParam"; value: string } } {
  return { parameterChoice: { case: "stringParam", value } };
}
