import { type Duration, defineLine, type LineDefinition } from "@millrace/lines";
import type { Decimals } from "./w1-features.ts";

/** The windows of W1, each with its pane. */
const WINDOWS: readonly (readonly [window: Duration, pane: Duration])[] = [
  ["1m", "5s"],
  ["10m", "1m"],
  ["1h", "1m"],
  ["24h", "10m"],
];
const FROM = { from: "payments", by: ["account"] } as const;

/** W1 as a line of features only, on the producers' topic: the 22 features of `w1-features.ts`, declared. */
export function w1Line(name: string, topic: string, decimals: Decimals, partitions: number): LineDefinition {
  const places = (declared: number): { readonly decimals: number | "full" } => ({
    decimals: decimals === "full" ? "full" : declared,
  });
  return defineLine({
    name,
    title: "Card payments",
    partitions,
    streams: {
      payments: {
        topic,
        id: "id",
        time: "time",
        key: ["account"],
        lateMax: "2m",
        fields: {
          id: { type: "text", maxLength: 64 },
          account: { type: "category", maxLength: 32 },
          merchant: { type: "category", maxLength: 32 },
          amount: { type: "decimal", scale: 2, min: 0, max: 1_000_000 },
          time: { type: "time" },
          currency: { type: "category", maxLength: 3 },
          country: { type: "category", maxLength: 2 },
          channel: { type: "category", maxLength: 16 },
          scheme: { type: "text", maxLength: 32 },
        },
      },
    },
    predict: { on: "payments" },
    features: {
      ...Object.fromEntries(
        WINDOWS.flatMap(([window, pane]) => {
          const own = { kind: "window", ...FROM, window, pane } as const;
          return [
            [`count_${window}`, { ...own, aggregate: "count", ...places(0) }],
            [`sum_${window}`, { ...own, aggregate: "sum", of: "amount", ...places(2) }],
            [`mean_${window}`, { ...own, aggregate: "mean", of: "amount", ...places(4) }],
            [`max_${window}`, { ...own, aggregate: "max", of: "amount", ...places(2) }],
            [`stddev_${window}`, { ...own, aggregate: "stddev", of: "amount", ...places(4) }],
          ] as const;
        }),
      ),
      merchants_24h: {
        kind: "window",
        aggregate: "distinct",
        of: "merchant",
        ...FROM,
        window: "24h",
        pane: "10m",
        ...places(0),
      },
      seconds_since_previous: {
        kind: "window",
        aggregate: "since",
        ...FROM,
        window: "24h",
        pane: "10m",
        ...places(3),
      },
    },
  });
}
