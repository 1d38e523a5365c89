const SLAB_BYTES = 1 << 16;
export const SMALL_BYTES_MAX: number = 1 << 12;

// An array with memory of its own costs 0.3 to 1 us, as much as all else that a small request costs. So small arrays
// share slabs, as node's own buffers do. Nothing of a slab is used twice: it is freed when none of its arrays is left.
let slab: ArrayBuffer = new ArrayBuffer(0);
let taken = 0;

/** Zeros, 8-byte aligned. The buffer may be shared with other arrays: never transfer it to another thread. */
export function allocate(bytes: number): Uint8Array {
  if (bytes > SMALL_BYTES_MAX) return new Uint8Array(bytes);
  if (taken + bytes > slab.byteLength) {
    slab = new ArrayBuffer(SLAB_BYTES);
    taken = 0;
  }
  const from = taken;
  taken = (from + bytes + 7) & ~7;
  return new Uint8Array(slab, from, bytes);
}
