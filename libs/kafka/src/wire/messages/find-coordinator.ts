import type { Api, Throttled } from "../api.ts";

/**
 * ```
 * FindCoordinator v2
 *   request:  key string, key_type int8 (0: group, 1: transactional id)
 *   response: throttle_time_ms int32, error_code int16, error_message nullable string, node_id int32, host string,
 *             port int32
 * ```
 */
export const findCoordinator: Api<CoordinatorKey, Coordinator> = {
  key: 10,
  name: "FindCoordinator",
  versions: [2],
  flexibleFrom: null,
  encode: (to, { kind, key }) => {
    to.string(key).int8(kind === "group" ? 0 : 1);
  },
  decode: (from) => ({
    throttleMs: from.int32(),
    errorCode: from.int16(),
    errorMessage: from.nullableString(),
    nodeId: from.int32(),
    host: from.string(),
    port: from.int32(),
  }),
};

export interface CoordinatorKey {
  readonly kind: "group" | "transaction";
  readonly key: string;
}

export interface Coordinator extends Throttled {
  readonly errorCode: number;
  readonly errorMessage: string | null;
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
}
