/** Where `hashBytes` puts a hash: Uint32Array [2], the first half never 0. */
export type HashPair = Uint32Array;

/**
 * 64 bits of `bytes[from..until)` as two unsigned 32-bit numbers, the first never 0: two lanes of MurmurHash3
 * (A. Appleby, x86 32-bit, public domain) with different seeds and constants, mixed at the end. Its values are part
 * of checkpoints: another hash makes their memory of ids worthless.
 */
export function hashBytes(bytes: Uint8Array, from: number, until: number, into: HashPair): void {
  let a = 0x9747b28c;
  let b = 0x3c6ef372;
  let at = from;
  for (const whole = until - 3; at < whole; at += 4) {
    const word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    a = (Math.imul(rotated(a ^ laneA(word), 13), 5) + 0xe6546b64) | 0;
    b = (Math.imul(rotated(b ^ laneB(word), 17), 5) + 0x561ccd1b) | 0;
  }
  if (at < until) {
    let word = 0;
    for (let shift = 0; at < until; at++, shift += 8) word |= (bytes[at] as number) << shift;
    a ^= laneA(word);
    b ^= laneB(word);
  }
  a = finished(a ^ (until - from));
  b = finished(b ^ (until - from));
  a = (a + b) | 0;
  b = (b + a) | 0;
  into[0] = a === 0 ? 1 : a;
  into[1] = b;
}

function laneA(word: number): number {
  return Math.imul(rotated(Math.imul(word, 0xcc9e2d51), 15), 0x1b873593);
}

function laneB(word: number): number {
  return Math.imul(rotated(Math.imul(word, 0x38b34ae5), 16), 0xa1e38b93);
}

function rotated(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by));
}

function finished(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}
