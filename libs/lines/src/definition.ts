import type { Duration } from "./duration.ts";

/** One field of an event. Fields are required unless `optional` says otherwise. */
export type FieldDefinition = { readonly optional?: true } & (
  | { readonly type: "text"; readonly maxLength?: number }
  | { readonly type: "category"; readonly maxLength?: number; readonly values?: readonly string[] }
  | { readonly type: "number"; readonly min?: number; readonly max?: number }
  | { readonly type: "integer"; readonly min?: number; readonly max?: number }
  | { readonly type: "boolean" }
  /** ISO 8601 text with zone, or milliseconds since the epoch. */
  | { readonly type: "time" }
);

/** A stream of events from producers. */
export interface StreamDefinition {
  /** The producers' Kafka topic. */
  readonly topic: string;
  /** The field that identifies the event: a second event with the same id is a duplicate. */
  readonly id: string;
  /** The field that holds the event time. */
  readonly time: string;
  /** The fields whose values, joined by `|`, are the Kafka record key. */
  readonly key: readonly string[];
  readonly fields: Readonly<Record<string, FieldDefinition>>;
}

/** Binary label: an event of stream `from` whose field `match` names the id of the event predicted on. */
export interface LabelDefinition {
  readonly name: string;
  readonly from: string;
  readonly match: string;
  /** Positive when the field is above the bound. */
  readonly positive: { readonly field: string; readonly above: number };
  /** How long after the event (event time) its label is waited for; then the vector is forgotten. */
  readonly waitFor: Duration;
}

export type FeatureDefinition =
  /** A number or boolean field of the event itself. */
  | { readonly kind: "field"; readonly field: string }
  /** Hour of day 0..23 or day of week 0 (Sunday)..6 of a time field, in UTC. */
  | { readonly kind: "hour" | "weekday"; readonly of: string }
  /**
   * An aggregate over the events of stream `from` that were known before this event and whose event time lies
   * in the window that ends with it. `by`: fields that both streams have and whose values must be equal; none
   * means everywhere. `count` needs no `of`; `share` is the share of positive labels and needs `from` to be the
   * label's stream; `mean` and `sum` need a number field.
   */
  | {
      readonly kind: "window";
      readonly aggregate: "count" | "share" | "mean" | "sum";
      readonly from: string;
      readonly of?: string;
      readonly by: readonly string[];
      readonly window: Duration;
    };

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

/** A production line. The only thing a user has to write. */
export interface LineDefinition {
  /** Lower case letters, digits, `-`; 2 to 40 characters. */
  readonly name: string;
  readonly title: string;
  /** Partitions of every topic of the line. More than 1 needs every window feature to be keyed alike. */
  readonly partitions: number;
  readonly streams: Readonly<Record<string, StreamDefinition>>;
  readonly predict: { readonly on: string };
  readonly label: LabelDefinition;
  /** In model order. */
  readonly features: readonly ({ readonly name: string } & FeatureDefinition)[];
  readonly recipes: readonly RecipeChoice[];
  readonly retrain: RetrainPolicy;
  readonly drift: DriftPolicy;
  readonly gates: Gates;
  readonly limits: Limits;
}

/** Name of the ONNX model's one input (FP32 [rows, features], NaN where unknown) and one output (FP32 [rows]). */
export const MODEL_INPUT = "features";
export const MODEL_OUTPUT = "score";

/** The feature part of a line: what the feature digest is taken over. */
export function featurePart(line: LineDefinition): unknown {
  const { streams, predict, label, features } = line;
  return { streams, predict, label, features };
}

/** Feature names in model order. */
export function featureNames(line: LineDefinition): string[] {
  return line.features.map((feature) => feature.name);
}
