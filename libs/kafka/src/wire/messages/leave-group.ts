import type { Api, Throttled } from "../api.ts";

/**
 * ```
 * LeaveGroup v2
 *   request:  group_id string, member_id string
 *   response: throttle_time_ms int32, error_code int16
 * ```
 */
export const leaveGroup: Api<LeaveGroup, LeftGroup> = {
  key: 13,
  name: "LeaveGroup",
  versions: [2],
  flexibleFrom: null,
  encode: (to, { group, memberId }) => {
    to.string(group).string(memberId);
  },
  decode: (from) => ({ throttleMs: from.int32(), errorCode: from.int16() }),
};

export interface LeaveGroup {
  readonly group: string;
  readonly memberId: string;
}

export interface LeftGroup extends Throttled {
  readonly errorCode: number;
}
