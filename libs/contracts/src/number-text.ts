const ZERO = 0x30;
const MINUS = 0x2d;
const POINT = 0x2e;
const GROUP = 1e9;
const GROUP_DIGITS = 9;
/** Longest text that is written here, in bytes; whoever writes keeps so much room. */
export const NUMBER_BYTES_MAX = 32;

/** Digits of 0 to 99, two bytes each. */
const PAIRS: Uint8Array = Uint8Array.from({ length: 200 }, (_, i) =>
  i % 2 === 0 ? ZERO + Math.floor(i / 20) : ZERO + (((i - 1) / 2) % 10),
);

/** Writes a safe integer as ASCII digits at `at`; answers where they end. */
export function writeInteger(bytes: Uint8Array, at: number, value: number): number {
  let magnitude = value;
  let to = at;
  if (value < 0) {
    bytes[to++] = MINUS;
    magnitude = -value;
  }
  if (magnitude < GROUP) return writeDigits(bytes, to, magnitude, digitsOf(magnitude));
  const high = Math.floor(magnitude / GROUP);
  to = high < GROUP ? writeDigits(bytes, to, high, digitsOf(high)) : writeInteger(bytes, to, high);
  return writeDigits(bytes, to, magnitude - high * GROUP, GROUP_DIGITS);
}

/**
 * Writes a number that is kept to `decimals` places (0..9) as its shortest decimal text at `at`; answers where it
 * ends. `value` must be the double nearest to a decimal of so many places, as rounding gives it: then the text reads
 * back as the same double.
 */
export function writeDecimal(bytes: Uint8Array, at: number, value: number, decimals: number): number {
  const scale = POWERS[decimals] as number;
  const scaled = Math.round(Math.abs(value) * scale);
  if (!(scaled < Number.MAX_SAFE_INTEGER)) return writeNumber(bytes, at, value);
  let to = at;
  if (value < 0 && scaled > 0) bytes[to++] = MINUS;
  const whole = Math.floor(scaled / scale);
  to = writeInteger(bytes, to, whole);
  const fraction = scaled - whole * scale;
  if (fraction === 0) return to;
  bytes[to++] = POINT;
  return withoutZeros(bytes, writeDigits(bytes, to, fraction, decimals));
}

/** Writes a finite number as JavaScript's shortest text that reads back as the same double; answers where it ends. */
export function writeNumber(bytes: Uint8Array, at: number, value: number): number {
  if (Number.isSafeInteger(value)) return writeInteger(bytes, at, value);
  const text = String(value);
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
  return at + text.length;
}

/** Decimals of so many digits are told apart from each other by doubles: they are written as they are. */
const SHORT_DIGITS = 15;
/** Cut off after so many digits, a text is nearer to its double than to any other: off by less than half of 2^-53. */
const FULL_DIGITS = 18;
/** What `writeDouble` writes by itself, in absolute value. */
const DOUBLE_MIN = 1e-3;
const DOUBLE_MAX = 1e15;
/** A fraction as three whole numbers of 26 bits: 78 bits hold all that a double from 2^-10 on has behind the point. */
const LIMB = 2 ** 26;
/** A limb times so much is exact in a double. */
const STEP = 1e7;
const STEP_DIGITS = 7;

/**
 * Writes a finite number as a text that reads back as the same double, faster than its shortest one, at `at`; answers
 * where it ends. A number that is a decimal of at most 15 digits is written as that; another one with 18 digits of its
 * exact value.
 */
export function writeDouble(bytes: Uint8Array, at: number, value: number): number {
  const magnitude = Math.abs(value);
  if (!(magnitude >= DOUBLE_MIN && magnitude < DOUBLE_MAX) || Number.isSafeInteger(value))
    return writeNumber(bytes, at, value);
  let to = at;
  if (value < 0) bytes[to++] = MINUS;
  const whole = Math.floor(magnitude);
  // Digits before the point; of a fraction, less the zeros behind it.
  const digits =
    whole === 0
      ? magnitude < 0.01
        ? -2
        : magnitude < 0.1
          ? -1
          : 0
      : whole < GROUP
        ? digitsOf(whole)
        : digitsOfLong(whole);
  to = writeInteger(bytes, to, whole);
  bytes[to++] = POINT;
  const places = SHORT_DIGITS - digits;
  const scale = POWERS[places] as number;
  const scaled = Math.round(magnitude * scale);
  // The quotient of two exact numbers is the double nearest to the decimal.
  if (scaled / scale === magnitude) {
    const fraction = scaled - whole * scale;
    const high = places > GROUP_DIGITS ? Math.floor(fraction / GROUP) : 0;
    if (places > GROUP_DIGITS) to = writeDigits(bytes, to, high, places - GROUP_DIGITS);
    to = writeDigits(bytes, to, fraction - high * GROUP, Math.min(places, GROUP_DIGITS));
    return withoutZeros(bytes, to);
  }
  let rest = (magnitude - whole) * LIMB;
  let high = Math.floor(rest);
  rest = (rest - high) * LIMB;
  let middle = Math.floor(rest);
  let low = (rest - middle) * LIMB;
  const end = to + FULL_DIGITS - digits;
  while (to < end) {
    const lowProduct = low * STEP;
    const lowCarry = Math.floor(lowProduct / LIMB);
    low = lowProduct - lowCarry * LIMB;
    const middleProduct = middle * STEP + lowCarry;
    const middleCarry = Math.floor(middleProduct / LIMB);
    middle = middleProduct - middleCarry * LIMB;
    const highProduct = high * STEP + middleCarry;
    const next = Math.floor(highProduct / LIMB);
    high = highProduct - next * LIMB;
    to = writeDigits(bytes, to, next, STEP_DIGITS);
  }
  return withoutZeros(bytes, end);
}

const POWERS: Float64Array = Float64Array.from({ length: 18 }, (_, places) => 10 ** places);

/** `count` digits of a whole number below 10^9, with leading zeros. */
function writeDigits(bytes: Uint8Array, at: number, value: number, count: number): number {
  let rest = value | 0;
  let to = at + count;
  while (to - at >= 2) {
    const next = (rest / 100) | 0;
    const pair = (rest - next * 100) << 1;
    bytes[--to] = PAIRS[pair + 1] as number;
    bytes[--to] = PAIRS[pair] as number;
    rest = next;
  }
  if (to > at) bytes[at] = ZERO + (rest % 10);
  return at + count;
}

/** Where the text of a fraction ends when its last zeros are left out. */
function withoutZeros(bytes: Uint8Array, end: number): number {
  let to = end;
  while (bytes[to - 1] === ZERO) to--;
  return to;
}

function digitsOf(value: number): number {
  if (value < 10) return 1;
  if (value < 100) return 2;
  if (value < 1_000) return 3;
  if (value < 10_000) return 4;
  if (value < 100_000) return 5;
  if (value < 1_000_000) return 6;
  if (value < 10_000_000) return 7;
  return value < 100_000_000 ? 8 : 9;
}

/** Of 10^9 to 10^15. */
function digitsOfLong(value: number): number {
  return GROUP_DIGITS + digitsOf(Math.floor(value / GROUP));
}
