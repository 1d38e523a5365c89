import type { Api, Throttled } from "../api.ts";

/**
 * ```
 * InitProducerId v4
 *   request:  transactional_id nullable string, transaction_timeout_ms int32, producer_id int64,
 *             producer_epoch int16, tags
 *   response: throttle_time_ms int32, error_code int16, producer_id int64, producer_epoch int16, tags
 * ```
 * All strings are compact.
 */
export const initProducerId: Api<InitProducerId, InitializedProducer> = {
  key: 22,
  name: "InitProducerId",
  versions: [4],
  flexibleFrom: 2,
  encode: (to, { transactionalId, transactionTimeoutMs, current }) => {
    to.compactNullableString(transactionalId)
      .int32(transactionTimeoutMs)
      .int64(current?.id ?? -1)
      .int16(current?.epoch ?? -1)
      .tags();
  },
  decode: (from) => ({
    throttleMs: from.int32(),
    errorCode: from.int16(),
    producer: { id: from.int64(), epoch: from.int16() },
  }),
};

/** Who writes a batch: brokers refuse one with an older epoch than the newest they have seen of the id. */
export interface ProducerIdentity {
  readonly id: number;
  readonly epoch: number;
}

export interface InitProducerId {
  /** null: an id that nobody will ever fence. */
  readonly transactionalId: string | null;
  readonly transactionTimeoutMs: number;
  /** Given: answered only if this is still the newest of the transactional id. */
  readonly current: ProducerIdentity | null;
}

export interface InitializedProducer extends Throttled {
  readonly errorCode: number;
  readonly producer: ProducerIdentity;
}
