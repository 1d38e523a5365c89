/**
 * The 22 features of a payment, by their definition: each anew from all earlier payments of its account. Slow on
 * purpose; what computes them fast is compared with this.
 */
import type { Payment } from "./w1.ts";

/** How numbers are written: in full (shortest that reads back the same), or rounded to each feature's decimals. */
export type Decimals = "full" | "declared";

/** What is written for each payment that is not a duplicate: `id`, `account`, `time`, then the features by name. */
export type Output = Readonly<Record<string, string | number | null>>;

/**
 * A window of `panes` panes that ends with the pane of the payment it is computed for, so that a late payment sees
 * its own past. It counts what was delivered before, whatever its event time within the window.
 */
interface Window {
  readonly name: string;
  readonly paneMs: number;
  readonly panes: number;
}

const MINUTES_10_MS = 600_000;
const DAY: Window = { name: "24h", paneMs: MINUTES_10_MS, panes: 144 };
const WINDOWS: readonly Window[] = [
  { name: "1m", paneMs: 5_000, panes: 12 },
  { name: "10m", paneMs: 60_000, panes: 10 },
  { name: "1h", paneMs: 60_000, panes: 60 },
  DAY,
];

/** Digits after the point in `declared` mode; features without an entry are whole numbers. */
const DECIMALS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(
    WINDOWS.flatMap(({ name }) => [
      [`sum_${name}`, 2],
      [`mean_${name}`, 4],
      [`max_${name}`, 2],
      [`stddev_${name}`, 4],
    ]),
  ),
  seconds_since_previous: 3,
};

/**
 * The outputs for payments in delivery order, of those that are wanted by their id. Takes time in proportion to the
 * earlier payments of the account for each: about 6 s for the first 50,000 of W1, all wanted.
 */
export function* naiveOutputs(
  deliveries: Iterable<Payment>,
  decimals: Decimals,
  wanted: (id: string) => boolean = () => true,
): Generator<Output> {
  const seen = new Set<string>();
  const accounts = new Map<string, Payment[]>();
  for (const payment of deliveries) {
    if (seen.has(payment.id)) continue;
    seen.add(payment.id);
    const earlier = accounts.get(payment.account) ?? [];
    accounts.set(payment.account, earlier);
    if (wanted(payment.id)) {
      const features = featuresOf(payment, earlier);
      yield {
        id: payment.id,
        account: payment.account,
        time: payment.timeMs,
        ...(decimals === "full" ? features : rounded(features)),
      };
    }
    earlier.push(payment);
  }
}

function featuresOf(payment: Payment, earlier: readonly Payment[]): Record<string, number | null> {
  const all = [...earlier, payment];
  const features: Record<string, number | null> = {};
  for (const window of WINDOWS) {
    const { name } = window;
    const cents = within(window, payment, all).map((one) => one.cents);
    const n = cents.length;
    const sum = cents.reduce((total, one) => total + one, 0);
    features[`count_${name}`] = n;
    features[`sum_${name}`] = sum / 100;
    features[`mean_${name}`] = sum / n / 100;
    features[`max_${name}`] = cents.reduce((most, one) => Math.max(most, one), 0) / 100;
    features[`stddev_${name}`] = standardDeviation(cents) / 100;
  }
  features["merchants_24h"] = new Set(within(DAY, payment, all).map(({ merchant }) => merchant)).size;
  const newestMs = earlier.reduce((newest, { timeMs }) => Math.max(newest, timeMs), Number.NEGATIVE_INFINITY);
  features["seconds_since_previous"] =
    earlier.length === 0 ? null : Math.max(0, payment.timeMs - newestMs) / 1_000;
  return features;
}

function within({ paneMs, panes }: Window, payment: Payment, all: readonly Payment[]): Payment[] {
  const last = Math.floor(payment.timeMs / paneMs);
  return all.filter(({ timeMs }) => {
    const pane = Math.floor(timeMs / paneMs);
    return pane > last - panes && pane <= last;
  });
}

/** Of the population: sqrt(n * S2 - S1^2) / n, exact up to the root, so that every implementation gets the same bits. */
function standardDeviation(cents: readonly number[]): number {
  const n = BigInt(cents.length);
  let [s1, s2] = [0n, 0n];
  for (const one of cents) {
    s1 += BigInt(one);
    s2 += BigInt(one) ** 2n;
  }
  return Math.sqrt(Number(n * s2 - s1 * s1)) / cents.length;
}

/** Half up, after one multiplication by the power of ten. */
function rounded(features: Readonly<Record<string, number | null>>): Record<string, number | null> {
  return Object.fromEntries(
    Object.entries(features).map(([name, value]) => {
      const scale = 10 ** (DECIMALS[name] ?? 0);
      return [name, value === null ? null : Math.round(value * scale) / scale];
    }),
  );
}
