import { crc32c as checksum } from "@node-rs/crc32";

/** CRC-32C (RFC 3720, appendix B.4) of `bytes[from..to)`, unsigned: that of record batches. */
export function crc32c(bytes: Buffer, from: number, to: number): number {
  return checksum(bytes.subarray(from, to));
}
