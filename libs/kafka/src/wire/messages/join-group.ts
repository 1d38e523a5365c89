import type { Api, Throttled } from "../api.ts";

/**
 * ```
 * JoinGroup v5
 *   request:  group_id string, session_timeout_ms int32, rebalance_timeout_ms int32, member_id string,
 *             group_instance_id nullable string, protocol_type string, protocols [name string, metadata bytes]
 *   response: throttle_time_ms int32, error_code int16, generation_id int32, protocol_name string, leader string,
 *             member_id string, members [member_id string, group_instance_id nullable string, metadata bytes]
 * ```
 */
export const joinGroup: Api<JoinGroup, JoinedGroup> = {
  key: 11,
  name: "JoinGroup",
  versions: [5],
  flexibleFrom: null,
  encode: (to, { group, sessionMs, rebalanceMs, memberId, protocol, metadata }) => {
    to.string(group)
      .int32(sessionMs)
      .int32(rebalanceMs)
      .string(memberId)
      .nullableString(null)
      .string("consumer");
    to.array([protocol], (name) => to.string(name).byteArray(metadata));
  },
  decode: (from) => {
    const throttleMs = from.int32();
    const errorCode = from.int16();
    const generation = from.int32();
    from.nullableString();
    const leader = from.string();
    const memberId = from.string();
    const members = from.array(() => {
      const id = from.string();
      from.nullableString();
      return { id, metadata: from.byteArray() };
    });
    return { throttleMs, errorCode, generation, leader, memberId, members };
  },
};

export interface JoinGroup {
  readonly group: string;
  readonly sessionMs: number;
  /** For how long the others are waited for. */
  readonly rebalanceMs: number;
  /** Empty: asks for an id. */
  readonly memberId: string;
  readonly protocol: string;
  readonly metadata: Uint8Array;
}

export interface JoinedGroup extends Throttled {
  readonly errorCode: number;
  readonly generation: number;
  readonly leader: string;
  readonly memberId: string;
  /** Given to the leader only. */
  readonly members: readonly { readonly id: string; readonly metadata: Buffer }[];
}
