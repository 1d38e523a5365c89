import type { IdBytes } from "@millrace/contracts";

/** 64 bits of an id, as two signed 32-bit numbers. Made once and filled again for each id. */
export interface IdHash {
  high: number;
  low: number;
}

/**
 * Hashes an id into `hash`: two lanes of MurmurHash3 (A. Appleby, x86 32-bit, public domain) with different seeds and
 * constants, mixed at the end.
 */
export function hashId({ bytes, start, end }: IdBytes, hash: IdHash): void {
  let a = 0x9747b28c | 0;
  let b = 0x3c6ef372;
  for (let i = start; i < end; i += 4) {
    // What is missing of the last four bytes is 0; the length, mixed in below, tells such ids apart.
    const k =
      i + 4 <= end
        ? (bytes[i] as number) |
          ((bytes[i + 1] as number) << 8) |
          ((bytes[i + 2] as number) << 16) |
          ((bytes[i + 3] as number) << 24)
        : rest(bytes, i, end);
    let k1 = Math.imul(k, 0xcc9e2d51);
    k1 = (k1 << 15) | (k1 >>> 17);
    a ^= Math.imul(k1, 0x1b873593);
    a = (a << 13) | (a >>> 19);
    a = (Math.imul(a, 5) + 0xe6546b64) | 0;
    let k2 = Math.imul(k, 0x38b34ae5);
    k2 = (k2 << 16) | (k2 >>> 16);
    b ^= Math.imul(k2, 0xa1e38b93);
    b = (b << 17) | (b >>> 15);
    b = (Math.imul(b, 5) + 0x561ccd1b) | 0;
  }
  a = finish(a ^ (end - start));
  b = finish(b ^ (end - start));
  hash.high = (a + b) | 0;
  hash.low = b;
}

function finish(h: number): number {
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

function rest(bytes: Uint8Array, start: number, end: number): number {
  let k = 0;
  for (let i = end - 1; i >= start; i--) k = (k << 8) | (bytes[i] as number);
  return k;
}
