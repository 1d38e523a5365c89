import { z } from "zod";
import type { LineDefinition } from "./definition.ts";
import { durationMs } from "./duration.ts";

/** One thing wrong with a line definition. */
export interface LineIssue {
  /** Where, for example `features[3].window`. */
  readonly path: string;
  readonly problem: string;
  readonly remedy: string;
}

const NAME = /^[a-z][a-z0-9-]{1,39}$/;
const FIELD = /^(?!__proto__$)[A-Za-z_][A-Za-z0-9_]{0,62}$/;
const TOPIC = /^[A-Za-z0-9._-]{1,200}$/;

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
const fieldDefinition = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text"), maxLength: z.int().min(1).max(1_000_000).optional(), optional }),
  z.strictObject({
    type: z.literal("category"),
    maxLength: z.int().min(1).max(1_000).optional(),
    values: z.array(z.string()).min(1).optional(),
    optional,
  }),
  z.strictObject({
    type: z.literal("number"),
    min: z.number().optional(),
    max: z.number().optional(),
    optional,
  }),
  z.strictObject({ type: z.literal("integer"), min: z.int().optional(), max: z.int().optional(), optional }),
  z.strictObject({ type: z.literal("boolean"), optional }),
  z.strictObject({ type: z.literal("time"), optional }),
]);
const featureName = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,62}$/, "not a feature name: lower case letters, digits and _, at most 63");
const feature = z.discriminatedUnion("kind", [
  z.strictObject({ name: featureName, kind: z.literal("field"), field }),
  z.strictObject({ name: featureName, kind: z.enum(["hour", "weekday"]), of: field }),
  z.strictObject({
    name: featureName,
    kind: z.literal("window"),
    aggregate: z.enum(["count", "share", "mean", "sum"]),
    from: z.string(),
    of: field.optional(),
    by: z.array(field).max(4),
    window: duration,
  }),
]);

const shape = z.strictObject({
  name: z
    .string()
    .regex(
      NAME,
      "not a line name: lower case letters, digits and -, starting with a letter, 2 to 40 characters",
    ),
  title: z.string().min(1).max(200),
  partitions: z.int().min(1).max(1_000),
  streams: z
    .record(
      field,
      z.strictObject({
        topic: z.string().regex(TOPIC, "not a Kafka topic name: letters, digits, ., _ and -, at most 200"),
        id: field,
        time: field,
        key: z.array(field).min(1).max(4),
        fields: z.record(field, fieldDefinition),
      }),
    )
    .refine((streams) => Object.keys(streams).length > 0, "no streams: declare at least one"),
  predict: z.strictObject({ on: z.string() }),
  label: z.strictObject({
    name: featureName,
    from: z.string(),
    match: field,
    positive: z.strictObject({ field, above: z.number() }),
    waitFor: duration,
  }),
  features: z.array(feature).min(1).max(1_000),
  recipes: z
    .array(
      z.strictObject({
        recipe: z.string().regex(NAME, "not a recipe name: lower case letters, digits and -"),
        windows: z.array(z.enum(["all", "since-change"])).min(1),
        config: z.record(z.string(), z.union([z.number(), z.string(), z.boolean()])).optional(),
      }),
    )
    .min(1),
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
});

/**
 * Checks a definition completely: its shape, then what its names refer to. Returns the line, or every issue found
 * with the path of the field and a remedy. Never throws on bad input.
 */
export function checkLine(
  value: unknown,
):
  | { readonly ok: true; readonly line: LineDefinition }
  | { readonly ok: false; readonly issues: readonly LineIssue[] } {
  const parsed = shape.safeParse(value);
  if (!parsed.success) return { ok: false, issues: parsed.error.issues.map(toIssue) };
  const line = parsed.data as LineDefinition;
  const issues = references(line);
  return issues.length === 0 ? { ok: true, line } : { ok: false, issues };
}

/** The issues as lines of text for people. */
export function formatIssues(issues: readonly LineIssue[]): string {
  return issues.map((issue) => `${issue.path}: ${issue.problem}. ${issue.remedy}`).join("\n");
}

function toIssue(issue: z.core.$ZodIssue): LineIssue {
  const path = pathText(issue.path);
  const [problem, remedy] = issue.message.split(": ", 2) as [string, string | undefined];
  if (issue.code === "unrecognized_keys") {
    return {
      path,
      problem: `unknown ${issue.keys.map((key) => `"${key}"`).join(", ")}`,
      remedy: "Remove it or correct the spelling.",
    };
  }
  return {
    path,
    problem: remedy === undefined ? issue.message : problem,
    remedy: remedy === undefined ? `Correct ${path} in the line definition.` : `Here: ${remedy}.`,
  };
}

function pathText(path: readonly PropertyKey[]): string {
  return (
    path.reduce<string>(
      (text, part) =>
        typeof part === "number"
          ? `${text}[${part}]`
          : text === ""
            ? String(part)
            : `${text}.${String(part)}`,
      "",
    ) || "(the whole definition)"
  );
}

const NUMERIC = ["number", "integer"];

function references(line: LineDefinition): LineIssue[] {
  const issues: LineIssue[] = [];
  const streams = Object.keys(line.streams);
  const say = (path: string, problem: string, remedy: string): void =>
    void issues.push({ path, problem, remedy });

  const hasStream = (path: string, name: string): boolean => {
    if (Object.hasOwn(line.streams, name)) return true;
    say(path, `there is no stream "${name}"`, `Use one of: ${streams.join(", ")}.`);
    return false;
  };
  const hasField = (path: string, stream: string, name: string, types?: readonly string[]): void => {
    const fields = line.streams[stream]?.fields ?? {};
    const found = Object.hasOwn(fields, name) ? fields[name] : undefined;
    const fit = Object.entries(fields).filter(([, f]) => types === undefined || types.includes(f.type));
    const remedy =
      fit.length > 0
        ? `Use one of: ${fit.map(([n]) => n).join(", ")}.`
        : `Declare one in streams.${stream}.fields.`;
    if (found === undefined) say(path, `stream "${stream}" has no field "${name}"`, remedy);
    else if (types !== undefined && !types.includes(found.type)) {
      say(path, `field "${name}" is ${found.type}, not ${types.join(" or ")}`, remedy);
    }
  };
  const isRequired = (path: string, stream: string, name: string): void => {
    if (line.streams[stream]?.fields[name]?.optional === true) {
      say(
        path,
        `field "${name}" is optional`,
        "Only a required field can be an id, a time, a key or a match.",
      );
    }
  };

  const topics = new Map<string, string>();
  for (const [name, stream] of Object.entries(line.streams)) {
    const at = `streams.${name}`;
    const other = topics.get(stream.topic);
    if (other !== undefined)
      say(
        `${at}.topic`,
        `topic "${stream.topic}" is already the topic of stream "${other}"`,
        "Give each stream its own topic.",
      );
    topics.set(stream.topic, name);
    if (
      stream.topic.startsWith(`${line.name}.`) &&
      RESERVED.includes(stream.topic.slice(line.name.length + 1))
    ) {
      say(`${at}.topic`, `topic "${stream.topic}" is one that Millrace writes`, "Choose another topic name.");
    }
    hasField(`${at}.id`, name, stream.id, ["text", "category", "integer"]);
    isRequired(`${at}.id`, name, stream.id);
    hasField(`${at}.time`, name, stream.time, ["time"]);
    isRequired(`${at}.time`, name, stream.time);
    stream.key.forEach((key, i) => {
      hasField(`${at}.key[${i}]`, name, key);
      isRequired(`${at}.key[${i}]`, name, key);
    });
  }

  hasStream("predict.on", line.predict.on);
  if (hasStream("label.from", line.label.from)) {
    hasField("label.match", line.label.from, line.label.match);
    isRequired("label.match", line.label.from, line.label.match);
    hasField("label.positive.field", line.label.from, line.label.positive.field, NUMERIC);
    isRequired("label.positive.field", line.label.from, line.label.positive.field);
  }

  const names = new Set<string>();
  line.features.forEach((feature, i) => {
    const at = `features[${i}]`;
    if (names.has(feature.name))
      say(`${at}.name`, `feature "${feature.name}" is declared twice`, "Rename one of them.");
    names.add(feature.name);
    if (feature.kind === "field")
      return hasField(`${at}.field`, line.predict.on, feature.field, [...NUMERIC, "boolean"]);
    if (feature.kind !== "window") return hasField(`${at}.of`, line.predict.on, feature.of, ["time"]);
    if (!hasStream(`${at}.from`, feature.from)) return;
    if (feature.aggregate === "mean" || feature.aggregate === "sum") {
      if (feature.of === undefined)
        say(
          `${at}.of`,
          `${feature.aggregate} of what is missing`,
          `Name a number field of stream "${feature.from}".`,
        );
      else hasField(`${at}.of`, feature.from, feature.of, NUMERIC);
    } else if (feature.of !== undefined) {
      say(`${at}.of`, `${feature.aggregate} takes no field`, "Remove it.");
    }
    if (feature.aggregate === "share" && feature.from !== line.label.from) {
      say(
        `${at}.from`,
        "share is the share of positive labels",
        `Use the label's stream "${line.label.from}".`,
      );
    }
    feature.by.forEach((by, j) => {
      hasField(`${at}.by[${j}]`, feature.from, by);
      hasField(`${at}.by[${j}]`, line.predict.on, by);
    });
    if (line.partitions > 1) {
      const key = line.streams[feature.from]?.key ?? [];
      const samePartition = key.length > 0 && key.every((part) => feature.by.includes(part));
      if (!samePartition) {
        say(
          `${at}.by`,
          `records that this feature needs lie in several partitions: they are keyed by ${key.join(", ")}`,
          "Add the stream's key fields to `by`, or set partitions to 1.",
        );
      }
    }
  });
  if (line.partitions > 1) {
    const keys = Object.values(line.streams).map((stream) => stream.key.join(","));
    if (new Set(keys).size > 1) {
      say(
        "streams",
        "streams are keyed by different fields, so an event and its label can lie in different partitions",
        "Give all streams the same key, or set partitions to 1.",
      );
    }
  }
  return issues;
}

const RESERVED: readonly string[] = ["events", "rejected", "features", "predictions", "examples", "drift"];
