/**
 * Workload W1: card payments, keyed by account, few accounts having most of them. What a fraud line sees: some events
 * late, some delivered twice. The same parameters give the same records.
 */
import { random } from "@millrace/testkit";

export interface W1Parameters {
  /** Records, duplicates included. */
  readonly events: number;
  /** At most a million. */
  readonly accounts: number;
  readonly seed: number;
}

/** A million records, 20,000 s of event time; about 779,000 different (account, merchant) pairs. */
export const W1: W1Parameters = { events: 1_000_000, accounts: 20_000, seed: 1 };

/** Five million records, 27.8 h of event time: windows of 24 h begin to forget. */
export const W2: W1Parameters = { ...W1, events: 5_000_000 };

/** One card payment. The oracle reads the first five fields; the others are there because real events have them. */
export interface Payment {
  /** `pay-000000000042`; see `paymentNumber`. */
  readonly id: string;
  readonly account: string;
  readonly merchant: string;
  readonly cents: number;
  /** Event time in ms since the epoch. */
  readonly timeMs: number;
  readonly currency: string;
  readonly country: string;
  readonly channel: string;
}

const FIRST_MS = Date.UTC(2024, 0, 1);
const PACE_MS = 20;
const ZIPF_EXPONENT = 0.9;
const ACCOUNTS_MAX = 1_000_000;
const MERCHANTS = 3_430;
const LATE_SHARE = 0.01;
const LATE_MS_MAX = 120_000;
const DUPLICATE_SHARE = 0.001;
/** A duplicate follows its original within so many records. */
const DUPLICATE_RECORDS_MAX = 200;
const CENTS_MIN = 100;
const CENTS_MAX = 20_000;
const CURRENCIES = ["EUR", "USD", "GBP", "SEK"];
const COUNTRIES = ["DE", "FR", "US", "GB", "SE", "NL", "IT", "ES"];
const CHANNELS = ["chip", "contactless", "online"];

/**
 * The records in delivery order, one every 20 ms of event time. Holds one name for each account and 200 payments.
 * Throws a RangeError for accounts out of range.
 */
export function* payments({ events, accounts, seed }: W1Parameters): Generator<Payment> {
  const draw = random(seed);
  const rank = zipf(accounts, ZIPF_EXPONENT, draw);
  // Each name is one string however often it is drawn: those who look it up in a map hash it once.
  const accountNames = names("acct-", accounts, 6);
  const merchantNames = names("shop-", MERCHANTS, 4);
  const whole = (below: number): number => Math.floor(draw() * below);
  const oneOf = (values: readonly string[]): string => values[whole(values.length)] as string;
  const recent: Payment[] = [];
  let ids = 0;
  for (let record = 0; record < events; record++) {
    let payment: Payment;
    if (recent.length > 0 && draw() < DUPLICATE_SHARE) {
      payment = recent[whole(recent.length)] as Payment;
    } else {
      const lateMs = draw() < LATE_SHARE ? whole(LATE_MS_MAX) : 0;
      payment = {
        id: `pay-${digits(ids++, 12)}`,
        account: accountNames[rank()] as string,
        merchant: oneOf(merchantNames),
        // Small amounts are frequent. A day of the busiest account keeps n * sum(cents^2) below 2^63.
        cents: CENTS_MIN + Math.floor((CENTS_MAX - CENTS_MIN) * draw() ** 2),
        timeMs: FIRST_MS + record * PACE_MS - lateMs,
        currency: oneOf(CURRENCIES),
        country: oneOf(COUNTRIES),
        channel: oneOf(CHANNELS),
      };
    }
    recent[record % DUPLICATE_RECORDS_MAX] = payment;
    yield payment;
  }
}

/** The payments that are no duplicates, each with the number of its record. */
export function* distinctPayments(parameters: W1Parameters): Generator<readonly [record: number, Payment]> {
  let [record, newest] = [-1, ""];
  for (const payment of payments(parameters)) {
    record++;
    if (payment.id <= newest) continue; // ids grow; a duplicate's is an earlier one
    newest = payment.id;
    yield [record, payment];
  }
}

/** The event as its producer writes it: JSON, 182 bytes on average, all ASCII, the amount with two decimals. */
export function paymentJson(payment: Payment): string {
  const { id, account, merchant, cents, timeMs, currency, country, channel } = payment;
  const amount = `${Math.floor(cents / 100)}.${digits(cents % 100, 2)}`;
  return `{"id":"${id}","account":"${account}","merchant":"${merchant}","amount":${amount},"time":${timeMs},"currency":"${currency}","country":"${country}","channel":"${channel}","scheme":"visa debit"}`;
}

/** The number of a payment by its id: payments are numbered from 0 in the order of first delivery. */
export function paymentNumber(id: string): number {
  return Number(id.slice("pay-".length));
}

function names(prefix: string, count: number, length: number): readonly string[] {
  return Array.from({ length: count }, (_, at) => prefix + digits(at, length));
}

function digits(value: number, length: number): string {
  return String(value).padStart(length, "0");
}

/** Ranks from 0, where rank r has weight 1 / (r + 1)^exponent. */
function zipf(ranks: number, exponent: number, draw: () => number): () => number {
  if (!(ranks >= 1 && ranks <= ACCOUNTS_MAX)) {
    throw new RangeError(`${ranks} accounts: use 1 to ${ACCOUNTS_MAX}`);
  }
  const cumulative = new Float64Array(ranks);
  let total = 0;
  for (let rank = 0; rank < ranks; rank++) cumulative[rank] = total += (rank + 1) ** -exponent;
  return () => {
    const target = draw() * total;
    let [low, high] = [0, ranks - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((cumulative[middle] as number) <= target) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}
