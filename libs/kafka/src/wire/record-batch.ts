/**
 * The record batch of Kafka's log, version 2 ("magic 2"):
 *
 * ```
 *  0 base_offset int64             27 base_timestamp int64
 *  8 batch_length int32 (from 12)  35 max_timestamp int64
 * 12 partition_leader_epoch int32  43 producer_id int64
 * 16 magic int8 = 2                51 producer_epoch int16
 * 17 crc uint32 (CRC-32C from 21)  53 base_sequence int32
 * 21 attributes int16              57 records_count int32
 * 23 last_offset_delta int32       61 records
 *
 * record: length varint, attributes int8, timestamp_delta varlong, offset_delta varint, key_length varint, key,
 *         value_length varint, value, headers_count varint, headers [key_length varint, key, value_length varint, value]
 * attributes of a batch: bits 0 to 2 codec, 3 timestamps are the broker's, 4 transactional, 5 control
 * ```
 *
 * Varints are zigzag: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...; a length of -1 means null.
 */
export const AT = {
  baseOffset: 0,
  batchLength: 8,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  recordsCount: 57,
  records: 61,
} as const;

/** Where `batch_length` begins to count. */
export const LENGTH_FROM = 12;
export const MAGIC = 2;

export const ATTRIBUTE = { codec: 0x07, brokerTime: 0x08, transactional: 0x10, control: 0x20 } as const;

/** Key of a control record: version int16, type int16. */
export const ABORT_MARK = 0;
