import type { Api, Throttled } from "../api.ts";
import type { ProducerIdentity } from "./init-producer-id.ts";

/**
 * ```
 * AddPartitionsToTxn v2
 *   request:  transactional_id string, producer_id int64, producer_epoch int16, topics [name string, partitions [int32]]
 *   response: throttle_time_ms int32, topics [name string, partitions [partition_index int32, error_code int16]]
 * ```
 */
export const addPartitionsToTxn: Api<AddPartitionsToTxn, AddedPartitions> = {
  key: 24,
  name: "AddPartitionsToTxn",
  versions: [2],
  flexibleFrom: null,
  encode: (to, { transactionalId, producer, topics, partition }) => {
    to.string(transactionalId).int64(producer.id).int16(producer.epoch);
    to.array(topics, (topic) => to.string(topic).array([partition], (index) => to.int32(index)));
  },
  decode: (from) => ({
    throttleMs: from.int32(),
    topics: from.array(() => ({
      name: from.string(),
      errorCodes: from.array(() => {
        from.int32();
        return from.int16();
      }),
    })),
  }),
};

/** The same partition number of some topics. */
export interface AddPartitionsToTxn {
  readonly transactionalId: string;
  readonly producer: ProducerIdentity;
  readonly topics: readonly string[];
  readonly partition: number;
}

export interface AddedPartitions extends Throttled {
  readonly topics: readonly { readonly name: string; readonly errorCodes: readonly number[] }[];
}
