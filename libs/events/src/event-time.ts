/** First and last moment that an event time may have: years 1 to 9999, in ms since the epoch. */
const EARLIEST_MS = -62_135_596_800_000;
const LATEST_MS = 253_402_300_799_999;

/** Milliseconds since the epoch of a whole number in the years 1 to 9999; null for any other number. */
export function timeOfNumber(value: number): number | null {
  return Number.isInteger(value) && value >= EARLIEST_MS && value <= LATEST_MS ? value + 0 : null;
}

const LENGTH_MIN = 17;
const LENGTH_MAX = 40;
const utf8 = new TextEncoder();

/** Reads a text as `timeOfBytes` reads its bytes; null when it is no time. */
export function timeOfText(text: string): number | null {
  if (text.length < LENGTH_MIN || text.length > LENGTH_MAX) return null;
  const bytes = utf8.encode(text);
  const timeMs = timeOfBytes(bytes, 0, bytes.length);
  return Number.isNaN(timeMs) ? null : timeMs;
}

/**
 * Reads `bytes[from..until)` as ISO 8601 as RFC 3339 profiles it: date, `T`, time with optional seconds and fraction,
 * and a zone (`Z` or `+hh:mm`, the colon optional). The result is ms since the epoch, fractions cut to ms. NaN for
 * anything else, for days and hours that do not exist, and for leap seconds. Written out because `Date.parse` accepts
 * 30 February and texts without a zone, and needs a text.
 */
export function timeOfBytes(bytes: Uint8Array, from: number, until: number): number {
  const length = until - from;
  if (length < LENGTH_MIN || length > LENGTH_MAX) return Number.NaN;
  if (bytes[from + 4] !== DASH || bytes[from + 7] !== DASH || bytes[from + 13] !== COLON) return Number.NaN;
  if (((bytes[from + 10] as number) | LOWER) !== LOWER_T) return Number.NaN;
  const century = twoDigits(bytes, from);
  const yearOfCentury = twoDigits(bytes, from + 2);
  const month = twoDigits(bytes, from + 5);
  const day = twoDigits(bytes, from + 8);
  const hour = twoDigits(bytes, from + 11);
  const minute = twoDigits(bytes, from + 14);
  if (century < 0 || yearOfCentury < 0) return Number.NaN;
  const year = century * 100 + yearOfCentury;
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return Number.NaN;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59) return Number.NaN;

  let at = from + 16;
  let second = 0;
  let ms = 0;
  if (bytes[at] === COLON) {
    second = twoDigits(bytes, at + 1);
    if (second < 0 || second > 59) return Number.NaN;
    at += 3;
    if (at < until && bytes[at] === POINT) {
      const first = ++at;
      for (let scale = 100; at < until && isDigit(bytes[at] as number); at++, scale /= 10) {
        if (scale >= 1) ms += scale * ((bytes[at] as number) - ZERO);
      }
      if (at === first) return Number.NaN;
    }
  }
  const zone = zoneMinutes(bytes, at, until);
  const timeMs =
    (daysSinceEpoch(year, month, day) * 1440 + hour * 60 + minute - zone) * 60_000 + second * 1000 + ms;
  return timeMs >= EARLIEST_MS && timeMs <= LATEST_MS ? timeMs : Number.NaN;
}

const ZERO = 0x30;
const PLUS = 0x2b;
const DASH = 0x2d;
const POINT = 0x2e;
const COLON = 0x3a;
/** The bit that makes an ASCII letter a small one. */
const LOWER = 0x20;
const LOWER_T = 0x74;
const LOWER_Z = 0x7a;

/** NaN when it is no zone. */
function zoneMinutes(bytes: Uint8Array, at: number, until: number): number {
  const rest = until - at;
  if (rest === 1) return ((bytes[at] as number) | LOWER) === LOWER_Z ? 0 : Number.NaN;
  const sign = bytes[at] === PLUS ? 1 : bytes[at] === DASH ? -1 : 0;
  const colon = rest > 3 && bytes[at + 3] === COLON ? 1 : 0;
  if (sign === 0 || rest !== 5 + colon) return Number.NaN;
  const hours = twoDigits(bytes, at + 1);
  const minutes = twoDigits(bytes, at + 3 + colon);
  return hours < 0 || hours > 23 || minutes < 0 || minutes > 59 ? Number.NaN : sign * (hours * 60 + minutes);
}

/** The number that two digits form; negative when one of them is not a digit. */
function twoDigits(bytes: Uint8Array, at: number): number {
  const tens = (bytes[at] as number) - ZERO;
  const ones = (bytes[at + 1] as number) - ZERO;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : -1;
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= ZERO + 9;
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Days from 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant, "days_from_civil"). */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}
