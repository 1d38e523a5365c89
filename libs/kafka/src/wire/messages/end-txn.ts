import type { Api, Throttled } from "../api.ts";
import type { ProducerIdentity } from "./init-producer-id.ts";

/**
 * ```
 * EndTxn v2
 *   request:  transactional_id string, producer_id int64, producer_epoch int16, committed bool
 *   response: throttle_time_ms int32, error_code int16
 * ```
 */
export const endTxn: Api<EndTxn, EndedTxn> = {
  key: 26,
  name: "EndTxn",
  versions: [2],
  flexibleFrom: null,
  encode: (to, { transactionalId, producer, committed }) => {
    to.string(transactionalId).int64(producer.id).int16(producer.epoch).boolean(committed);
  },
  decode: (from) => ({ throttleMs: from.int32(), errorCode: from.int16() }),
};

export interface EndTxn {
  readonly transactionalId: string;
  readonly producer: ProducerIdentity;
  readonly committed: boolean;
}

export interface EndedTxn extends Throttled {
  readonly errorCode: number;
}
