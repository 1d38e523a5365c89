/** Murmur3 of `bytes[start..end)`, 32 bits, with a seed (Appleby, 2011). */
export function hashBytes(bytes: Uint8Array, start: number, end: number, seed: number = 0): number {
  let hash = seed;
  let at = start;
  for (; at + 4 <= end; at += 4) {
    hash = mix(
      hash,
      (bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 24),
    );
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  let rest = 0;
  for (let i = end - 1; i >= at; i--) rest = (rest << 8) | (bytes[i] as number);
  if (at < end) hash = mix(hash, rest);
  hash ^= end - start;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

function mix(hash: number, block: number): number {
  const mixed = Math.imul(block, 0xcc9e2d51);
  return hash ^ Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}
