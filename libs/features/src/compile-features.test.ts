import type { FeatureDefinition, LineDefinition } from "@millrace/lines";
import { describe, expect, it } from "vitest";
import { compileFeatures } from "./index.ts";
import { everything } from "./testing/everything.ts";

type Named = { readonly name: string } & FeatureDefinition;

const OF_ASKED = { kind: "window", from: "asked", by: ["a", "shop"], window: "20s", pane: "1s" } as const;
const count: Named = { ...OF_ASKED, name: "count", aggregate: "count" };
const sum: Named = { ...OF_ASKED, name: "sum", aggregate: "sum", of: "amount" };

const lineOf = (...features: readonly Named[]): LineDefinition => ({ ...everything, features });
const layoutOf = (line: LineDefinition): string => compileFeatures(line).layout;

describe("compileFeatures", () => {
  it("keeps values in model order, with their names and decimals", () => {
    const { names, decimals, readers } = compileFeatures(everything);
    expect(names.slice(-4)).toEqual(["rate", "told_rate", "ratio", "is_odd"]);
    expect(names).toContain("top_colour_2");
    expect(decimals.slice(-4)).toEqual(["full", "full", 6, 6]);
    expect(readers.length).toBe(names.length);
  });

  it("shares records, panes and counts among features that ask for the same", () => {
    const windows = ["5s", "20s", "60s"] as const;
    const features = windows.flatMap((window): Named[] => [
      { ...count, name: `count_${window}`, window },
      { ...sum, name: `sum_${window}`, window, by: ["shop", "a"] },
      { ...OF_ASKED, name: `mean_${window}`, aggregate: "mean", of: "amount", window },
      { ...OF_ASKED, name: `stddev_${window}`, aggregate: "stddev", of: "amount", window },
    ]);
    const { tables } = compileFeatures(lineOf(...features));
    expect(tables.length).toBe(1);
    expect(tables[0]?.levels.map(({ windows: panes }) => panes)).toEqual([[5, 20, 60]]);
    // Of a required field as many values are counted as events.
    expect(tables[0]?.levels[0]?.summaries.length).toBe(1);
  });

  it("counts values apart from events where they may be null", () => {
    const mean: Named = { ...OF_ASKED, name: "mean", aggregate: "mean", of: "b" };
    const { tables } = compileFeatures(lineOf(count, mean));
    expect(tables[0]?.levels[0]?.summaries.length).toBe(2);
  });

  it("has another layout for each change of what the state holds", () => {
    const layout = layoutOf(lineOf(count, sum));
    const { asked, told } = everything.streams;
    const label = everything.label as NonNullable<typeof everything.label>;
    const others: readonly LineDefinition[] = [
      lineOf(count),
      lineOf(sum, count),
      lineOf(count, { ...sum, window: "10s" }),
      lineOf(count, { ...sum, pane: "2s" }),
      lineOf(count, { ...sum, by: ["a"] }),
      lineOf(count, { ...sum, where: "amount > 0" }),
      lineOf(count, { ...sum, where: "amount > 1" }),
      {
        ...lineOf(count, sum),
        streams: { asked: { ...asked, lateMax: "41s" }, told } as LineDefinition["streams"],
      },
      { ...lineOf(count, sum), streams: { told, asked } as LineDefinition["streams"] },
      { ...lineOf(count, sum), label: { ...label, positive: { field: "value", above: 6 } } },
      { ...lineOf(count, sum), label: null },
    ];
    expect(new Set([layout, ...others.map(layoutOf)]).size).toBe(others.length + 1);
  });

  it("keeps the layout where vectors differ only in what is made of the same state", () => {
    const layout = layoutOf(lineOf(count, sum));
    const same: readonly LineDefinition[] = [
      lineOf({ ...count, name: "events" }, { ...sum, decimals: 1 }),
      lineOf(count, sum, { name: "twice", kind: "expression", value: "amount * 2" }),
      { ...lineOf(count, sum), title: "Another", vectors: { format: "binary", decimals: "full" } },
    ];
    for (const line of same) expect(layoutOf(line)).toBe(layout);
  });
});
