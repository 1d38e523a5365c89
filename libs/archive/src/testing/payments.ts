import { Watermark } from "@millrace/events";
import { checkedDurationMs, defineLine, type LineDefinition, windowPaneMs } from "@millrace/lines";
import fc from "fast-check";
import type { Row } from "./memory-scan.ts";

export const START_MS: number = Date.UTC(2024, 0, 1);

/** An accepted event of a line of payments and logins; amounts in cents. */
export interface Event {
  readonly stream: "payments" | "logins";
  readonly offset: number;
  readonly time: number;
  readonly acceptedAt: number;
  readonly account: number | null;
  readonly merchant: string | null;
  readonly amount: number | null;
}

/** What a question is about; `itself`: it counts in the windows of payments. */
export interface Asked extends Pick<Event, "time" | "account" | "merchant" | "amount"> {
  readonly itself: boolean;
}

const byAccount = { kind: "window", by: ["account"] } as const;
const MINUTE = { window: "1m", pane: "5s" } as const;
const TWO_MINUTES = { window: "2m", pane: "10s" } as const;
const EVERYWHERE = {
  everywhere: { kind: "window", aggregate: "sum", of: "amount", from: "payments", by: [], ...MINUTE },
} as const;

/** Windows by account over both streams; `shared`: and one over all accounts. */
export function paymentsLine(
  account: "category" | "integer",
  shared: boolean,
  partitions = 1,
): LineDefinition {
  const fields = {
    id: { type: "text" },
    at: { type: "time" },
    account: { type: account, optional: true },
  } as const;
  return defineLine({
    name: "shop",
    title: "Payments and logins",
    partitions,
    streams: {
      payments: {
        topic: "payments",
        id: "id",
        time: "at",
        key: ["account"],
        lateMax: "30s",
        fields: {
          ...fields,
          merchant: { type: "text", optional: true },
          amount: { type: "decimal", scale: 2, optional: true },
        },
      },
      logins: { topic: "logins", id: "id", time: "at", key: ["account"], lateMax: "30s", fields },
    },
    predict: { on: "payments" },
    features: {
      count: { ...byAccount, aggregate: "count", from: "payments", ...MINUTE },
      sum: { ...byAccount, aggregate: "sum", of: "amount", from: "payments", ...MINUTE },
      mean: { ...byAccount, aggregate: "mean", of: "amount", from: "payments", ...TWO_MINUTES },
      merchants: { ...byAccount, aggregate: "distinct", of: "merchant", from: "payments", ...TWO_MINUTES },
      since: { ...byAccount, aggregate: "since", from: "payments", ...TWO_MINUTES },
      large: {
        ...byAccount,
        aggregate: "count",
        from: "payments",
        where: 'amount > 5 && merchant != "m1"',
        ...MINUTE,
      },
      logins: { ...byAccount, aggregate: "count", from: "logins", ...MINUTE },
      max: {
        kind: "window",
        aggregate: "max",
        of: "amount",
        from: "payments",
        by: ["account", "merchant"],
        ...TWO_MINUTES,
      },
      ...(shared ? EVERYWHERE : {}),
      amount: { kind: "field", field: "amount" },
      ratio: { kind: "expression", value: "amount / mean" },
    },
    vectors: { format: "json", decimals: "full" },
  });
}

/** The row of an archive's file. */
export function archivedRow(event: Event): Row {
  const { stream, offset, time, acceptedAt, account, merchant, amount } = event;
  const shared = {
    stream,
    offset,
    time,
    accepted_at: acceptedAt,
    [`${stream}.id`]: `e${offset}`,
    [`${stream}.at`]: time,
    [`${stream}.account`]: account,
  };
  if (stream === "logins") return shared;
  return {
    ...shared,
    "payments.merchant": merchant,
    "payments.amount": amount === null ? null : amount / 100,
  };
}

const field = {
  account: fc.option(fc.integer({ min: -1, max: 4 }), { freq: 12 }),
  merchant: fc.option(fc.constantFrom("m1", "m2", "m3"), { freq: 8 }),
  amount: fc.option(fc.integer({ min: 1, max: 1_500 }), { freq: 8 }),
};

/** A log: most events in the order of their times, some late, none too late; several accepted in one millisecond. */
export const anyLog: fc.Arbitrary<readonly Event[]> = fc
  .array(
    fc.record({
      stream: fc.constantFrom("payments" as const, "payments" as const, "logins" as const),
      afterMs: fc.constantFrom(0, 0, 1, 900, 5_000, 12_000),
      lateMs: fc.constantFrom(0, 0, 0, 1, 4_000, 29_000),
      acceptedAfterMs: fc.constantFrom(0, 1, 40, 2_000),
      ...field,
    }),
    { maxLength: 80 },
  )
  .map((drafts) => {
    const events: Event[] = [];
    const watermarks = { payments: new Watermark(30_000), logins: new Watermark(30_000) };
    let [time, acceptedAt] = [START_MS, START_MS + 1_000_000];
    for (const { stream, afterMs, lateMs, acceptedAfterMs, ...rest } of drafts) {
      time += afterMs;
      acceptedAt += acceptedAfterMs;
      const watermark = watermarks[stream];
      if (watermark.isLate(time - lateMs)) continue;
      watermark.observe(time - lateMs);
      events.push({ stream, offset: events.length, time: time - lateMs, acceptedAt, ...rest });
    }
    return events;
  });

/** A question yet to be placed in a log; `isExact`: at the very time of an event, about its account. */
type Draft = Omit<Asked, "itself"> & { readonly place: number; readonly isExact: boolean };

export const anyDrafts: fc.Arbitrary<readonly Draft[]> = fc.array(
  fc.record({
    place: fc.double({ min: 0, max: 1, noNaN: true }),
    isExact: fc.boolean(),
    time: fc.integer({ min: -20_000, max: 200_000 }).map((ms) => START_MS + ms),
    ...field,
    account: fc.integer({ min: -1, max: 5 }),
  }),
  { maxLength: 30 },
);

/** Questions about a log, and by when (wall clock) what they see was accepted. */
export function placed(
  log: readonly Event[],
  drafts: readonly Draft[],
): readonly (Omit<Asked, "itself"> & { readonly knownAt: number })[] {
  return drafts.map(({ place, isExact, ...asked }) => {
    const event = log[Math.floor(place * (log.length - 1))];
    const at = { ...asked, knownAt: event?.acceptedAt ?? 0 };
    return event === undefined || !isExact
      ? at
      : { ...at, time: event.time, account: event.account ?? asked.account };
  });
}

/** The vector of a question by the definition of its features: each anew from the events that it sees. */
export function naiveVector(
  { features }: LineDefinition,
  seen: readonly Event[],
  asked: Asked,
): (number | null)[] {
  const vector: (number | null)[] = [];
  const own: Event = { ...asked, stream: "payments", offset: -1, acceptedAt: 0 };
  const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
  for (const feature of features) {
    if (feature.kind === "field") vector.push(asked.amount === null ? null : asked.amount / 100);
    else if (feature.kind === "expression") {
      const mean = vector[features.findIndex(({ name }) => name === "mean")] ?? null;
      vector.push(asked.amount === null || mean === null || mean === 0 ? null : asked.amount / 100 / mean);
    } else if (feature.kind === "window") {
      const { from, by, window } = feature;
      if (by.some((name) => own[name as "account"] === null)) {
        vector.push(null);
        continue;
      }
      const paneMs = windowPaneMs(feature);
      const last = Math.floor(asked.time / paneMs);
      const isCounted = (event: Event): boolean => {
        const pane = Math.floor(event.time / paneMs);
        const isIn = pane <= last && pane > last - checkedDurationMs(window) / paneMs;
        const isLike = by.every((name) => event[name as "account"] === own[name as "account"]);
        const { amount, merchant } = event;
        const meets =
          feature.where === undefined || ((amount ?? 0) > 500 && merchant !== null && merchant !== "m1");
        return event.stream === from && isIn && isLike && meets;
      };
      const others = seen.filter(isCounted);
      const counted = asked.itself && from === "payments" && isCounted(own) ? [...others, own] : others;
      const amounts = counted.flatMap(({ amount }) => (amount === null ? [] : [amount]));
      switch (feature.aggregate) {
        case "count":
          vector.push(counted.length);
          break;
        case "sum":
          vector.push(total(amounts) / 100);
          break;
        case "mean":
          vector.push(amounts.length === 0 ? null : total(amounts) / (amounts.length * 100));
          break;
        case "max":
          vector.push(amounts.length === 0 ? null : Math.max(...amounts) / 100);
          break;
        case "distinct":
          vector.push(new Set(counted.flatMap(({ merchant }) => merchant ?? [])).size);
          break;
        case "since": {
          const newest = Math.max(...others.map(({ time }) => time));
          vector.push(others.length === 0 ? null : Math.max(0, asked.time - newest) / 1_000);
          break;
        }
        default:
          throw new TypeError(`${feature.aggregate} has no naive form here`);
      }
    }
  }
  return vector;
}
