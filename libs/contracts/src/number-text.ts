const ZERO = 0x30;
const MINUS = 0x2d;
const POINT = 0x2e;
const GROUP = 1e9;
const GROUP_DIGITS = 9;
/** Longest text that is written here, in bytes, and what is written behind it; whoever writes keeps so much room. */
export const NUMBER_BYTES_MAX = 32;

const FOUR = 10_000;
const EIGHT = 1e8;

/** The four digits of 0 to 9999, leading zeros included, the first one in the lowest byte. */
const DIGITS: Int32Array = Int32Array.from({ length: FOUR }, (_, value) =>
  [1_000, 100, 10, 1].reduce(
    (word, power, i) => word | ((ZERO + (Math.floor(value / power) % 10)) << (8 * i)),
    0,
  ),
);
/** How many zeros the four digits of 0 to 9999 begin with, less the last digit of 0, and how many they end with. */
const LEADING: Uint8Array = Uint8Array.from({ length: FOUR }, (_, value) => 4 - String(value).length);
const TRAILING: Uint8Array = Uint8Array.from({ length: FOUR }, (_, value) =>
  [10, 100, 1_000, FOUR].reduce((zeros, power) => zeros + (value % power === 0 ? 1 : 0), 0),
);

/** Writes a safe integer as ASCII digits at `at`; answers where they end. */
export function writeInteger(bytes: Uint8Array, at: number, value: number): number {
  if (value >= 0) return writeWhole(bytes, at, value);
  bytes[at] = MINUS;
  return writeWhole(bytes, at + 1, -value);
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
  to = writeWhole(bytes, to, whole);
  const fraction = scaled - whole * scale;
  if (fraction === 0) return to;
  bytes[to] = POINT;
  return writeFraction(bytes, to + 1, fraction, decimals);
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
  to = writeWhole(bytes, to, whole);
  bytes[to++] = POINT;
  const places = SHORT_DIGITS - digits;
  const scale = POWERS[places] as number;
  const scaled = Math.round(magnitude * scale);
  // The quotient of two exact numbers is the double nearest to the decimal.
  if (scaled / scale === magnitude) return writeFraction(bytes, to, scaled - whole * scale, places);
  let rest = (magnitude - whole) * LIMB;
  let high = Math.floor(rest);
  rest = (rest - high) * LIMB;
  let middle = Math.floor(rest);
  let low = (rest - middle) * LIMB;
  const end = to + FULL_DIGITS - digits;
  // A limb times 10^8 is exact in a double.
  for (; to < end; to += 8) {
    const lowProduct = low * EIGHT;
    const lowCarry = Math.floor(lowProduct / LIMB);
    low = lowProduct - lowCarry * LIMB;
    const middleProduct = middle * EIGHT + lowCarry;
    const middleCarry = Math.floor(middleProduct / LIMB);
    middle = middleProduct - middleCarry * LIMB;
    const highProduct = high * EIGHT + middleCarry;
    const next = Math.floor(highProduct / LIMB);
    high = highProduct - next * LIMB;
    writeEight(bytes, to, next);
  }
  return withoutZeros(bytes, end);
}

const POWERS: Float64Array = Float64Array.from({ length: 18 }, (_, places) => 10 ** places);

/** Writes a whole number of 0..2^53, and up to three bytes behind it. */
function writeWhole(bytes: Uint8Array, at: number, value: number): number {
  if (value < FOUR) {
    const zeros = LEADING[value] as number;
    writeWord(bytes, at, (DIGITS[value] as number) >>> (8 * zeros));
    return at + 4 - zeros;
  }
  if (value < EIGHT) {
    const high = (value / FOUR) | 0;
    const to = writeWhole(bytes, at, high);
    writeWord(bytes, to, DIGITS[value - high * FOUR] as number);
    return to + 4;
  }
  const high = Math.floor(value / EIGHT);
  const to = writeWhole(bytes, at, high);
  writeEight(bytes, to, value - high * EIGHT);
  return to + 8;
}

/** Writes the digits behind the point of a number that has `places` of them, up to the last that is no zero. */
function writeFraction(bytes: Uint8Array, at: number, fraction: number, places: number): number {
  let to = at;
  let rest = fraction;
  let left = places;
  for (; left > 4; left -= 4, to += 4) {
    const unit = POWERS[left - 4] as number;
    const next = Math.floor(rest / unit);
    rest -= next * unit;
    writeWord(bytes, to, DIGITS[next] as number);
  }
  const last = rest * (POWERS[4 - left] as number);
  writeWord(bytes, to, DIGITS[last] as number);
  return last > 0 ? to + 4 - (TRAILING[last] as number) : withoutZeros(bytes, to);
}

/** Eight digits of a whole number below 10^8, leading zeros included. */
function writeEight(bytes: Uint8Array, at: number, value: number): void {
  const high = (value / FOUR) | 0;
  writeWord(bytes, at, DIGITS[high] as number);
  writeWord(bytes, at + 4, DIGITS[value - high * FOUR] as number);
}

function writeWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word;
  bytes[at + 1] = word >> 8;
  bytes[at + 2] = word >> 16;
  bytes[at + 3] = word >> 24;
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
