import type { Api, Throttled } from "../api.ts";
import type { Membership } from "./heartbeat.ts";

/**
 * ```
 * SyncGroup v3
 *   request:  group_id string, generation_id int32, member_id string, group_instance_id nullable string,
 *             assignments [member_id string, assignment bytes]
 *   response: throttle_time_ms int32, error_code int16, assignment bytes
 * ```
 */
export const syncGroup: Api<SyncGroup, SyncedGroup> = {
  key: 14,
  name: "SyncGroup",
  versions: [3],
  flexibleFrom: null,
  encode: (to, { group, generation, memberId, assignments }) => {
    to.string(group).int32(generation).string(memberId).nullableString(null);
    to.array([...assignments], ([id, assignment]) => to.string(id).byteArray(assignment));
  },
  decode: (from) => ({
    throttleMs: from.int32(),
    errorCode: from.int16(),
    assignment: from.byteArray(),
  }),
};

export interface SyncGroup extends Membership {
  /** By member id; the leader gives all, the others none. */
  readonly assignments: ReadonlyMap<string, Uint8Array>;
}

export interface SyncedGroup extends Throttled {
  readonly errorCode: number;
  readonly assignment: Buffer;
}
