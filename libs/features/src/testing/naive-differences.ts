import { Watermark } from "@millrace/events";
import { checkedDurationMs, featureNames, type LineDefinition, type StreamDefinition } from "@millrace/lines";
import type { NaiveEvent } from "./naive-vector.ts";

type Feature = LineDefinition["features"][number];

/** By how much a value may be off: a share of it, and in any case. */
interface Tolerance {
  readonly share: number;
  readonly least: number;
}
const EXACT: Tolerance = { share: 0, least: 0 };
/** Doubles that are added in another order: the last digits differ. */
const ADDED: Tolerance = { share: 1e-9, least: 1e-6 };
/** DDSketch; what is smaller than 1e-9 counts as 0. */
const QUANTILE: Tolerance = { share: 0.01 * (1 + 1e-9), least: 1e-9 };
/** HyperLogLog, 2.3 % standard error; two of few values may share a register. */
const DISTINCT: Tolerance = { share: 0.1, least: 2 };

function toleranceOf(line: LineDefinition, feature: Feature): Tolerance {
  if (feature.kind === "rate") return ADDED;
  if (feature.kind !== "window" || !("of" in feature)) return EXACT;
  const isWhole = line.streams[feature.from]?.fields[feature.of]?.type !== "number";
  switch (feature.aggregate) {
    case "sum":
    case "mean":
    case "stddev":
      return isWhole ? EXACT : ADDED;
    case "quantile":
      return QUANTILE;
    case "distinct-approx":
      return DISTINCT;
    default:
      return EXACT;
  }
}

/**
 * Where a vector of the engine is not what `naiveVector` (or another engine) gives for it, kept to its decimals: one
 * sentence per value.
 */
export function naiveDifferences(
  line: LineDefinition,
  found: readonly number[],
  expected: Readonly<Record<string, number>>,
): string[] {
  let i = 0;
  return line.features.flatMap((feature) => {
    const decimals = feature.decimals ?? line.vectors.decimals;
    const scale = decimals === "full" ? 0 : 10 ** decimals;
    const { share, least } = toleranceOf(line, feature);
    return featureNames({ features: [feature] }).flatMap((name) => {
      const value = found[i++] as number;
      const exact = expected[name] as number;
      const wanted = scale === 0 ? exact + 0 : Math.round(exact * scale) / scale + 0;
      const isSame =
        Object.is(value, wanted) ||
        ((share > 0 || least > 0) &&
          Math.abs(value - exact) <=
            share * Math.abs(exact) + least + (scale === 0 ? 0 : (0.5 + 1e-9) / scale));
      return isSame ? [] : [`${name} is ${value}, not ${wanted}: ${JSON.stringify(feature)}`];
    });
  });
}

/**
 * Whether the vector of the i-th event is exact by the engine's promise: windows of other streams reach back as far as
 * both streams can be late.
 */
export function isWithinReach(line: LineDefinition, log: readonly NaiveEvent[], i: number): boolean {
  const lateMs = (stream: string): number =>
    checkedDurationMs((line.streams[stream] as StreamDefinition).lateMax);
  return Object.keys(line.streams).every((stream) => {
    if (stream === line.predict.on) return true;
    const watermark = new Watermark(lateMs(stream) + lateMs(line.predict.on));
    for (const event of log.slice(0, i)) if (event.stream === stream) watermark.observe(event.time);
    return !watermark.isLate((log[i] as NaiveEvent).time);
  });
}
