import type { SourcePosition, TopicSpec } from "@millrace/contracts";

/**
 * One record of a topic. Offsets are safe integers. It is a view of the batch that it came in: `key`, `value` and
 * `headers` are made when they are asked for, and stay valid as long as somebody holds them.
 */
export interface StreamRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** When the broker or the producer stamped it, wall-clock ms. */
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: Readonly<Record<string, Uint8Array>>;
  /** One header, without making the others; undefined when the record lacks it. */
  header(name: string): Uint8Array | undefined;
  /** The value where it lies, `bytes[valueStart..valueEnd)`, for readers that make no objects; -1: the value is null. */
  readonly bytes: Uint8Array;
  readonly valueStart: number;
  readonly valueEnd: number;
}

/** The text of a header; undefined when the record lacks it. */
export function headerText(record: StreamRecord, name: string): string | undefined {
  const value = record.header(name);
  return value === undefined
    ? undefined
    : Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("utf8");
}

/** What is written. It is copied at once: the writer of it may use its bytes again. */
export interface Output {
  readonly key: Uint8Array | string | null;
  readonly value: Uint8Array | string | null;
  readonly headers?: Readonly<Record<string, Uint8Array | string>>;
}

/** A record to be written outside of any step. */
export interface OutputRecord extends Output {
  readonly topic: string;
  readonly partition: number;
}

/**
 * Records of one partition, in offset order, and where the partition ends. There may be none: marks of transactions,
 * aborted and compacted records have offsets too.
 */
export interface Batch {
  readonly topic: string;
  readonly partition: number;
  readonly records: readonly StreamRecord[];
  /** Offset at which reading goes on; at the end of the partition it is `endOffset`. */
  readonly nextOffset: number;
  /** Offset that the next record written to this partition will get. */
  readonly endOffset: number;
}

export interface ConsumeOptions {
  /** Consumer group; one member of it owns a partition number, of all topics together, at a time. */
  readonly group: string;
  readonly topics: readonly string[];
  /** Remembers this member over a kill, so that a restart need not wait until the group has missed it. */
  readonly member: MemberMemory;
  /** Called for each partition number that is new here. Answers by topic where to begin; null: at the start. */
  readonly onAssigned: (partition: number) => Promise<ReadonlyMap<string, number | null>>;
  /** Called for each partition number that is no longer ours; nothing of it is delivered afterwards. */
  readonly onRevoked: (partition: number) => Promise<void>;
  /** The next batch of the topic's partition comes only after this has resolved (back-pressure). */
  readonly onBatch: (batch: Batch) => Promise<void>;
  /** The consumer cannot go on by itself. */
  readonly onFailed: (error: unknown) => void;
}

/** Where a member's place in its group is kept. A folder is one process's own, so that it is never another's. */
export interface MemberMemory {
  read(): Promise<string | null>;
  write(text: string): Promise<void>;
}

/** Key of a topic partition in maps. */
export function partitionKey(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}

export interface Consumption {
  /** Leaves the group; no batch is delivered afterwards. */
  stop(): Promise<void>;
}

/**
 * Writes the same partition number of some topics, alone: opening a writer ends the power of every former writer of
 * the same name (a process that was thought dead included), so that what lies before `ends` is all that they wrote.
 * What is sent again after a lost acknowledgement is written once. Records of one topic keep their order.
 */
export interface Writer {
  /** By topic: where its partition ended when this writer took over. */
  readonly ends: ReadonlyMap<string, number>;
  /** Bytes appended and not yet acknowledged. */
  readonly pendingBytes: number;
  /** Copies a record into the next batch, with the header `mr-source` that names its cause. */
  append(topic: string, output: Output, cause: SourcePosition): void;
  /**
   * Sends what was appended; resolves when all of it is acknowledged by all replicas. Rejects with a `FencedError`
   * when another writer of this name was opened, with a `RecordTooLargeError` when the broker refuses a record, and
   * with anything else when it stays away for longer than the client's patience. Once it has rejected, the writer
   * writes nothing more: of each topic, what was appended stands in the log up to some record, and nothing behind it.
   */
  flush(): Promise<void>;
  stop(): Promise<void>;
}

/** The port to Kafka. Its types are ours: nothing of a client's leaves the adapter. */
export interface Broker {
  /** Creates the topics that are missing; adds partitions where there are fewer. Waits until they can be used. */
  ensureTopics(topics: readonly TopicSpec[], partitions: number): Promise<void>;
  /** First and end offset of each partition of a topic, by partition number. Throws when the topic is unknown. */
  offsets(
    topic: string,
  ): Promise<readonly { readonly partition: number; readonly first: number; readonly end: number }[]>;
  consume(options: ConsumeOptions): Promise<Consumption>;
  /** The records of a partition from one offset up to, not including, another. */
  read(topic: string, partition: number, from: number, until: number): AsyncIterable<readonly StreamRecord[]>;
  /** Opens the writer of a name; see `Writer`. */
  writer(name: string, partition: number, topics: readonly string[]): Promise<Writer>;
  /** Writes some records, by nobody in particular; resolves when they are acknowledged. */
  send(records: readonly OutputRecord[]): Promise<void>;
  stop(): Promise<void>;
}

/** Another writer of the same name was opened: this one's owner has lost its partition. */
export class FencedError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "FencedError";
  }
}

/** The broker refuses a record because of its size. */
export class RecordTooLargeError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "RecordTooLargeError";
  }
}
