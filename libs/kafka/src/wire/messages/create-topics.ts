import type { Api, Throttled } from "../api.ts";

/**
 * ```
 * CreateTopics v4
 *   request:  topics [name string, num_partitions int32, replication_factor int16,
 *               assignments [partition_index int32, broker_ids [int32]], configs [name string, value nullable string]],
 *             timeout_ms int32, validate_only bool
 *   response: throttle_time_ms int32, topics [name string, error_code int16, error_message nullable string]
 * ```
 */
export const createTopics: Api<CreateTopics, CreatedTopics> = {
  key: 19,
  name: "CreateTopics",
  versions: [4],
  flexibleFrom: null,
  encode: (to, { topics, partitions, timeoutMs }) => {
    to.array(topics, ({ name, config }) => {
      to.string(name).int32(partitions).int16(BROKERS_DEFAULT).int32(0);
      to.array(Object.entries(config), ([key, value]) => to.string(key).nullableString(value));
    });
    to.int32(timeoutMs).boolean(false);
  },
  decode: (from) => ({
    throttleMs: from.int32(),
    topics: from.array(() => ({
      name: from.string(),
      errorCode: from.int16(),
      errorMessage: from.nullableString(),
    })),
  }),
};

/** The replication factor is the cluster's to say (default.replication.factor). */
const BROKERS_DEFAULT = -1;

export interface CreateTopics {
  readonly topics: readonly { readonly name: string; readonly config: Readonly<Record<string, string>> }[];
  readonly partitions: number;
  readonly timeoutMs: number;
}

export interface TopicResult {
  readonly name: string;
  readonly errorCode: number;
  readonly errorMessage: string | null;
}

export interface CreatedTopics extends Throttled {
  readonly topics: readonly TopicResult[];
}
