const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const NONE = 64;
const SEXTETS: Uint8Array = (() => {
  const sextets = new Uint8Array(256).fill(NONE);
  for (let i = 0; i < ALPHABET.length; i++) sextets[ALPHABET.charCodeAt(i)] = i;
  return sextets;
})();

/**
 * Base64 as RFC 4648, section 4, has it: padded, without line breaks, unused bits zero. null for anything else. One
 * text for the same bytes, so that nothing can be said twice.
 */
export function decodeBase64(text: string): Uint8Array | null {
  if (text.length % 4 !== 0) return null;
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  const whole = text.length - (padding === 0 ? 0 : 4);
  let to = 0;
  for (let at = 0; at < whole; at += 4) {
    const a = sextet(text, at);
    const b = sextet(text, at + 1);
    const c = sextet(text, at + 2);
    const d = sextet(text, at + 3);
    if ((a | b | c | d) >= NONE) return null;
    bytes[to++] = (a << 2) | (b >> 4);
    bytes[to++] = (b << 4) | (c >> 2);
    bytes[to++] = (c << 6) | d;
  }
  if (padding === 0) return bytes;
  const a = sextet(text, whole);
  const b = sextet(text, whole + 1);
  const c = padding === 1 ? sextet(text, whole + 2) : 0;
  const isCanonical = padding === 1 ? (c & 3) === 0 : (b & 15) === 0;
  if ((a | b | c) >= NONE || !isCanonical) return null;
  bytes[to++] = (a << 2) | (b >> 4);
  if (padding === 1) bytes[to++] = (b << 4) | (c >> 2);
  return bytes;
}

function sextet(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code < 256 ? (SEXTETS[code] as number) : NONE;
}
