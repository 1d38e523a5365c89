import type { Api, Throttled } from "../api.ts";

/**
 * ```
 * ListOffsets v5
 *   request:  replica_id int32, isolation_level int8,
 *             topics [name string, partitions [partition_index int32, current_leader_epoch int32, timestamp int64]]
 *   response: throttle_time_ms int32, topics [name string, partitions [partition_index int32, error_code int16,
 *             timestamp int64, offset int64, leader_epoch int32]]
 * ```
 */
export const listOffsets: Api<ListOffsets, ListedOffsets> = {
  key: 2,
  name: "ListOffsets",
  versions: [5],
  flexibleFrom: null,
  encode: (to, { at, partitions }) => {
    to.int32(-1).int8(READ_UNCOMMITTED);
    to.array([...Map.groupBy(partitions, (one) => one.topic)], ([topic, ofTopic]) => {
      to.string(topic).array(ofTopic, ({ partition }) => {
        to.int32(partition)
          .int32(-1)
          .int64(at === "first" ? -2 : -1);
      });
    });
  },
  decode: (from) => {
    const throttleMs = from.int32();
    const partitions: ListedOffset[] = [];
    from.array(() => {
      const topic = from.string();
      from.array(() => {
        const partition = from.int32();
        const errorCode = from.int16();
        from.int64();
        partitions.push({ topic, partition, errorCode, offset: from.int64() });
        from.int32();
      });
    });
    return { throttleMs, partitions };
  },
};

/** The end is that of the log, behind transactions that are open: nobody can ask kafkajs for it. */
const READ_UNCOMMITTED = 0;

export interface ListOffsets {
  readonly at: "first" | "end";
  readonly partitions: readonly { readonly topic: string; readonly partition: number }[];
}

export interface ListedOffset {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly offset: number;
}

export interface ListedOffsets extends Throttled {
  readonly partitions: readonly ListedOffset[];
}
