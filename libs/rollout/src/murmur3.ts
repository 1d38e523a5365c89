const encoder = new TextEncoder();

/**
 * MurmurHash3, x86 32 bits, of a text's UTF-8 bytes, as an unsigned number (A. Appleby, public domain,
 * https://github.com/aappleby/smhasher, `MurmurHash3_x86_32`). Lone surrogates count as U+FFFD.
 */
export function murmur3(text: string, seed: number): number {
  return hashOctets(isAscii(text) ? text : octetsOf(text), seed);
}

/** Nearly every text is ASCII, which is its own bytes and needs no copy. */
function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** One character per UTF-8 byte. */
function octetsOf(text: string): string {
  let octets = "";
  for (const byte of encoder.encode(text)) octets += String.fromCharCode(byte);
  return octets;
}

function hashOctets(octets: string, seed: number): number {
  const length = octets.length;
  let hash = seed;
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    hash ^= mixed(
      octets.charCodeAt(at) |
        (octets.charCodeAt(at + 1) << 8) |
        (octets.charCodeAt(at + 2) << 16) |
        (octets.charCodeAt(at + 3) << 24),
    );
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  let rest = 0;
  for (let i = length - 1; i >= at; i--) rest = (rest << 8) | octets.charCodeAt(i);
  hash ^= mixed(rest) ^ length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function mixed(block: number): number {
  const k = Math.imul(block, 0xcc9e2d51);
  return Math.imul((k << 15) | (k >>> 17), 0x1b873593);
}
