import type { Api, Throttled } from "../api.ts";
import { readTopicKey, type TopicReference, writeByTopic } from "./topic-reference.ts";

/**
 * ```
 * Fetch v13, v12 (before Kafka 3.1)
 *   request:  replica_id int32, max_wait_ms int32, min_bytes int32, max_bytes int32, isolation_level int8,
 *             session_id int32, session_epoch int32,
 *             topics [topic_id uuid (v12: name string), partitions [partition int32, current_leader_epoch int32,
 *               fetch_offset int64, last_fetched_epoch int32, log_start_offset int64, partition_max_bytes int32,
 *               tags], tags],
 *             forgotten_topics [], rack_id string, tags
 *   response: throttle_time_ms int32, error_code int16, session_id int32,
 *             topics [topic_id uuid (v12: name string), partitions [partition_index int32, error_code int16,
 *               high_watermark int64, last_stable_offset int64, log_start_offset int64,
 *               aborted_transactions nullable [producer_id int64, first_offset int64, tags],
 *               preferred_read_replica int32, records nullable bytes, tags], tags], tags
 * ```
 * All strings, bytes and arrays are compact.
 */
export const fetch: Api<Fetch, Fetched> = {
  key: 1,
  name: "Fetch",
  versions: [13, 12],
  flexibleFrom: 12,
  encode: (to, { maxWaitMs, bytesMin, bytesMax, partitions }, version) => {
    to.int32(NO_REPLICA).int32(maxWaitMs).int32(bytesMin).int32(bytesMax).int8(READ_COMMITTED);
    to.int32(NO_SESSION).int32(NO_EPOCH);
    writeByTopic(to, partitions, version, (one) => {
      to.int32(one.partition).int32(NO_EPOCH).int64(one.offset).int32(NO_EPOCH).int64(-1);
      to.int32(one.bytesMax).tags();
    });
    to.compactArray([], () => {})
      .compactString("")
      .tags();
  },
  decode: (from, version) => {
    const throttleMs = from.int32();
    const errorCode = from.int16();
    from.int32();
    const partitions: FetchedPartition[] = [];
    from.compactArray(() => {
      const topicKey = readTopicKey(from, version);
      from.compactArray(() => {
        const partition = from.int32();
        const partitionErrorCode = from.int16();
        from.int64();
        const stableOffset = from.int64();
        const firstOffset = from.int64();
        const aborted = from.compactArray(() => {
          const transaction = { producerId: from.int64(), firstOffset: from.int64() };
          from.tags();
          return transaction;
        });
        from.int32();
        const records = from.compactByteArray();
        from.tags();
        partitions.push({
          topicKey,
          partition,
          errorCode: partitionErrorCode,
          stableOffset,
          firstOffset,
          aborted,
          records,
        });
      });
      from.tags();
    });
    from.tags();
    return { throttleMs, errorCode, partitions };
  },
};

const NO_REPLICA = -1;
const READ_COMMITTED = 1;
const NO_SESSION = 0;
const NO_EPOCH = -1;

export interface Fetch {
  /** The broker answers when it has `bytesMin`, else with what there is after this time. */
  readonly maxWaitMs: number;
  readonly bytesMin: number;
  /** Bounds are passed by the first batch, so that the largest of batches can be read. */
  readonly bytesMax: number;
  readonly partitions: readonly {
    readonly topic: TopicReference;
    readonly partition: number;
    readonly offset: number;
    readonly bytesMax: number;
  }[];
}

export interface FetchedPartition {
  /** See `topicKeys`. */
  readonly topicKey: string;
  readonly partition: number;
  readonly errorCode: number;
  /** Where the partition ends for a reader of committed records. */
  readonly stableOffset: number;
  readonly firstOffset: number;
  /** Transactions that were aborted, by the offset of their first record; their records are among `records`. */
  readonly aborted: readonly AbortedTransaction[];
  /** Record batches as they lie on the broker's disk: the first may begin before the offset, the last may be cut off. */
  readonly records: Buffer;
}

export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
}

export interface Fetched extends Throttled {
  readonly errorCode: number;
  readonly partitions: readonly FetchedPartition[];
}
