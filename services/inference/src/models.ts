import { DataType } from "@millrace/contracts";
import type { TensorSpec } from "@millrace/open-inference";
import { ROWS_MAX, type ServedModel, type VersionModel } from "@millrace/serving";
import { acquireVersion, notLoaded, versionOf } from "./choose.ts";
import { lineNamed, type NodeLine } from "./line.ts";
import type { ModelStatistics, Total } from "./statistics.ts";

/**
 * What the node says about its models: metadata, configuration, statistics and the repository, as plain objects that
 * both forms of the protocol are made of.
 */
export interface Models {
  isReady(name: string, version: string): boolean;
  metadata(name: string, version: string): Promise<ModelMetadata>;
  /** What the model takes. */
  inputs(name: string, version: string): Promise<readonly TensorSpec[]>;
  config(name: string, version: string): Promise<ModelConfig<string>>;
  /** The same as a protobuf message has it. */
  configMessage(name: string, version: string): Promise<ModelConfig<DataType>>;
  /** Of one version, of all of a line (version ""), or of all lines (name ""). */
  statistics(name: string, version: string): ModelStatisticsMessage[];
  index(onlyReady: boolean): ModelIndex[];
  /** Loads a line's models again that were unloaded. Resolves when its champion can answer. */
  load(name: string): Promise<void>;
  /** Frees the memory of a line's models, until `load`. */
  unload(name: string): Promise<void>;
}

interface TensorMessage {
  readonly name: string;
  readonly datatype: string;
  readonly shape: bigint[];
}
export interface ModelMetadata {
  readonly name: string;
  readonly versions: string[];
  readonly platform: string;
  readonly inputs: TensorMessage[];
  readonly outputs: TensorMessage[];
  readonly properties: Record<string, string>;
}
interface IoMessage<D> {
  readonly name: string;
  /** `TYPE_FP32` */
  readonly dataType: D;
  readonly dims: bigint[];
}
export interface ModelConfig<D> {
  readonly name: string;
  readonly platform: string;
  readonly backend: string;
  readonly maxBatchSize: number;
  readonly input: IoMessage<D>[];
  readonly output: IoMessage<D>[];
  readonly parameters: Record<string, { readonly stringValue: string }>;
}
interface DurationMessage {
  readonly count: bigint;
  readonly ns: bigint;
}
export interface ModelStatisticsMessage {
  readonly name: string;
  readonly version: string;
  readonly lastInference: bigint;
  readonly inferenceCount: bigint;
  readonly executionCount: bigint;
  readonly inferenceStats: Record<
    "success" | "fail" | "queue" | "computeInput" | "computeInfer" | "computeOutput",
    DurationMessage
  >;
  readonly batchStats: { readonly batchSize: bigint; readonly computeInfer: DurationMessage }[];
  readonly memoryUsage: { readonly type: string; readonly id: bigint; readonly byteSize: bigint }[];
}
export interface ModelIndex {
  readonly name: string;
  readonly version: string;
  readonly state: string;
  readonly reason: string;
}

const PLATFORM = "onnx_onnxv1";
const AWAKE_MS = 10_000;

export function describeModels(lines: ReadonlyMap<string, NodeLine>): Models {
  const lineOf = (name: string): NodeLine => lineNamed(lines, name, "name");
  const withModel = async <T>(
    name: string,
    version: string,
    read: (model: ServedModel, of: VersionModel, line: NodeLine) => T,
  ): Promise<T> => {
    const line = lineOf(name);
    await line.awake(AWAKE_MS);
    const handle = acquireVersion(line, version);
    try {
      return read(handle.model, handle.of, line);
    } finally {
      handle.release();
    }
  };
  const statisticsOf = (line: NodeLine): ModelStatisticsMessage[] =>
    [...line.statistics]
      .filter(([version]) => version > 0)
      .map(([version, statistics]) => statisticsMessage(line.name, version, statistics));

  const config = (name: string, version: string): Promise<ModelConfig<string>> =>
    withModel(name, version, ({ signature, place }, of, { serve }) => {
      // Of a model that batches, Triton's configuration leaves the rows out of the dimensions.
      const from = signature.batches ? 1 : 0;
      const io = (spec: (typeof signature.inputs)[number]): IoMessage<string> => ({
        name: spec.name,
        dataType: spec.datatype === "BYTES" ? "TYPE_STRING" : `TYPE_${spec.datatype}`,
        dims: spec.shape.slice(from).map(BigInt),
      });
      const parameters = {
        version: of.version,
        latency_ms: serve.latencyMs,
        priority: serve.priority,
        threads: serve.threads,
        optimisation: serve.optimisation,
        providers: serve.providers.join(","),
        place,
      };
      return {
        name,
        platform: PLATFORM,
        backend: "onnxruntime",
        maxBatchSize: signature.batches ? ROWS_MAX : 0,
        input: signature.inputs.map(io),
        output: signature.outputs.map(io),
        parameters: Object.fromEntries(
          Object.entries(parameters).map(([key, value]) => [key, { stringValue: String(value) }]),
        ),
      };
    });

  return {
    isReady: (name, version) => {
      const line = lines.get(name);
      if (line === undefined) return false;
      // What was let go to make room is there for whoever asks.
      if (version === "")
        return line.controller.champion !== null || (line.controller.isParked && !line.isUnloaded);
      const number = versionOf(line, version);
      return number !== null && line.controller.roleOf(number) !== null;
    },

    metadata: (name, version) =>
      withModel(name, version, ({ signature }, of, { controller }) => ({
        name,
        versions: controller.loaded.map((one) => String(one.version)),
        platform: PLATFORM,
        inputs: signature.inputs.map(tensorMessage),
        outputs: signature.outputs.map(tensorMessage),
        properties: {
          version: String(of.version),
          champion: String(controller.champion?.version ?? ""),
          model_digest: of.artifactDigest,
          feature_digest: of.featureDigest,
          features: JSON.stringify(of.featureNames),
        },
      })),

    inputs: (name, version) => withModel(name, version, ({ signature }) => signature.inputs),
    config,
    configMessage: async (name, version) => {
      const described = await config(name, version);
      const typed = (io: IoMessage<string>): IoMessage<DataType> => ({
        ...io,
        dataType: DataType[io.dataType as keyof typeof DataType],
      });
      return { ...described, input: described.input.map(typed), output: described.output.map(typed) };
    },
    statistics: (name, version) => {
      if (name === "") return [...lines.values()].flatMap(statisticsOf);
      const line = lineOf(name);
      if (version === "") return statisticsOf(line);
      const number = versionOf(line, version);
      if (number === null || line.controller.roleOf(number) === null) throw notLoaded(line, version);
      return [statisticsMessage(name, number, line.statisticsOf(number))];
    },

    index: (onlyReady) =>
      [...lines.values()].flatMap(({ name, controller, isUnloaded }) => {
        const reason = isUnloaded ? "unloaded" : "loaded when it is asked for";
        const parked: ModelIndex[] = controller.isParked
          ? [{ name, version: "", state: "UNAVAILABLE", reason }]
          : [];
        const ready = controller.loaded.map(
          ({ version }): ModelIndex => ({ name, version: String(version), state: "READY", reason: "" }),
        );
        const failed = controller.failures.map(
          ({ version, stage }): ModelIndex => ({
            name,
            version: String(version),
            state: "UNAVAILABLE",
            reason: `it does not ${stage === "prove" ? "pass its proof" : stage === "warm" ? "warm up" : stage}; the log has the cause`,
          }),
        );
        return onlyReady ? ready : [...ready, ...parked, ...failed];
      }),

    load: (name) => lineOf(name).load(),
    unload: (name) => lineOf(name).unload(),
  };
}

function tensorMessage({ name, datatype, shape }: ServedModel["signature"]["inputs"][number]): TensorMessage {
  return { name, datatype, shape: shape.map(BigInt) };
}

function statisticsMessage(
  name: string,
  version: number,
  statistics: ModelStatistics,
): ModelStatisticsMessage {
  const { outcomes, queue, compute, batches } = statistics;
  const failures = [outcomes.refused, outcomes.cancelled, outcomes.failed];
  const failed = failures.reduce((sum, one) => ({ count: sum.count + one.count, ms: sum.ms + one.ms }), {
    count: 0,
    ms: 0,
  });
  const none: Total = { count: queue.count, ms: 0 };
  return {
    name,
    version: String(version),
    lastInference: BigInt(Math.round(statistics.lastAtMs)),
    inferenceCount: BigInt(statistics.rows),
    executionCount: BigInt(Math.round(statistics.runs)),
    inferenceStats: {
      success: duration(outcomes.answered),
      fail: duration(failed),
      queue: duration(queue),
      // Rows are put together and taken apart within the run's time.
      computeInput: duration(none),
      computeInfer: duration(compute),
      computeOutput: duration(none),
    },
    batchStats: [...batches].map(([size, batch]) => ({
      batchSize: BigInt(size),
      computeInfer: duration({ count: Math.round(batch.count), ms: batch.ms }),
    })),
    memoryUsage: [],
  };
}

function duration({ count, ms }: Total): DurationMessage {
  return { count: BigInt(count), ns: BigInt(Math.round(ms * 1e6)) };
}
