import type { OutputRecord, StreamRecord } from "@millrace/stream";

const NOTHING = new Uint8Array(0);

/** A record as a broker would deliver it. What is left out: partition 0, timestamp 0, no key, no headers. */
export function memoryRecord(
  fields: Pick<StreamRecord, "topic" | "offset"> & {
    readonly partition?: number;
    readonly timestampMs?: number;
    readonly key?: OutputRecord["key"];
    readonly value: OutputRecord["value"];
    readonly headers?: OutputRecord["headers"];
  },
): StreamRecord {
  const { topic, offset, partition = 0, timestampMs = 0, key = null, value, headers = {} } = fields;
  const bytes = toBytes(value);
  const named = Object.fromEntries(
    Object.entries(headers).map(([name, text]) => [name, toBytes(text) as Uint8Array]),
  );
  return {
    topic,
    partition,
    offset,
    timestampMs,
    key: toBytes(key),
    value: bytes,
    headers: named,
    header: (name) => named[name],
    bytes: bytes ?? NOTHING,
    valueStart: bytes === null ? -1 : 0,
    valueEnd: bytes === null ? -1 : bytes.length,
  };
}

/** A copy: the writer of a record may use its bytes again. */
function toBytes(data: Uint8Array | string | null): Uint8Array | null {
  return data === null ? null : Buffer.from(data as Uint8Array);
}
