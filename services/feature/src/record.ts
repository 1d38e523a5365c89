import type { StreamRecord } from "@millrace/stream";

/** The value of one of our own records as text. Our own records always have one. */
export function textOf(record: StreamRecord): string {
  const { value } = record;
  if (value === null)
    throw new Error(`record without a value at ${record.topic}/${record.partition}/${record.offset}`);
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("utf8");
}
