/**
 * The partition of a key as Kafka's own clients choose it: murmur2 of the key's UTF-8 bytes with seed 0x9747b28c,
 * sign bit cleared, modulo the number of partitions (org.apache.kafka.common.utils.Utils).
 */
export function partitionOf(key: string, partitions: number): number {
  return partitions === 1 ? 0 : (murmur2(new TextEncoder().encode(key)) & 0x7fffffff) % partitions;
}

function murmur2(data: Uint8Array): number {
  const M = 0x5bd1e995;
  let h = 0x9747b28c ^ data.length;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const whole = data.length & ~3;
  for (let i = 0; i < whole; i += 4) {
    let k = Math.imul(view.getInt32(i, true), M);
    k ^= k >>> 24;
    h = Math.imul(h, M) ^ Math.imul(k, M);
  }
  const rest = data.length - whole;
  if (rest === 3) h ^= (data[whole + 2] as number) << 16;
  if (rest >= 2) h ^= (data[whole + 1] as number) << 8;
  if (rest >= 1) h = Math.imul(h ^ (data[whole] as number), M);
  h = Math.imul(h ^ (h >>> 13), M);
  return h ^ (h >>> 15);
}
