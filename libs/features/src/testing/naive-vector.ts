import type { FieldValue } from "@millrace/contracts";
import {
  checkedDurationMs,
  type FeatureDefinition,
  type FieldDefinition,
  featureNames,
  hourOf,
  type LineDefinition,
  ratePaneMs,
  weekdayOf,
  windowPaneMs,
} from "@millrace/lines";
import { categoryCoder } from "../category-code.ts";
import { isPositive } from "../is-positive.ts";

/** An accepted event, as little of it as features need. */
export interface NaiveEvent {
  readonly stream: string;
  readonly time: number;
  readonly data: Readonly<Record<string, FieldValue>>;
}

/** `where` and expressions, by their text, as functions: the oracle does not use the language that it is to judge. */
export type Meanings = Readonly<
  Record<string, (data: NaiveEvent["data"], vector: Readonly<Record<string, number>>) => unknown>
>;

type Feature = LineDefinition["features"][number];
type Of<K extends FeatureDefinition["kind"]> = Extract<Feature, { readonly kind: K }>;

/**
 * The vector of `asked` by the words of the definition: each value anew from all events. `history` are the events that
 * were accepted before it, in that order. Values are as they are, not rounded; a feature that gives several gives an
 * array. Where the engine estimates, this is exact.
 */
export function naiveVector(
  line: LineDefinition,
  history: readonly NaiveEvent[],
  asked: NaiveEvent,
  meanings: Meanings = {},
): Record<string, number> {
  const vector: Record<string, number> = {};
  const meaning = (text: string): Meanings[string] => {
    const found = meanings[text];
    if (found === undefined) throw new Error(`the test does not say what ${text} means`);
    return found;
  };
  const fieldsOf = (stream: string): Readonly<Record<string, FieldDefinition>> =>
    line.streams[stream]?.fields ?? {};
  for (const feature of line.features) {
    const value = ((): number | readonly number[] => {
      switch (feature.kind) {
        case "field":
          return numberOf(
            fieldsOf(asked.stream)[feature.field] as FieldDefinition,
            asked.data[feature.field],
          );
        case "hour":
          return hourOf(Number(asked.data[feature.of] ?? Number.NaN));
        case "weekday":
          return weekdayOf(Number(asked.data[feature.of] ?? Number.NaN));
        case "expression": {
          const found = meaning(feature.value)(asked.data, vector);
          return found === null || found === undefined ? Number.NaN : Number(found);
        }
        case "rate":
        case "window": {
          if (feature.by.some((name) => (asked.data[name] ?? null) === null)) return Number.NaN;
          const counts = (event: NaiveEvent): boolean =>
            event.stream === feature.from &&
            feature.by.every((name) => event.data[name] === asked.data[name]) &&
            (feature.where === undefined || meaning(feature.where)(event.data, {}) === true);
          const before = history.filter(counts);
          const all = counts(asked) ? [...before, asked] : before;
          const fields = fieldsOf(feature.from);
          return feature.kind === "rate"
            ? rate(feature, all, asked.time, fields)
            : aggregate(line, feature, before, all, asked.time, fields);
        }
      }
    })();
    featureNames({ features: [feature] }).forEach((name, i) => {
      const one = typeof value === "number" ? value : (value[i] as number);
      vector[name] = Number.isFinite(one) ? one : Number.NaN;
    });
  }
  return vector;
}

/** A field's value as a number: of a category its code, of what is null NaN. */
function numberOf(field: FieldDefinition, value: FieldValue | undefined): number {
  if (value === null || value === undefined) return Number.NaN;
  if (typeof value !== "string") return Number(value);
  const bytes = new TextEncoder().encode(value);
  return categoryCoder(field)(bytes, 0, bytes.length);
}

function inWindow(time: number, end: number, paneMs: number, panes: number): boolean {
  const pane = Math.floor(time / paneMs);
  const last = Math.floor(end / paneMs);
  return pane > last - panes && pane <= last;
}

function rate(
  feature: Of<"rate">,
  events: readonly NaiveEvent[],
  end: number,
  fields: Readonly<Record<string, FieldDefinition>>,
): number {
  const paneMs = ratePaneMs(feature);
  const share = paneMs / checkedDurationMs(feature.halfLife);
  const last = Math.floor(end / paneMs);
  let sum = 0;
  for (const event of events) {
    const age = last - Math.floor(event.time / paneMs);
    const value =
      feature.of === undefined ? 1 : numberOf(fields[feature.of] as FieldDefinition, event.data[feature.of]);
    if (age >= 0 && !Number.isNaN(value)) sum += value * 2 ** (-age * share);
  }
  return (sum * (1 - 2 ** -share)) / (paneMs / 1_000);
}

function aggregate(
  line: LineDefinition,
  feature: Of<"window">,
  before: readonly NaiveEvent[],
  all: readonly NaiveEvent[],
  end: number,
  fields: Readonly<Record<string, FieldDefinition>>,
): number | readonly number[] {
  const paneMs = windowPaneMs(feature);
  const panes = checkedDurationMs(feature.window) / paneMs;
  const isIn = (event: NaiveEvent): boolean => inWindow(event.time, end, paneMs, panes);
  const events = all.filter(isIn);
  if (feature.aggregate === "count") return events.length;
  if (feature.aggregate === "share") {
    return events.filter((event) => isPositive(line, event)).length / events.length;
  }
  if (feature.aggregate === "since") {
    const newest = Math.max(...before.filter(isIn).map(({ time }) => time));
    return Math.max(0, end - newest) / 1_000;
  }
  const { of } = feature;
  const field = fields[of] as FieldDefinition;
  const valued = events.filter((event) => (event.data[of] ?? null) !== null);
  if (feature.aggregate === "distinct" || feature.aggregate === "distinct-approx") {
    return new Set(valued.map((event) => event.data[of])).size;
  }
  const numbers = valued.map((event) => numberOf(field, event.data[of]));
  switch (feature.aggregate) {
    case "top": {
      const counts = [...Map.groupBy(numbers, (code) => code)].map(
        ([code, all]) => [code, all.length] as const,
      );
      const ranked = counts.sort(([code, count], [other, more]) => more - count || code - other);
      return Array.from({ length: feature.k }, (_, i) => ranked[i]?.[0] ?? Number.NaN);
    }
    case "quantile": {
      const sorted = numbers.sort((a, b) => a - b);
      return sorted[Math.floor(feature.q * (sorted.length - 1))] ?? Number.NaN;
    }
    case "min":
      return Math.min(...numbers);
    case "max":
      return Math.max(...numbers);
    case "last":
    case "first": {
      // Sorting keeps the order of equal times.
      const byTime = valued.map((event, i) => [event.time, numbers[i] as number] as const);
      byTime.sort(([a], [b]) => a - b);
      return byTime.at(feature.aggregate === "last" ? -1 : 0)?.[1] ?? Number.NaN;
    }
    case "sum":
    case "mean":
    case "stddev":
      return field.type === "number"
        ? inexact(feature.aggregate, numbers)
        : exact(feature.aggregate, numbers, field.type === "decimal" ? 10 ** field.scale : 1);
  }
}

function inexact(aggregate: "sum" | "mean" | "stddev", numbers: readonly number[]): number {
  const sum = numbers.reduce((total, value) => total + value, 0);
  if (aggregate === "sum") return sum;
  const mean = sum / numbers.length;
  if (aggregate === "mean") return mean;
  return Math.sqrt(numbers.reduce((total, value) => total + (value - mean) ** 2, 0) / numbers.length);
}

/** Over whole units, in arithmetic without bounds. */
function exact(aggregate: "sum" | "mean" | "stddev", numbers: readonly number[], unit: number): number {
  const whole = numbers.map((value) => BigInt(Math.round(value * unit)));
  const count = BigInt(whole.length);
  const sum = whole.reduce((total, value) => total + value, 0n);
  if (aggregate === "sum") return Number(sum) / unit;
  if (aggregate === "mean") return Number(sum) / (whole.length * unit);
  const squares = whole.reduce((total, value) => total + value * value, 0n);
  return Math.sqrt(Number(count * squares - sum * sum)) / whole.length / unit;
}
