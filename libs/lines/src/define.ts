import { DRIFT, GATES, LABEL, LIMITS, RETRAIN, ROLLOUT, SERVE, STREAM, VECTORS } from "./defaults.ts";
import type {
  DriftPolicy,
  Expression,
  FieldDefinition,
  Gates,
  LabelDefinition,
  Limits,
  LineDefinition,
  RecipeChoice,
  RetrainPolicy,
  RolloutPolicy,
  ServePolicy,
  StreamDefinition,
  StreamFormat,
  VectorFormat,
} from "./definition.ts";
import type { Duration } from "./duration.ts";

type Fields = Readonly<Record<string, FieldDefinition>>;
type Streams = Readonly<Record<string, { readonly topic: string; readonly fields: Fields }>>;
type Name<T> = Extract<keyof T, string>;
type NameOf<F extends Fields, T extends FieldDefinition["type"]> = {
  [K in Name<F>]: F[K]["type"] extends T ? K : never;
}[Name<F>];

type Numeric = "number" | "integer" | "decimal";
/** Everything that is in the event itself. */
type Comparable = Exclude<FieldDefinition["type"], "blob">;

type StreamInput<F extends Fields> = Omit<StreamDefinition, "id" | "time" | "key" | "format" | "lateMax"> & {
  readonly id: NameOf<F, "text" | "category" | "integer">;
  readonly time: NameOf<F, "time">;
  readonly key: readonly NameOf<F, Comparable>[];
  /** Default: json. */
  readonly format?: StreamFormat;
  /** Default: 1d. */
  readonly lateMax?: Duration;
};

type Grouped<F extends Fields, K extends string> = {
  readonly from: K;
  readonly by: readonly NameOf<F, Comparable>[];
  readonly where?: Expression;
};

type WindowInput<F extends Fields, K extends string> = Grouped<F, K> & {
  readonly kind: "window";
  readonly window: Duration;
  readonly pane?: Duration;
} & (
    | { readonly aggregate: "count" | "share" | "since" }
    | { readonly aggregate: "sum" | "mean" | "min" | "max" | "stddev"; readonly of: NameOf<F, Numeric> }
    | { readonly aggregate: "last" | "first"; readonly of: NameOf<F, Numeric | "boolean" | "category"> }
    | { readonly aggregate: "distinct" | "distinct-approx"; readonly of: NameOf<F, Comparable> }
    | { readonly aggregate: "top"; readonly of: NameOf<F, "category" | "text">; readonly k: number }
    | { readonly aggregate: "quantile"; readonly of: NameOf<F, Numeric>; readonly q: number }
  );

type RateInput<F extends Fields, K extends string> = Grouped<F, K> & {
  readonly kind: "rate";
  readonly of?: NameOf<F, Numeric>;
  readonly halfLife: Duration;
};

type FeatureInput<S extends Streams, P extends Name<S>> = { readonly decimals?: number | "full" } & (
  | {
      readonly kind: "field";
      readonly field: NameOf<S[P]["fields"], Numeric | "boolean" | "category">;
    }
  | { readonly kind: "hour" | "weekday"; readonly of: NameOf<S[P]["fields"], "time"> }
  | { [K in Name<S>]: WindowInput<S[K]["fields"], K> | RateInput<S[K]["fields"], K> }[Name<S>]
  | { readonly kind: "expression"; readonly value: Expression }
);

type LabelInput<S extends Streams> = {
  [K in Name<S>]: Omit<
    LabelDefinition,
    "from" | "match" | "positive" | "silence" | "conflict" | "waitingMax"
  > &
    Partial<Pick<LabelDefinition, "silence" | "conflict" | "waitingMax">> & {
      readonly from: K;
      readonly match: NameOf<S[K]["fields"], "text" | "category" | "integer">;
      readonly positive: { readonly field: NameOf<S[K]["fields"], Numeric>; readonly above: number };
    };
}[Name<S>];

/** What an author writes: field and stream names are checked by the compiler, the rest by `checkLine`. */
export type LineInput<S extends Streams, P extends Name<S>> = {
  readonly name: string;
  readonly title: string;
  readonly partitions?: number;
  readonly streams: S & { readonly [K in keyof S]: StreamInput<S[K]["fields"]> };
  readonly predict: { readonly on: P };
  /** By name, in model order. */
  readonly features: Readonly<Record<string, FeatureInput<NoInfer<S>, NoInfer<P>>>>;
  readonly vectors?: Partial<VectorFormat>;
  readonly drift?: Partial<DriftPolicy>;
  readonly gates?: Partial<Gates>;
  readonly limits?: Partial<Limits>;
  readonly serve?: Partial<ServePolicy>;
  readonly rollout?: Partial<RolloutPolicy>;
} & (
  | {
      readonly label: LabelInput<NoInfer<S>>;
      readonly recipes: readonly RecipeChoice[];
      readonly retrain: RetrainPolicy;
    }
  /** A line of features only: nothing is predicted or learnt. */
  | { readonly label?: null; readonly recipes?: readonly []; readonly retrain?: RetrainPolicy }
);

/** Completes an author's line with the defaults. Does not check it: `checkLine` does. */
export function defineLine<const S extends Streams, const P extends Name<S>>(
  input: LineInput<S, P>,
): LineDefinition {
  return {
    ...input,
    partitions: input.partitions ?? 1,
    streams: Object.fromEntries(
      Object.entries(input.streams).map(([name, stream]) => [name, { ...STREAM, ...stream }]),
    ),
    label: input.label == null ? null : { ...LABEL, ...input.label },
    features: Object.entries(input.features).map(([name, feature]) => ({ name, ...feature })),
    vectors: { ...VECTORS, ...input.vectors },
    recipes: input.recipes ?? [],
    retrain: input.retrain ?? RETRAIN,
    drift: { ...DRIFT, ...input.drift },
    gates: { ...GATES, ...input.gates },
    limits: { ...LIMITS, ...input.limits },
    serve: { ...SERVE, ...input.serve },
    rollout: { ...ROLLOUT, ...input.rollout },
  } as unknown as LineDefinition;
}

/** What an author writes of a line that only serves. */
export interface ServedLineInput {
  readonly name: string;
  readonly title: string;
  readonly serve?: Partial<ServePolicy>;
  readonly rollout?: Partial<RolloutPolicy>;
}

/** A line that serves models which operators import (`millrace models add`): no streams, no features, no label. */
export function defineServedLine({ name, title, serve, rollout }: ServedLineInput): LineDefinition {
  return {
    name,
    title,
    partitions: 1,
    streams: {},
    predict: { on: "" },
    label: null,
    features: [],
    vectors: VECTORS,
    recipes: [],
    retrain: RETRAIN,
    drift: DRIFT,
    gates: GATES,
    limits: LIMITS,
    serve: { ...SERVE, ...serve },
    rollout: { ...ROLLOUT, ...rollout },
  };
}
