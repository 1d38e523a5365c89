/** First and last moment that an event time may have: years 1 to 9999, in ms since the epoch. */
const EARLIEST_MS = -62_135_596_800_000;
const LATEST_MS = 253_402_300_799_999;

/** Milliseconds since the epoch of a whole number in the years 1 to 9999; null for any other number. */
export function timeOfNumber(value: number): number | null {
  return Number.isInteger(value) && value >= EARLIEST_MS && value <= LATEST_MS ? value : null;
}

/**
 * Reads ISO 8601 as RFC 3339 profiles it: date, `T`, time with optional seconds and fraction, and a zone (`Z` or
 * `+hh:mm`, the colon optional). The result is ms since the epoch, fractions cut to ms. null for any other text,
 * for days and hours that do not exist, and for leap seconds. Written out because `Date.parse` accepts 30 February
 * and texts without a zone.
 */
export function timeOfText(text: string): number | null {
  const length = text.length;
  if (length < 17 || length > 40) return null;
  const year = digits(text, 0, 4);
  const month = digits(text, 5, 2);
  const day = digits(text, 8, 2);
  const hour = digits(text, 11, 2);
  const minute = digits(text, 14, 2);
  if (!is(text, 4, "-") || !is(text, 7, "-") || !(is(text, 10, "T") || is(text, 10, "t"))) return null;
  if (!is(text, 13, ":")) return null;
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return null;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59) return null;

  let at = 16;
  let second = 0;
  let ms = 0;
  if (is(text, at, ":")) {
    second = digits(text, at + 1, 2);
    if (second < 0 || second > 59) return null;
    at += 3;
    if (is(text, at, ".")) {
      const first = ++at;
      for (let scale = 100; isDigit(text, at); at++, scale /= 10) {
        if (scale >= 1) ms += scale * (text.charCodeAt(at) - 48);
      }
      if (at === first) return null;
    }
  }
  const zone = zoneMinutes(text, at);
  if (zone === null) return null;
  return timeOfNumber(
    (daysSinceEpoch(year, month, day) * 1440 + hour * 60 + minute - zone) * 60_000 + second * 1000 + ms,
  );
}

function zoneMinutes(text: string, at: number): number | null {
  const rest = text.length - at;
  if (rest === 1) return is(text, at, "Z") || is(text, at, "z") ? 0 : null;
  const sign = is(text, at, "+") ? 1 : is(text, at, "-") ? -1 : 0;
  const colon = is(text, at + 3, ":") ? 1 : 0;
  if (sign === 0 || rest !== 5 + colon) return null;
  const hours = digits(text, at + 1, 2);
  const minutes = digits(text, at + 3 + colon, 2);
  return hours < 0 || hours > 23 || minutes < 0 || minutes > 59 ? null : sign * (hours * 60 + minutes);
}

/** The number that `count` digits from `at` form; -1 when one of them is not a digit. */
function digits(text: string, at: number, count: number): number {
  let value = 0;
  for (let i = at; i < at + count; i++) {
    if (!isDigit(text, i)) return -1;
    value = value * 10 + (text.charCodeAt(i) - 48);
  }
  return value;
}

function isDigit(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code >= 48 && code <= 57;
}

function is(text: string, at: number, character: string): boolean {
  return text.charCodeAt(at) === character.charCodeAt(0);
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
