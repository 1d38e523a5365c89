import { ExactDecimal } from "@millrace/events";
import { PayloadError } from "./schema.ts";

/** Most decimal places, and most bytes, of a decimal: its arithmetic costs more than its bytes. */
export const SCALE_MAX = 1_000;
const UNSCALED_BYTES_MAX = 512;

/**
 * The decimal whose unscaled value is two's complement, big-endian; no bytes are 0. Throws a PayloadError for more
 * bytes or places than any decimal needs.
 */
export function decimalOf(bytes: Uint8Array, scale: number): ExactDecimal {
  if (bytes.length > UNSCALED_BYTES_MAX || scale < 0 || scale > SCALE_MAX) {
    throw new PayloadError(`a decimal has ${bytes.length} bytes and ${scale} places`);
  }
  let unscaled = 0n;
  for (const byte of bytes) unscaled = (unscaled << 8n) | BigInt(byte);
  const isNegative = (bytes[0] ?? 0) >= 0x80;
  return new ExactDecimal(isNegative ? unscaled - (1n << BigInt(8 * bytes.length)) : unscaled, scale);
}
