import type { Api, Throttled } from "../api.ts";
import { readTopicKey, type TopicReference, writeByTopic } from "./topic-reference.ts";

/**
 * ```
 * Produce v13, v9 (before Kafka 4.1)
 *   request:  transactional_id nullable string, acks int16, timeout_ms int32,
 *             topics [topic_id uuid (v9: name string), partitions [index int32, records bytes, tags], tags], tags
 *   response: topics [topic_id uuid (v9: name string),
 *               partitions [index int32, error_code int16, base_offset int64, log_append_time_ms int64,
 *                 log_start_offset int64, record_errors [batch_index int32, message nullable string, tags],
 *                 error_message nullable string, tags], tags],
 *             throttle_time_ms int32, tags
 * ```
 * All strings, bytes and arrays are compact.
 */
export const produce: Api<Produce, Produced> = {
  key: 0,
  name: "Produce",
  versions: [13, 9],
  flexibleFrom: 9,
  encode: (to, { timeoutMs, batches }, version) => {
    to.compactNullableString(null).int16(ACKS_ALL).int32(timeoutMs);
    writeByTopic(to, batches, version, ({ partition, records }) => {
      to.int32(partition).compactRecords(records).tags();
    });
    to.tags();
  },
  decode: (from, version) => {
    const results: ProducedBatch[] = [];
    from.compactArray(() => {
      const topicKey = readTopicKey(from, version);
      from.compactArray(() => {
        const partition = from.int32();
        const errorCode = from.int16();
        from.int64();
        from.int64();
        from.int64();
        from.compactArray(() => {
          from.int32();
          from.compactNullableString();
          from.tags();
        });
        results.push({ topicKey, partition, errorCode, errorMessage: from.compactNullableString() });
        from.tags();
      });
      from.tags();
    });
    const throttleMs = from.int32();
    from.tags();
    return { throttleMs, results };
  },
};

const ACKS_ALL = -1;

export interface Produce {
  readonly timeoutMs: number;
  /** At most one of each partition. */
  readonly batches: readonly {
    readonly topic: TopicReference;
    readonly partition: number;
    readonly records: Buffer;
  }[];
}

export interface ProducedBatch {
  /** See `topicKeys`. */
  readonly topicKey: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly errorMessage: string | null;
}

export interface Produced extends Throttled {
  readonly results: readonly ProducedBatch[];
}
