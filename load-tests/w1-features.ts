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
 * earlier payments of the account for each: some seconds for the first 50,000 of W1, half a minute for every 20th of
 * the million.
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
  const features: Record<string, number | null> = {};
  for (const window of WINDOWS) {
    const { name } = window;
    const { n, s1, s2, max } = totals(window, payment, earlier);
    features[`count_${name}`] = n;
    features[`sum_${name}`] = s1 / 100;
    features[`mean_${name}`] = s1 / (n * 100);
    features[`max_${name}`] = max / 100;
    features[`stddev_${name}`] = standardDeviation(n, s1, s2) / 100;
  }
  const isToday = inWindow(DAY, payment);
  const merchants = new Set([payment.merchant]);
  let newestMs = Number.NEGATIVE_INFINITY;
  for (const one of earlier) {
    if (!isToday(one)) continue;
    merchants.add(one.merchant);
    newestMs = Math.max(newestMs, one.timeMs);
  }
  features["merchants_24h"] = merchants.size;
  features["seconds_since_previous"] =
    newestMs === Number.NEGATIVE_INFINITY ? null : Math.max(0, payment.timeMs - newestMs) / 1_000;
  return features;
}

interface Totals {
  readonly n: number;
  /** Sum and sum of squares of whole cents: far below 2^53, so exact in whatever order. */
  readonly s1: number;
  readonly s2: number;
  readonly max: number;
}

/** Of the payment itself and the earlier ones in its window. */
function totals(window: Window, payment: Payment, earlier: readonly Payment[]): Totals {
  const isCounted = inWindow(window, payment);
  let [n, s1, s2, max] = [1, payment.cents, payment.cents ** 2, payment.cents];
  for (const one of earlier) {
    if (!isCounted(one)) continue;
    n += 1;
    s1 += one.cents;
    s2 += one.cents ** 2;
    max = Math.max(max, one.cents);
  }
  return { n, s1, s2, max };
}

/** Whether the pane of an earlier payment is one of the window that ends with the payment's pane. */
function inWindow({ paneMs, panes }: Window, payment: Payment): (earlier: Payment) => boolean {
  const last = Math.floor(payment.timeMs / paneMs);
  const [fromMs, untilMs] = [(last - panes + 1) * paneMs, (last + 1) * paneMs];
  return ({ timeMs }) => timeMs >= fromMs && timeMs < untilMs;
}

/** Of the population: sqrt(n * S2 - S1^2) / n, exact up to the root, so that every implementation gets the same bits. */
function standardDeviation(n: number, s1: number, s2: number): number {
  return Math.sqrt(Number(BigInt(n) * BigInt(s2) - BigInt(s1) ** 2n)) / n;
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
