import type {
  DriftPolicy,
  FieldDefinition,
  Gates,
  Limits,
  LineDefinition,
  RecipeChoice,
  RetrainPolicy,
  StreamDefinition,
} from "./definition.ts";
import type { Duration } from "./duration.ts";

type Fields = Readonly<Record<string, FieldDefinition>>;
type Streams = Readonly<Record<string, { readonly topic: string; readonly fields: Fields }>>;
type Name<T> = Extract<keyof T, string>;
type NameOf<F extends Fields, T extends FieldDefinition["type"]> = {
  [K in Name<F>]: F[K]["type"] extends T ? K : never;
}[Name<F>];

type StreamInput<F extends Fields> = Omit<StreamDefinition, "id" | "time" | "key"> & {
  readonly id: Name<F>;
  readonly time: NameOf<F, "time">;
  readonly key: readonly Name<F>[];
};

type WindowInput<S extends Streams, K extends Name<S>> = {
  readonly kind: "window";
  readonly from: K;
  readonly by: readonly Name<S[K]["fields"]>[];
  readonly window: Duration;
} & (
  | { readonly aggregate: "count" | "share" }
  | { readonly aggregate: "mean" | "sum"; readonly of: NameOf<S[K]["fields"], "number" | "integer"> }
);

type FeatureInput<S extends Streams, P extends Name<S>> =
  | { readonly kind: "field"; readonly field: NameOf<S[P]["fields"], "number" | "integer" | "boolean"> }
  | { readonly kind: "hour" | "weekday"; readonly of: NameOf<S[P]["fields"], "time"> }
  | { [K in Name<S>]: WindowInput<S, K> }[Name<S>];

type LabelInput<S extends Streams> = {
  [K in Name<S>]: {
    readonly name: string;
    readonly from: K;
    readonly match: Name<S[K]["fields"]>;
    readonly positive: {
      readonly field: NameOf<S[K]["fields"], "number" | "integer">;
      readonly above: number;
    };
    readonly waitFor: Duration;
  };
}[Name<S>];

/** What an author writes: field and stream names are checked by the compiler, the rest by `checkLine`. */
export interface LineInput<S extends Streams, P extends Name<S>> {
  readonly name: string;
  readonly title: string;
  readonly partitions?: number;
  readonly streams: S & { readonly [K in keyof S]: StreamInput<S[K]["fields"]> };
  readonly predict: { readonly on: P };
  readonly label: LabelInput<NoInfer<S>>;
  /** By name, in model order. */
  readonly features: Readonly<Record<string, FeatureInput<NoInfer<S>, NoInfer<P>>>>;
  readonly recipes: readonly RecipeChoice[];
  readonly retrain: RetrainPolicy;
  readonly drift?: Partial<DriftPolicy>;
  readonly gates?: Partial<Gates>;
  readonly limits?: Partial<Limits>;
}

const DRIFT: DriftPolicy = { falseAlarmEvery: 1_000_000, tolerance: 0.05 };
const GATES: Gates = { heldOut: 0.25, minGain: 0.001, parity: 1e-4 };
const LIMITS: Limits = { eventBytesMax: 1_000_000, aheadMax: "1h" };

/** Completes an author's line with the defaults. Does not check it: `checkLine` does. */
export function defineLine<const S extends Streams, const P extends Name<S>>(
  input: LineInput<S, P>,
): LineDefinition {
  return {
    ...input,
    partitions: input.partitions ?? 1,
    features: Object.entries(input.features).map(([name, feature]) => ({ name, ...feature })),
    drift: { ...DRIFT, ...input.drift },
    gates: { ...GATES, ...input.gates },
    limits: { ...LIMITS, ...input.limits },
  } as unknown as LineDefinition;
}
