import type { TopicSpec } from "@millrace/contracts";

/** One record of a topic. Offsets are safe integers. */
export interface StreamRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** When the broker or the producer stamped it, wall-clock ms. */
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: Readonly<Record<string, Uint8Array>>;
}

/** The text of a header; undefined when the record lacks it. */
export function headerText(record: StreamRecord, name: string): string | undefined {
  const value = record.headers[name];
  return value === undefined
    ? undefined
    : Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("utf8");
}

/** A record to be written. */
export interface OutputRecord {
  readonly topic: string;
  readonly partition: number;
  readonly key: Uint8Array | string | null;
  readonly value: Uint8Array | string | null;
  readonly headers: Readonly<Record<string, Uint8Array | string>>;
}

/** Records of one partition, in offset order, and where the partition ends. */
export interface Batch {
  readonly topic: string;
  readonly partition: number;
  readonly records: readonly StreamRecord[];
  /** Offset that the next record written to this partition will get. */
  readonly endOffset: number;
}

export interface ConsumeOptions {
  /** Consumer group; one member of it owns a partition at a time. */
  readonly group: string;
  readonly topics: readonly string[];
  /** Called when partitions were assigned, before their first batch. Answers where to begin; null: at the start. */
  readonly onAssigned: (partitions: readonly TopicPartition[]) => Promise<ReadonlyMap<string, number | null>>;
  readonly onRevoked: () => Promise<void>;
  /** The next batch of the partition comes only after this has resolved (back-pressure). */
  readonly onBatch: (batch: Batch) => Promise<void>;
  /** The consumer cannot go on by itself. */
  readonly onFailed: (error: unknown) => void;
}

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** Key of a topic partition in maps. */
export function partitionKey(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}

export interface Consumption {
  /** Leaves the group; no batch is delivered afterwards. */
  stop(): Promise<void>;
}

export interface Producer {
  /**
   * Writes records in order per partition and resolves when all are acknowledged by all replicas. Calls that write
   * the same partition must not overlap. A retry inside may write records twice in a row, never out of order. Rejects when the broker refuses
   * a record (`RecordTooLargeError`) or stays away for longer than the client's patience.
   */
  send(records: readonly OutputRecord[]): Promise<void>;
  stop(): Promise<void>;
}

/** The port to Kafka. Its types are ours: nothing of a client's leaves the adapter. */
export interface Broker {
  /** Creates the topics that are missing; leaves existing ones as they are. Waits until they can be used. */
  ensureTopics(topics: readonly TopicSpec[], partitions: number): Promise<void>;
  /** First and end offset of each partition of a topic, by partition number. Throws when the topic is unknown. */
  offsets(
    topic: string,
  ): Promise<readonly { readonly partition: number; readonly first: number; readonly end: number }[]>;
  consume(options: ConsumeOptions): Promise<Consumption>;
  producer(): Promise<Producer>;
  stop(): Promise<void>;
}

/** The broker refuses a record because of its size. */
export class RecordTooLargeError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "RecordTooLargeError";
  }
}
