// Conversions of the two 16-bit float formats, of which JavaScript has no arrays.

const scratch = new DataView(new ArrayBuffer(4));

/** The value of binary16 bits (IEEE 754-2019, 3.4). Exact. */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The binary16 bits nearest to the value, ties to even; infinity from 65520 up. */
export function toHalf(value: number): number {
  if (value !== value) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude >= 65_520) return sign | 0x7c00;
  // Below 2^-14 the step is 2^-24; from there it is a 1024th of the power of two below the value.
  const exponent = Math.max(-14, exponentOf(magnitude));
  const steps = roundTiesToEven(magnitude * 2 ** (10 - exponent));
  // 1024 steps are a power of two, and 2048 the next: both carry into the exponent's bits by themselves.
  return sign | (((exponent + 14) << 10) + steps);
}

/** The value of bfloat16 bits: the upper half of a binary32. Exact. */
export function fromBfloat(bits: number): number {
  scratch.setUint32(0, bits << 16);
  return scratch.getFloat32(0);
}

/** The bfloat16 bits nearest to the value as binary32, ties to even. */
export function toBfloat(value: number): number {
  if (value !== value) return 0x7fc0;
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** Exponent of the power of two at or below a value of less than 65,520; -127 or more. */
function exponentOf(magnitude: number): number {
  scratch.setFloat32(0, magnitude);
  const exponent = (scratch.getUint32(0) >>> 23) - 127;
  // Rounding to binary32 may have reached the next power of two.
  return 2 ** exponent > magnitude ? exponent - 1 : exponent;
}

/** Of a value below 2^12. */
function roundTiesToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0);
}
