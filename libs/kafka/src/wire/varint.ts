/** Bytes of 0 to 2^31 - 1, or of -1, in zigzag. */
export function sizeOfVarint(value: number): number {
  if (value < 0x40) return 1;
  if (value < 0x2000) return 2;
  if (value < 0x10_0000) return 3;
  return value < 0x800_0000 ? 4 : 5;
}

/** Writes 0 to 2^31 - 1, or -1, in zigzag; answers where it ends. */
export function writeVarint(bytes: Buffer, value: number, at: number): number {
  let rest = value < 0 ? 1 : (value << 1) >>> 0;
  let next = at;
  for (; rest > 0x7f; rest >>>= 7) bytes[next++] = (rest & 0x7f) | 0x80;
  bytes[next++] = rest;
  return next;
}
