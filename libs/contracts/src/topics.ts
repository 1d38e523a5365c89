/**
 * The topic catalogue: the only list of Kafka topics. A topic of a line is named `LINE.KIND`; a producer's
 * topic is named by the line definition. Partition p of every topic of a line belongs together: a step reads
 * partition p and writes partition p.
 */
export interface TopicSpec {
  readonly name: string;
  /** What the record key is. */
  readonly key: string;
  readonly owner: string;
  readonly readers: readonly string[];
  /** Kafka topic configuration that differs from the broker's default. */
  readonly config: Readonly<Record<string, string>>;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** Producers' topics carry records of up to this size; larger ones the broker refuses. */
export const INTAKE_RECORD_BYTES_MAX: number = 4 * 1024 * 1024;
/** A rejected record is the producer's own, and headers that say why. */
const REJECTED_RECORD_BYTES_MAX = INTAKE_RECORD_BYTES_MAX + 1024 * 1024;

const retention = (days: number): Record<string, string> => ({ "retention.ms": String(days * DAY_MS) });
const upTo = (bytes: number): Record<string, string> => ({ "max.message.bytes": String(bytes) });

export const LINE_TOPIC_KINDS = [
  "events",
  "rejected",
  "features",
  "predictions",
  "examples",
  "drift",
] as const;
export type LineTopicKind = (typeof LINE_TOPIC_KINDS)[number];

const LINE_TOPICS: Record<LineTopicKind, Omit<TopicSpec, "name">> = {
  events: {
    key: "as produced",
    owner: "ingest/accept",
    readers: ["ingest/archive", "feature/compute"],
    config: { ...retention(7), ...upTo(INTAKE_RECORD_BYTES_MAX) },
  },
  rejected: {
    key: "as produced",
    owner: "ingest/accept",
    readers: ["millrace rejected"],
    config: { ...retention(30), ...upTo(REJECTED_RECORD_BYTES_MAX) },
  },
  features: {
    key: "event id",
    owner: "feature/compute",
    readers: ["inference/predict"],
    config: retention(7),
  },
  predictions: {
    key: "event id",
    owner: "inference/predict",
    readers: ["feature/watch", "trainer/rollout"],
    config: retention(7),
  },
  examples: {
    key: "event id",
    owner: "feature/join",
    readers: ["feature/watch", "trainer/collect", "trainer/rollout"],
    config: retention(7),
  },
  drift: { key: "line", owner: "feature/watch", readers: ["trainer/govern"], config: retention(30) },
};

/** The name of a line's topic, for example `flights.events`. */
export function lineTopic(line: string, kind: LineTopicKind): string {
  return `${line}.${kind}`;
}

/** All topics of a line except the producers' own. */
export function lineTopics(line: string): readonly TopicSpec[] {
  return LINE_TOPIC_KINDS.map((kind) => ({ name: lineTopic(line, kind), ...LINE_TOPICS[kind] }));
}

/** A producer's topic as Millrace creates it where it does not exist yet. */
export function sourceTopic(name: string): TopicSpec {
  return {
    name,
    key: "the stream's key fields",
    owner: "producers",
    readers: ["ingest/accept", "ingest/archive", "feature/compute"],
    config: { ...retention(7), ...upTo(INTAKE_RECORD_BYTES_MAX) },
  };
}

/** Topics of the whole mesh; one partition each. */
export const MESH_TOPICS: Readonly<Record<"decisions" | "progress" | "changes", TopicSpec>> = {
  decisions: {
    name: "training.decisions",
    key: "line",
    owner: "trainer/govern",
    readers: ["millrace status"],
    config: retention(30),
  },
  progress: {
    name: "training.progress",
    key: "line",
    owner: "trainer/train",
    readers: ["millrace status"],
    config: retention(7),
  },
  changes: {
    name: "registry.changes",
    key: "line",
    owner: "registry/promote",
    readers: ["anyone"],
    config: retention(30),
  },
};

/** NATS subject on which the registry says "look again". The message may be lost; receivers also poll. */
export const REGISTRY_SUBJECT: string = "millrace.registry.changed";
