import type { Api, Throttled } from "../api.ts";

/**
 * ```
 * Heartbeat v3
 *   request:  group_id string, generation_id int32, member_id string, group_instance_id nullable string
 *   response: throttle_time_ms int32, error_code int16
 * ```
 */
export const heartbeat: Api<Membership, Heartbeat> = {
  key: 12,
  name: "Heartbeat",
  versions: [3],
  flexibleFrom: null,
  encode: (to, { group, generation, memberId }) => {
    to.string(group).int32(generation).string(memberId).nullableString(null);
  },
  decode: (from) => ({ throttleMs: from.int32(), errorCode: from.int16() }),
};

/** A member of one generation of a group. */
export interface Membership {
  readonly group: string;
  readonly generation: number;
  readonly memberId: string;
}

export interface Heartbeat extends Throttled {
  readonly errorCode: number;
}
