import type { Duration } from "./duration.ts";

/** One field of an event. Fields are required unless `optional` says otherwise. */
export type FieldDefinition = {
  readonly optional?: true;
} /** A text of more than `claimAbove` bytes goes to the object store; the event then carries a `Claim`. */ & (
  | { readonly type: "text"; readonly maxLength?: number; readonly claimAbove?: number }
  | { readonly type: "category"; readonly maxLength?: number; readonly values?: readonly string[] }
  | { readonly type: "number"; readonly min?: number; readonly max?: number }
  | { readonly type: "integer"; readonly min?: number; readonly max?: number }
  /**
   * An exact number with `scale` decimal places (0..9), such as money: a value with more places is refused. Sums are
   * taken over whole minor units (`12.34` with scale 2 is 1234), so that they are exact in any order.
   */
  | { readonly type: "decimal"; readonly scale: number; readonly min?: number; readonly max?: number }
  | { readonly type: "boolean" }
  /** ISO 8601 text with zone, or milliseconds since the epoch. */
  | { readonly type: "time" }
  /** An image, a sound, any bytes: base64 text in JSON. It goes to the object store; the event carries a `Claim`. */
  | { readonly type: "blob"; readonly mediaType: string; readonly bytesMax: number }
);

/**
 * A decimal has fewer minor units than this. The double nearest to it, and its product with 10^scale, are off by at
 * most 2^-53 of their size each, together by less than half a unit: rounding gives the exact number of units.
 */
export const MINOR_UNITS_MAX: number = 2 ** 51;

/** How the records of a producer's topic are written. */
export type StreamFormat =
  /** JSON objects and CloudEvents. */
  | "json"
  /** Avro, Protobuf or JSON Schema behind a schema id, looked up in a Confluent-compatible schema registry. */
  | "schema-registry";

/** A stream of events from producers. */
export interface StreamDefinition {
  /** The producers' Kafka topic. */
  readonly topic: string;
  readonly format: StreamFormat;
  /** The field that identifies the event: a second event with the same id is a duplicate. */
  readonly id: string;
  /** The field that holds the event time. */
  readonly time: string;
  /** The fields whose values, joined by `|`, are the Kafka record key. */
  readonly key: readonly string[];
  readonly fields: Readonly<Record<string, FieldDefinition>>;
  /** How far an event may lie behind the stream's newest events (event time); a later one is refused as too late. */
  readonly lateMax: Duration;
}

/** Binary label: an event of stream `from` whose field `match` names the id of the event predicted on. */
export interface LabelDefinition {
  readonly name: string;
  readonly from: string;
  readonly match: string;
  /** Positive when the field is above the bound. */
  readonly positive: { readonly field: string; readonly above: number };
  /** How long after the event (event time) its label is waited for: the maturity window. */
  readonly waitFor: Duration;
  /** What it means that no label has come by then: nothing is learnt, or it did not happen. */
  readonly silence: "unknown" | "negative";
  /**
   * Which label counts when several come for one event: the first one, the last one (a correction; a further example
   * supersedes the one before), or a positive one.
   */
  readonly conflict: "first" | "last" | "positive";
  /** Vectors that may wait for their label, per partition; beyond it the oldest are given up and counted. */
  readonly waitingMax: number;
}

/** Text of the expression language: see the package's README. */
export type Expression = string;

/** What is aggregated over the events of a window. */
export type WindowAggregate =
  /** Events. */
  | { readonly aggregate: "count" }
  /** Share of positive labels; `from` must be the label's stream. */
  | { readonly aggregate: "share" }
  /** Of a number, integer or decimal field. stddev is that of the population. */
  | { readonly aggregate: "sum" | "mean" | "min" | "max" | "stddev"; readonly of: string }
  /** The value of the newest or oldest event. A category is given as its code (`categoryCode`). */
  | { readonly aggregate: "last" | "first"; readonly of: string }
  /** Seconds from the newest event known to this one; 0 when a newer one is known. */
  | { readonly aggregate: "since" }
  /** Different values of a field, exact or estimated (HyperLogLog, about 2 % off). */
  | { readonly aggregate: "distinct" | "distinct-approx"; readonly of: string }
  /** The codes of the `k` most frequent categories, most frequent first: `k` values, `NAME_1` to `NAME_k`. */
  | { readonly aggregate: "top"; readonly of: string; readonly k: number }
  /** The `q` quantile, 0..1, within 1 % of the value (DDSketch). */
  | { readonly aggregate: "quantile"; readonly of: string; readonly q: number };

/**
 * A feature. Most give one value. What gives several (`top`; later texts, images and embeddings) is that many values
 * in a row in the vector, so that a kind of feature can be added without a change of what a vector is.
 */
export type FeatureDefinition = {
  /** Decimal places that values are kept to; "full": as they are. Default: the line's `vectors.decimals`. */
  readonly decimals?: number | "full";
} /** A number, integer, decimal, boolean or (as its code) category field of the event itself. */ & (
  | { readonly kind: "field"; readonly field: string }
  /** Hour of day 0..23 or day of week 0 (Sunday)..6 of a time field, in UTC. */
  | { readonly kind: "hour" | "weekday"; readonly of: string }
  /**
   * An aggregate over the events of stream `from` that were accepted before this event (and this event itself, when
   * it is of that stream) and whose pane lies in the window that ends with this event's pane. A pane is a span of
   * event time of length `pane` (a default fits the window); the window covers window / pane whole panes. `by`:
   * fields that both streams have and whose values must be equal; none means everywhere. `where`: only events for
   * which the expression over their fields holds.
   */
  | ({
      readonly kind: "window";
      readonly from: string;
      readonly by: readonly string[];
      readonly window: Duration;
      readonly pane?: Duration;
      readonly where?: Expression;
    } & WindowAggregate)
  /**
   * Events per second (or the sum of `of` per second), each weighing half after `halfLife`: an exponentially decayed
   * rate. Age is counted in panes, at least twelve to a half-life; nothing weighs anything after 64 half-lives.
   */
  | {
      readonly kind: "rate";
      readonly from: string;
      readonly by: readonly string[];
      readonly of?: string;
      readonly halfLife: Duration;
      readonly where?: Expression;
    }
  /** Computed from the event's fields and from features that stand before this one, for example `amount / mean_24h`. */
  | { readonly kind: "expression"; readonly value: Expression }
);

/** How feature vectors are written on `LINE.features`. */
export interface VectorFormat {
  /** JSON that people can read, or the compact `millrace.feature.v1.Vector` of `proto/`. */
  readonly format: "json" | "binary";
  /** Decimal places that values are kept to. "full": as they are. */
  readonly decimals: number | "full";
}

/** Which examples a candidate learns from. */
export type TrainingWindow =
  /** Everything within `learnFrom`. */
  | "all"
  /** Only what came after the estimated change. */
  | "since-change";

export interface RecipeChoice {
  /** Folder name under the trainer's recipes, for example `lightgbm`. */
  readonly recipe: string;
  readonly windows: readonly TrainingWindow[];
  /** Passed to the recipe as it is. */
  readonly config?: Readonly<Record<string, number | string | boolean>>;
}

/** When to retrain. Durations are event time, so that a replay decides as the live stream did. */
export interface RetrainPolicy {
  /** Examples before the first model is trained. */
  readonly firstAfter: number;
  /** Examples after a change before a retraining may start. */
  readonly minChange: number;
  /** Least time between two runs. */
  readonly cooldown: Duration;
  /** A champion older than this is retrained in any case. */
  readonly staleAfter: Duration;
  /** Most runs that drift may cause within 24 hours of event time. */
  readonly maxRunsPerDay: number;
  /** How far back training looks. */
  readonly learnFrom: Duration;
}

export interface DriftPolicy {
  /** One false alarm in so many labels is acceptable (average run length). */
  readonly falseAlarmEvery: number;
  /** Predictions that are off by less than this on average, in any slice, are not harm. A probability. */
  readonly tolerance: number;
}

/** What a candidate must prove on held-out later time. */
export interface Gates {
  /** Share of the newest examples held out, 0..0.5. */
  readonly heldOut: number;
  /** Least improvement of the mean log loss over the champion. */
  readonly minGain: number;
  /** Largest difference between the recipe's own scores and onnxruntime's on the golden rows. */
  readonly parity: number;
}

export interface Limits {
  readonly eventBytesMax: number;
  /** An event time further ahead of the broker's record time than this is refused. */
  readonly aheadMax: Duration;
}

/** Where a model runs, by the names of onnxruntime's execution providers. */
export type ExecutionProvider = "cpu" | "cuda" | "webgpu" | "coreml" | "dml";

/** How inference nodes serve the line's models. */
export interface ServePolicy {
  /** The p99 latency of an answer, ms, that batching aims at: it waits for company no longer than this allows. */
  readonly latencyMs: number;
  /** Whose requests go first where a node is busy. */
  readonly priority: "high" | "normal" | "low";
  /** Threads of one inference call. */
  readonly threads: number;
  /** How far onnxruntime rewrites the model's graph. */
  readonly optimisation: "all" | "extended" | "basic" | "none";
  /** In order of preference: the first that a node has. */
  readonly providers: readonly ExecutionProvider[];
}

/** How a version that passed becomes champion. */
export interface RolloutPolicy {
  /** direct: at once; canary, ab: after it has answered a share of the requests, and labels have proven it better. */
  readonly strategy: "direct" | "canary" | "ab";
  /** The challenger's share of the requests, above 0; at most 0.5 for a canary. */
  readonly share: number;
  /** What is divided: single requests, or entities, so that one entity always has answers of one version. */
  readonly by: "request" | "entity";
  /** Probability of a wrong decision, however often the evidence is looked at. */
  readonly alpha: number;
  /** Labelled rows before a decision, and those without a decision after which the challenger is given up. */
  readonly minLabels: number;
  readonly maxLabels: number;
}

/** A production line. The only thing a user has to write. */
export interface LineDefinition {
  /** Lower case letters, digits, `-`; 2 to 40 characters. */
  readonly name: string;
  readonly title: string;
  /** Partitions of every topic of the line. More than 1 needs every window feature to be keyed alike. */
  readonly partitions: number;
  /** None: the line serves models that were made elsewhere; it has no features, no label and no stream to predict on. */
  readonly streams: Readonly<Record<string, StreamDefinition>>;
  readonly predict: { readonly on: string };
  /** null: a line of features only; nothing is predicted or learnt. */
  readonly label: LabelDefinition | null;
  /** In model order. */
  readonly features: readonly ({ readonly name: string } & FeatureDefinition)[];
  readonly vectors: VectorFormat;
  /** None in a line of features only. */
  readonly recipes: readonly RecipeChoice[];
  readonly retrain: RetrainPolicy;
  readonly drift: DriftPolicy;
  readonly gates: Gates;
  readonly limits: Limits;
  readonly serve: ServePolicy;
  readonly rollout: RolloutPolicy;
}

/** A line that predicts and learns. */
export type LearningLine = LineDefinition & { readonly label: LabelDefinition };

export function isLearning(line: LineDefinition): line is LearningLine {
  return line.label !== null;
}

/** Whether the line has no streams: it serves models that operators import, and nothing else. */
export function isServedOnly({ streams }: Pick<LineDefinition, "streams">): boolean {
  return Object.keys(streams).length === 0;
}

/** Name of the ONNX model's one input (FP32 [rows, features], NaN where unknown) and one output (FP32 [rows]). */
export const MODEL_INPUT = "features";
export const MODEL_OUTPUT = "score";

/** The feature part of a line: what the feature digest is taken over. */
export function featurePart(line: LineDefinition): unknown {
  const { streams, predict, label, features, vectors } = line;
  return { streams, predict, label, features, decimals: vectors.decimals };
}

/** Names of a vector's values in model order: a feature that gives several has `NAME_1`, `NAME_2` and so on. */
export function featureNames(line: Pick<LineDefinition, "features">): string[] {
  return line.features.flatMap((feature) =>
    feature.kind === "window" && feature.aggregate === "top"
      ? Array.from({ length: feature.k }, (_, i) => `${feature.name}_${i + 1}`)
      : [feature.name],
  );
}
