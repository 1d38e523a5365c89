import { z } from "zod";
import { ROLLOUT, SERVE } from "./defaults.ts";
import { durationMs } from "./duration.ts";

const NAME = /^[a-z][a-z0-9-]{1,39}$/;
const FIELD = /^(?!__proto__$)[A-Za-z_][A-Za-z0-9_]{0,62}$/;
const TOPIC = /^[A-Za-z0-9._-]{1,200}$/;
const MEDIA_TYPE = /^[a-z0-9.+-]{1,60}\/[A-Za-z0-9.+*-]{1,60}$/;

/** Largest blob and longest text that a line can declare, bytes and characters. */
const CLAIM_BYTES_MAX = 64_000_000;

const duration = z
  .string()
  .refine(
    (text) => durationMs(text) !== null,
    "not a duration: write a whole number and s, m, h or d, such as 90s, 24h or 7d",
  );
const field = z
  .string()
  .regex(FIELD, "not a field name: letters, digits and _, not starting with a digit, at most 63");
const optional = z.literal(true).optional();
const bounds = { min: z.number().optional(), max: z.number().optional() };
const fieldDefinition = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("text"),
    maxLength: z.int().min(1).max(CLAIM_BYTES_MAX).optional(),
    claimAbove: z.int().min(1).max(1_000_000).optional(),
    optional,
  }),
  z.strictObject({
    type: z.literal("category"),
    maxLength: z.int().min(1).max(1_000).optional(),
    values: z.array(z.string()).min(1).max(10_000).optional(),
    optional,
  }),
  z.strictObject({ type: z.literal("number"), ...bounds, optional }),
  z.strictObject({ type: z.literal("integer"), min: z.int().optional(), max: z.int().optional(), optional }),
  z.strictObject({ type: z.literal("decimal"), scale: z.int().min(0).max(9), ...bounds, optional }),
  z.strictObject({ type: z.literal("boolean"), optional }),
  z.strictObject({ type: z.literal("time"), optional }),
  z.strictObject({
    type: z.literal("blob"),
    mediaType: z.string().regex(MEDIA_TYPE, "not a media type: write one such as image/jpeg"),
    bytesMax: z.int().min(1).max(CLAIM_BYTES_MAX),
    optional,
  }),
]);
const featureName = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,62}$/, "not a feature name: lower case letters, digits and _, at most 63");
const decimals = z.union(
  [z.int().min(0).max(15), z.literal("full")],
  'not a number of decimal places: write 0 to 15, or "full"',
);
const common = { name: featureName, decimals: decimals.optional() };
const expression = z.string().min(1);
const grouped = { from: z.string(), by: z.array(field).max(4), where: expression.optional() };
const feature = z.discriminatedUnion("kind", [
  z.strictObject({ ...common, kind: z.literal("field"), field }),
  z.strictObject({ ...common, kind: z.enum(["hour", "weekday"]), of: field }),
  z.strictObject({
    ...common,
    kind: z.literal("window"),
    aggregate: z.enum([
      "count",
      "share",
      "sum",
      "mean",
      "min",
      "max",
      "stddev",
      "last",
      "first",
      "since",
      "distinct",
      "distinct-approx",
      "top",
      "quantile",
    ]),
    ...grouped,
    of: field.optional(),
    window: duration,
    pane: duration.optional(),
    k: z.int().min(1).max(100).optional(),
    q: z.number().gt(0).lt(1).optional(),
  }),
  z.strictObject({
    ...common,
    kind: z.literal("rate"),
    ...grouped,
    of: field.optional(),
    halfLife: duration,
  }),
  z.strictObject({ ...common, kind: z.literal("expression"), value: expression }),
]);

const stream = z.strictObject({
  topic: z.string().regex(TOPIC, "not a Kafka topic name: letters, digits, ., _ and -, at most 200"),
  format: z.enum(["json", "schema-registry"]),
  id: field,
  time: field,
  key: z.array(field).min(1).max(4),
  fields: z.record(field, fieldDefinition),
  lateMax: duration,
});

const label = z.strictObject({
  name: featureName,
  from: z.string(),
  match: field,
  positive: z.strictObject({ field, above: z.number() }),
  waitFor: duration,
  silence: z.enum(["unknown", "negative"]),
  conflict: z.enum(["first", "last", "positive"]),
  waitingMax: z.int().min(1).max(100_000_000),
});

const serve = z.strictObject({
  latencyMs: z.number().min(1).max(60_000),
  priority: z.enum(["high", "normal", "low"]),
  threads: z.int().min(1).max(64),
  optimisation: z.enum(["all", "extended", "basic", "none"]),
  providers: z
    .array(z.enum(["cpu", "cuda", "webgpu", "coreml", "dml"]))
    .min(1)
    .max(5),
});

const rollout = z.strictObject({
  strategy: z.enum(["direct", "canary", "ab"]),
  share: z.number().gt(0).lt(1),
  by: z.enum(["request", "entity"]),
  alpha: z.number().gt(0).max(0.5),
  minLabels: z.int().min(1),
  maxLabels: z.int().min(1),
});

/** The shape of a line definition; what its names refer to is checked elsewhere. */
export const lineShape: z.ZodType = z.strictObject({
  name: z
    .string()
    .regex(
      NAME,
      "not a line name: lower case letters, digits and -, starting with a letter, 2 to 40 characters",
    ),
  title: z.string().min(1).max(200),
  partitions: z.int().min(1).max(1_000),
  streams: z.record(field, stream),
  predict: z.strictObject({ on: z.string() }),
  label: label.nullable(),
  features: z.array(feature).max(1_000),
  vectors: z.strictObject({ format: z.enum(["json", "binary"]), decimals }),
  recipes: z.array(
    z.strictObject({
      recipe: z.string().regex(NAME, "not a recipe name: lower case letters, digits and -"),
      windows: z.array(z.enum(["all", "since-change"])).min(1),
      config: z.record(z.string(), z.union([z.number(), z.string(), z.boolean()])).optional(),
    }),
  ),
  retrain: z.strictObject({
    firstAfter: z.int().min(100),
    minChange: z.int().min(100),
    cooldown: duration,
    staleAfter: duration,
    maxRunsPerDay: z.int().min(0),
    learnFrom: duration,
  }),
  drift: z.strictObject({ falseAlarmEvery: z.int().min(1_000), tolerance: z.number().min(0).max(1) }),
  gates: z.strictObject({
    heldOut: z.number().min(0.05).max(0.5),
    minGain: z.number(),
    parity: z.number().positive(),
  }),
  limits: z.strictObject({ eventBytesMax: z.int().min(100).max(4_000_000), aheadMax: duration }),
  // Definitions that were stored before there were these sections lack them.
  serve: serve.default({ ...SERVE, providers: [...SERVE.providers] }),
  rollout: rollout.default(ROLLOUT),
});
