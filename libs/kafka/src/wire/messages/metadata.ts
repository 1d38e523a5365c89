import type { Api, Throttled } from "../api.ts";

/**
 * ```
 * Metadata v10
 *   request:  topics [topic_id uuid, name string, tags], allow_auto_topic_creation bool,
 *             include_cluster_authorized_operations bool, include_topic_authorized_operations bool, tags
 *   response: throttle_time_ms int32, brokers [node_id int32, host string, port int32, rack nullable string, tags],
 *             cluster_id nullable string, controller_id int32,
 *             topics [error_code int16, name string, topic_id uuid, is_internal bool,
 *               partitions [error_code int16, partition_index int32, leader_id int32, leader_epoch int32,
 *                 replica_nodes [int32], isr_nodes [int32], offline_replicas [int32], tags],
 *               topic_authorized_operations int32, tags],
 *             cluster_authorized_operations int32, tags
 * ```
 * All strings and arrays are compact. kafkajs does not tell the topics' ids, by which Kafka 4 is asked for records, and
 * refuses the whole answer where one partition has no leader.
 */
export const metadata: Api<{ readonly topics: readonly string[] }, Metadata> = {
  key: 3,
  name: "Metadata",
  versions: [10],
  flexibleFrom: 9,
  encode: (to, { topics }) => {
    to.compactArray(topics, (topic) => to.uuid(NO_ID).compactString(topic).tags());
    to.boolean(false).boolean(false).boolean(false).tags();
  },
  decode: (from) => {
    const throttleMs = from.int32();
    const brokers = from.compactArray(() => {
      const broker = { nodeId: from.int32(), host: from.compactString(), port: from.int32() };
      from.compactNullableString();
      from.tags();
      return broker;
    });
    from.compactNullableString();
    from.int32();
    const topics = from.compactArray(() => {
      const errorCode = from.int16();
      const name = from.compactString();
      const id = from.uuid();
      from.boolean();
      const partitions = from.compactArray(() => {
        const partition = { errorCode: from.int16(), index: from.int32(), leader: from.int32() };
        from.int32();
        for (let list = 0; list < 3; list++) from.compactArray(() => from.int32());
        from.tags();
        return partition;
      });
      from.int32();
      from.tags();
      return { errorCode, name, id, partitions };
    });
    from.int32();
    from.tags();
    return { throttleMs, brokers, topics };
  },
};

const NO_ID = "0".repeat(32);

export interface Metadata extends Throttled {
  readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[];
  readonly topics: readonly {
    readonly errorCode: number;
    readonly name: string;
    readonly id: string;
    /** In no certain order; leader -1: none at present. */
    readonly partitions: readonly {
      readonly errorCode: number;
      readonly index: number;
      readonly leader: number;
    }[];
  }[];
}
