import { type Cluster, type Topic, TopicRecreatedError } from "./cluster.ts";
import { LogTruncatedError, RecordsLostError } from "./records-lost-error.ts";
import { CorruptBatchError } from "./wire/corrupt-batch-error.ts";
import { type Decoded, decodeBatches } from "./wire/decode-batches.ts";
import { checkCode, KafkaError } from "./wire/errors.ts";
import type { Fetch, FetchedPartition } from "./wire/messages/fetch.ts";

/** Answered for a partition at least; more where its first batch is larger. */
const FETCH_BYTES = 1024 * 1024;
const FETCH_BYTES_MAX = 64 * 1024 * 1024;
/** Bytes that arrive broken so often in a row are broken on the broker's disk. */
const CORRUPT_TRIES = 5;
const OFFSET_OUT_OF_RANGE = 1;

/** Where a reader stands in a partition, and what its answers mean. */
export class Position {
  readonly topic: Topic;
  readonly partition: number;
  /** Offset that is read next. */
  offset: number;
  /** Where the partition ended at the last answer; -1: none has come yet. */
  end = -1;
  bytesMax: number = FETCH_BYTES;
  #corrupt = 0;

  constructor(topic: Topic, partition: number, offset: number) {
    this.topic = topic;
    this.partition = partition;
    this.offset = offset;
  }

  get name(): string {
    return `${this.topic.name}/${this.partition}`;
  }

  /** What is asked of its leader. */
  asked(): Fetch["partitions"][number] {
    const { topic, partition, offset, bytesMax } = this;
    return { topic, partition, offset, bytesMax };
  }

  /**
   * The committed records of an answer; the position moves past them. Throws a retriable error when the broker must be
   * asked again, and what cannot be helped otherwise.
   */
  async take(answer: FetchedPartition, cluster: Cluster): Promise<Decoded> {
    if (answer.errorCode === OFFSET_OUT_OF_RANGE) await this.#explain(cluster);
    checkCode(answer.errorCode, `reading ${this.name}`);
    if (answer.firstOffset > this.offset) throw this.#lost(answer.firstOffset);
    const decoded = this.#decode(answer);
    this.offset = decoded.nextOffset;
    this.end = Math.max(answer.stableOffset, decoded.nextOffset);
    return decoded;
  }

  /** Throws when the topic is not the one any more that was read before. */
  check(cluster: Cluster): void {
    const now = cluster.topic(this.topic.name);
    if (now !== undefined && now.id !== this.topic.id) throw new TopicRecreatedError(this.topic.name);
  }

  #decode(answer: FetchedPartition): Decoded {
    try {
      const { name } = this.topic;
      const { partition, offset } = this;
      const decoded = decodeBatches(answer.records, {
        topic: name,
        partition,
        offset,
        aborted: answer.aborted,
      });
      this.#corrupt = 0;
      // A batch that is cut off only: more must be asked for.
      const stuck = decoded.nextOffset === offset && answer.records.length > 0;
      this.bytesMax = stuck ? this.bytesMax * 2 : FETCH_BYTES;
      if (this.bytesMax > FETCH_BYTES_MAX)
        throw new CorruptBatchError(`a batch larger than ${FETCH_BYTES_MAX} bytes`);
      return decoded;
    } catch (error) {
      if (!(error instanceof CorruptBatchError)) throw error;
      this.#corrupt++;
      const message = `${this.name}: the batch at offset ${this.offset} is broken: ${error.message}`;
      if (this.#corrupt >= CORRUPT_TRIES) throw new CorruptBatchError(message, { cause: error });
      throw new KafkaError(CORRUPT_MESSAGE, message);
    }
  }

  /** Which end of the partition the position is beyond. Returns when it is within after all. */
  async #explain(cluster: Cluster): Promise<void> {
    await cluster.refresh([this.topic.name]);
    this.check(cluster);
    const partitions = [{ topic: this.topic.name, partition: this.partition }];
    const [first] = await cluster.offsets({ at: "first", partitions });
    if ((first as number) > this.offset) throw this.#lost(first as number);
    const [end] = await cluster.offsets({ at: "end", partitions });
    if ((end as number) < this.offset) {
      throw new LogTruncatedError(this.topic.name, this.partition, this.offset, end as number);
    }
    throw new KafkaError(OFFSET_NOT_AVAILABLE, `reading ${this.name}`);
  }

  #lost(first: number): RecordsLostError {
    return new RecordsLostError(this.topic.name, this.partition, this.offset, first);
  }
}

const CORRUPT_MESSAGE = 2;
const OFFSET_NOT_AVAILABLE = 78;
