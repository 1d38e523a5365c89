import type { Api } from "../api.ts";
import type { CreatedTopics } from "./create-topics.ts";

/**
 * ```
 * CreatePartitions v1
 *   request:  topics [name string, count int32, assignments nullable [broker_ids [int32]]], timeout_ms int32,
 *             validate_only bool
 *   response: throttle_time_ms int32, results [name string, error_code int16, error_message nullable string]
 * ```
 */
export const createPartitions: Api<CreatePartitions, CreatedTopics> = {
  key: 37,
  name: "CreatePartitions",
  versions: [1],
  flexibleFrom: null,
  encode: (to, { topics, partitions, timeoutMs }) => {
    to.array(topics, (name) => to.string(name).int32(partitions).int32(-1));
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

export interface CreatePartitions {
  readonly topics: readonly string[];
  /** How many there shall be then. */
  readonly partitions: number;
  readonly timeoutMs: number;
}
